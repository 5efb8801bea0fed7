"""One point of trust under stress: what others notice while a partner is suspended, and of a flood of refused logins."""

import concurrent.futures
import contextlib
import pathlib
import tempfile
import threading
import time

import grpc

import bodies
import ledger_files
import service
from samples import number, shown, table

from hallmark.admin.v1 import operators_pb2, operators_pb2_grpc

RATE = "400"  # messages a second of each partner, in open loop
LOGINS = 1000  # a second
MOST_LAST_MS = 1000  # after the command began, for the last signature of a suspended partner


def measure(context):
    seconds = {"duration": 3 if context.quick else 6, "warmup": 1}
    result = {"others": {}, "logins": {}, "last_ms": [], "refused_per_second": []}
    with tempfile.TemporaryDirectory() as folder, service.Service("instant", before_start=service.add_acme) as hallmark:
        messages = service.write_messages(folder, bodies.SIZES["2kB"], 64)
        hallmark.warm_up(messages)
        acme = service.acme_folder(hallmark.hallmark)
        own = lambda: hallmark.load(messages, "--rate", RATE, **seconds)
        for name, during in (("alone", contextlib.nullcontext), ("beside another partner", lambda: _sending(hallmark, acme, messages, seconds)),
                             ("while that is suspended", lambda: _suspended(hallmark, acme, messages, seconds, result["last_ms"]))):
            context.progress(f"another partner: {name}")
            result["others"][name] = []
            for _ in range(context.repeats):
                with during():
                    result["others"][name].append(own())
        with service.Service("instant") as other:
            for name, target in (("none", None), ("to another signerd", other), ("to this one", hallmark)):
                context.progress(f"refused logins: {name}")
                result["logins"][name] = []
                for _ in range(context.repeats):
                    with _flood(target, result["refused_per_second"]) if target else contextlib.nullcontext():
                        result["logins"][name].append(own())
    return result


@contextlib.contextmanager
def _sending(hallmark, acme, messages, seconds):
    """acme sends too, for longer than what is measured."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        load = pool.submit(service.run_load, acme, {}, messages, ("--rate", RATE, "--allow-errors"), seconds["duration"] + 1,
                           seconds["warmup"])
        yield
        load.result()


@contextlib.contextmanager
def _suspended(hallmark, acme, messages, seconds, last_ms):
    """acme sends too, and is suspended when half of what is measured is over."""
    begun = []

    def suspend():
        time.sleep(seconds["warmup"] + seconds["duration"] / 2)
        begun.append(time.time())
        hallmark.hallmark.dkimctl("partner", "suspend", "acme")

    with _sending(hallmark, acme, messages, seconds):
        thread = threading.Thread(target=suspend)
        thread.start()
        yield
        thread.join()
    last = max(record.time_us for record in ledger_files.records(hallmark.hallmark.folder / "state/ledger")
               if record.signature.partner == "acme")
    last_ms.append(last / 1000 - begun[0] * 1000)
    hallmark.hallmark.dkimctl("partner", "resume", "acme")


@contextlib.contextmanager
def _flood(target, refused_per_second):
    """LOGINS refused logins a second, of an operator who is locked out."""
    officer = target.hallmark.as_officer2()
    stub = operators_pb2_grpc.OperatorServiceStub(officer.plain_channel())
    request = operators_pb2.LoginRequest(code="000000")
    stop, refused = threading.Event(), []

    def run():
        due = time.monotonic()
        while not stop.is_set():
            calls = [stub.Login.future(request, timeout=30) for _ in range(LOGINS // 20)]
            for call in calls:
                if call.exception().code() not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED,
                                                   grpc.StatusCode.PERMISSION_DENIED):
                    raise call.exception()
            refused.append(len(calls))
            due += 1 / 20
            stop.wait(max(0, due - time.monotonic()))

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        flood = pool.submit(run)
        try:
            yield
        finally:
            stop.set()
            flood.result()
    refused_per_second.append(sum(refused) / (time.monotonic() - begun))


def problems(result):
    """Sentences about what is not as docs/performance.md says. Another partner's message that is refused ends the measurement."""
    return [f"trust: the last signature of a suspended partner on the ledger is {number(last)} ms after the command began"
            for last in result["last_ms"] if last > MOST_LAST_MS]


def report(result, _plots):
    columns = ["", "messages/s", "p50 ms", "p99 ms", "p99.9 ms"]

    def rows(cells):
        return [[name, shown([s["throughput"] for s in samples]),
                 *(shown([s["latency_us"][quantile] / 1000 for s in samples]) for quantile in ("p50", "p99", "p99_9"))]
                for name, samples in cells.items()]

    return "\n".join([
        f"A partner's own messages, {RATE} a second in open loop, 2 kB, instant token, while another one sends as many, and is suspended"
        f" halfway. The other's last signature on the ledger is {number(max(result['last_ms']))} ms after the command began at the"
        " latest:\n\n" + table(columns, rows(result["others"])),
        f"The same messages while an operator who is locked out tries to log in, {number(min(result['refused_per_second']))} times a"
        " second or more. What makes these calls takes CPU of the same machine, so the figure beside it is of the same calls to another"
        " signerd:\n\n" + table(columns, rows(result["logins"]))])
