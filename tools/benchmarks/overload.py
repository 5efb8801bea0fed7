"""More than there is room for, in open loop: what is still signed, how quickly the rest is refused, and how soon it is well again."""

import concurrent.futures
import contextlib
import json
import statistics
import subprocess
import tempfile
import threading
import time

import grpc

import bodies
import deployment
import messages as samples_of_mail
import service
from samples import number, table

from hallmark.signing.v1 import signing_pb2

# A token in a rack, and one that costs this machine's processor; each with how many sessions signerd may use of it.
HSM = "an HSM of 1,000 signatures a second"
TOKENS = {HSM: ("latency_us=8000,sessions=10", 64), "SoftHSM, RSA-2048": ("softhsm", 4)}
FACTORS = (0.5, 1, 2, 5)
CONNECTIONS = ("--connections", "8")
PROBES = 5  # calls a second that look at refusals closely
QUIET = 0.1  # what a partner sends who is no part of the flood, of what is signed at most
# What docs/reliability.md says of it, and fails the run where it does not hold. With SoftHSM the load takes the token's own processor.
LEAST_SIGNED = 0.9            # of the most, at five times as much, with the HSM
MOST_RESIDENT = 100 * 10**6   # octets of signerd's memory, with a flood that it has the processor to refuse
MOST_AT_ALL = 512 << 20       # with more than that: what a listener's connections may hold together
MOST_OTHERS_REFUSED = 0.01    # of a partner's messages who is no part of the flood
# With the HSM, of a whole run: a short one beside other work says nothing about times.
MOST_P90_REFUSED_MS, MOST_P99_SIGNED_MS, MOST_P99_OTHERS_MS = 5, 1500, 250


def measure(context):
    seconds = 10 if context.quick else 300
    result = {"seconds": seconds, "tokens": {}}
    for name, (token, sessions) in TOKENS.items():
        with tempfile.TemporaryDirectory() as folder, service.Service(token, sessions=sessions, before_start=service.add_acme) as hallmark:
            result["tokens"][name] = _measure_token(context, f"{name}, ", hallmark, folder, seconds)
    return result


def _measure_token(context, name, hallmark, folder, seconds):
    mail = service.write_messages(folder, bodies.SIZES["2kB"], 64)
    hallmark.warm_up(mail)
    acme = service.acme_folder(hallmark.hallmark)
    context.progress(f"{name}what it can do")
    peak = max(hallmark.load(mail, "--in-flight", "64", *CONNECTIONS, duration=min(seconds, 20), warmup=2)["throughput"]
               for _ in range(3))
    found = {"peak": peak, "before": hallmark.resident_bytes("signerd"), "phases": {}}
    for factor in FACTORS:
        context.progress(f"{name}{factor} times as much, {seconds} s")
        with _watched(hallmark) as seen:
            found["phases"][str(factor)] = _flood(hallmark, mail, factor * peak, seconds) | {"seen": seen}
    context.progress(f"{name}half as much, at once afterwards")
    found["after"] = _flood(hallmark, mail, 0.5 * peak, 10, warmup=0)
    context.progress(f"{name}a partner beside a flood of {FACTORS[-1]} times as much")
    found["beside"] = _beside_a_flood(hallmark, acme, mail, peak, min(seconds, 60))
    found["alone"] = service.run_load(acme, {}, mail, ("--rate", f"{QUIET * peak:.0f}", "--allow-errors"), min(seconds, 60), 1)
    return found


def _flood(hallmark, mail, rate, seconds, warmup=2):
    return hallmark.load(mail, "--rate", f"{rate:.0f}", *CONNECTIONS, "--allow-errors", duration=seconds, warmup=warmup)


def _beside_a_flood(hallmark, acme, mail, peak, seconds):
    """acme sends little, our own relay far too much. The report of acme's load, once the other was a flood to the end."""
    command = [deployment.BIN / "dkimload", "--dir", hallmark.hallmark.folder, "--rate", f"{FACTORS[-1] * peak:.0f}", *CONNECTIONS,
               "--allow-errors", "--duration", seconds + 3, "--warmup", 0, "--output", "json", mail]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as flood:
        time.sleep(2)
        report = service.run_load(acme, {}, mail, ("--rate", f"{QUIET * peak:.0f}", "--allow-errors"), seconds, 0)
        _check_flood(*flood.communicate(), flood.returncode)
    return report


def _check_flood(report, complaints, status):
    """Raises where it was none: that a partner beside it was well would say nothing."""
    if status != 0:
        raise RuntimeError(f"the flood ended with {status}: {report[-500:]}{complaints[-500:]}")
    if not any(error["reason"] == "OVERLOADED" for error in json.loads(report)["errors"]):
        raise RuntimeError(f"of the flood nothing was refused: {report[-500:]}")


@contextlib.contextmanager
def _watched(hallmark):
    """Into what it gives: the greatest memory, and what a relay with a connection of its own is answered. What ends the watching is
    raised at the end."""
    seen, stop = {"resident": 0, "refused_ms": [], "without_retry_info": 0, "probes": 0}, threading.Event()
    stub = hallmark.hallmark.signing()
    request = signing_pb2.SignRequest(message=samples_of_mail.MESSAGE.replace(b"example.com", bodies.DOMAIN.encode()))

    def watch():
        while not stop.wait(1 / PROBES):
            seen["resident"] = max(seen["resident"], hallmark.resident_bytes("signerd"))
            begun = time.monotonic()
            seen["probes"] += 1
            try:
                stub.Sign(request, timeout=30)
            except grpc.RpcError as error:
                seen["refused_ms"].append((time.monotonic() - begun) * 1000)
                seen["without_retry_info"] += deployment.retry_info(error) is None

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        watching = thread.submit(watch)
        try:
            yield seen
        finally:
            stop.set()
    watching.result()


def problems(result):
    """Sentences about what is not as docs/reliability.md says."""
    found = []
    for name, token in result["tokens"].items():
        found += [f"overload, {name}: {problem}" for problem in _problems_of(token, name == HSM)]
        if name == HSM:
            found += [f"overload, {name}: {problem}" for problem in _problems_of_hsm(token, whole=result["seconds"] >= 300)]
    return found


def _problems_of(token, hsm):
    """With whichever token. The largest flood, beside a token that costs the processor, is more than two cores can send and refuse."""
    for factor, phase in token["phases"].items():
        seen, starved = phase["seen"], not hsm and factor == str(FACTORS[-1])
        if seen["without_retry_info"]:
            yield f"at {factor} times as much {seen['without_retry_info']} refusals had no RetryInfo"
        if seen["resident"] > (MOST_AT_ALL if starved else MOST_RESIDENT):
            yield f"at {factor} times as much signerd took {seen['resident'] / 2**20:.0f} MiB"
        for error in phase["errors"]:
            late = starved and (error["code"], error["reason"]) == ("DEADLINE_EXCEEDED", "")
            if not late and (error["code"], error["reason"]) != ("RESOURCE_EXHAUSTED", "OVERLOADED"):
                yield f"at {factor} times as much {error['count']} messages ended with {error['code']} {error['reason']}"
    if not token["phases"][str(FACTORS[-1])]["seen"]["refused_ms"]:
        yield f"at {FACTORS[-1]} times as much no refusal was looked at"
    beside = token["beside"]
    if not beside["ok"] or beside["failed"] > MOST_OTHERS_REFUSED * beside["started"]:
        yield f"of another partner's {beside['started']} messages beside a flood {beside['ok']} were signed"


def _problems_of_hsm(token, whole):
    most = token["phases"][str(FACTORS[-1])]
    if most["throughput"] < LEAST_SIGNED * token["peak"]:
        yield f"at {FACTORS[-1]} times as much {most['throughput']:.0f} a second were signed, of {token['peak']:.0f} at most"
    if token["after"]["failed"]:
        yield f"in the 10 s after it, at half as much, {token['after']['failed']} were refused"
    if not whole:
        return
    for what, value, bound in (("p90 of refusals", most["failed_latency_us"]["p90"], MOST_P90_REFUSED_MS),
                               ("p99 of what is signed", most["latency_us"]["p99"], MOST_P99_SIGNED_MS),
                               ("p99 of another partner", token["beside"]["latency_us"]["p99"], MOST_P99_OTHERS_MS)):
        if value > 1000 * bound:
            yield f"at {FACTORS[-1]} times as much the {what} is {value / 1000:.1f} ms, not {bound}"


def report(result, _plots):
    parts = [f"Open loop, Poisson, 2 kB, one RSA-2048 key, for {result['seconds']} s each. \"Signed\" is what was answered well, as a share of"
             " the most that a closed loop of 64 got. Latency counts from when a message was due; \"late\" is how long after that the"
             " load itself sent it, p99: it runs on the same processors; \"not sent\" is what it had no time for at all. Refusals have the code RESOURCE_EXHAUSTED and RetryInfo."]
    for name, found in result["tokens"].items():
        rows = []
        for factor, phase in found["phases"].items():
            seen = phase["seen"]
            refused = seen["refused_ms"]
            rows.append([f"{factor} times", number(phase["throughput"]), f"{100 * phase['throughput'] / found['peak']:.0f} %",
                         number(phase["latency_us"]["p99"] / 1000), number(phase["failed"] / phase["window_seconds"]),
                         number(phase["failed_latency_us"]["p99"] / 1000) if phase["failed"] else "-",
                         number(phase["lag_us"]["p99"] / 1000), number(phase["unsent"] / phase["window_seconds"]),
                         f"{len(refused)} of {seen['probes']}" + (f", {number(statistics.median(refused))} ms" if refused else ""),
                         number(seen["resident"] / 2**20)])
        after, beside, alone = found["after"], found["beside"], found["alone"]
        missing = sum(phase["seen"]["without_retry_info"] for phase in found["phases"].values())
        parts.append(
            f"**{name}**: {number(found['peak'])} messages/s at most; {number(found['before'] / 2**20)} MiB before.\n\n" +
            table(["offered", "signed/s", "of the most", "p99 ms", "refused/s", "p99 ms of these", "late ms", "not sent/s", "a relay's refusals, median",
                   "MiB at most"], rows) +
            f"\nRefusals without RetryInfo: {missing}. In the 10 s after the last, at half as much: {after['failed']} of {after['started']}"
            f" refused, p99 {number(after['latency_us']['p99'] / 1000)} ms. Another partner with {100 * QUIET:.0f} % of the most, beside a flood"
            f" of {FACTORS[-1]} times: {beside['failed']} of {beside['started']} refused, p99 {number(beside['latency_us']['p99'] / 1000)} ms"
            f" (alone {number(alone['latency_us']['p99'] / 1000)} ms).\n")
    return "\n".join(parts)
