"""dkim-milter, signerd and tokend beside OpenDKIM: behind one and the same Postfix with 200 SMTP sessions at once, and alone.

Both sign with RSA-2048 and relaxed/relaxed and listen on a Unix socket. Postfix discards what it has taken, and keeps its queue
in memory, so that it is not a disk that is measured.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time

import bodies
import closed_loop
import daemons
import deployment
import dkim_milter
import end_to_end
import milter_peer
import postfix
import servers
import service
import signatures
from errors import PeerError
from samples import median, number, shown, table

SESSIONS = 200
SIZES = ("2kB", "20kB")
QUEUE = "/dev/shm"
CHECKED = "box@checked.example"  # What goes there is delivered to a Maildir.
WARM_UP_SECONDS, SECONDS, ALONE_SECONDS = 5, 20, 8

# Room for all sessions, and nothing that slows a sender down on purpose.
SETTINGS = {
    "default_process_limit": "400",
    "default_transport": "discard",
    "transport_maps": "inline:{ {checked.example = virtual} }",
    "in_flow_delay": "0",
    "milter_default_action": "tempfail",
    # Under this load postlogd and master may come to wait for each other for ever; without a file, lines go to a syslog that is not there.
    "maillog_file": "",
}


class NoMilter:
    """Postfix alone."""
    name, address = "no milter", ""
    record = None

    def cpu_seconds(self):
        return {}


class OpenDkim(servers.OpenDkim):
    """As daemons.py measures it, on a socket that Postfix can open."""
    name = "OpenDKIM"

    def command(self):
        self.folder.chmod(0o755)
        command = super().command()
        config = self.folder / "opendkim.conf"
        config.write_text(config.read_text().replace("UMask 077", "UMask 000"))
        return command

    @property
    def address(self):
        return f"unix:{self.socket}"

    def cpu_seconds(self):
        return {"milter": own_cpu(self.process.pid)}


class Hallmark(contextlib.ExitStack):
    """dkim-milter, signerd and tokend, with SoftHSM."""
    name = "dkim-milter"

    def __enter__(self):
        super().__enter__()
        try:
            self.service = self.enter_context(service.Service("softhsm", sessions=end_to_end.SOFTHSM_SESSIONS))
            folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="hallmark-bench-")))
            folder.chmod(0o755)
            self.socket = folder / "socket"
            self.milter = self.enter_context(dkim_milter.DkimMilter(
                self.service.hallmark, listen=[f"unix:{self.socket}"], tables={"milter": {"socket_mode": "0666"}}))
            self.record = self.service.hallmark.key_lines([bodies.DOMAIN])[0].split(None, 2)[2].strip().encode()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def address(self):
        return self.milter.address

    def connect(self):
        return milter_peer.MilterPeer(self.socket)

    def cpu_seconds(self):
        return {"milter": own_cpu(self.milter.process.pid), **{name: own_cpu(pid) for name, pid in self.service.pids().items()}}


def own_cpu(pid, ended=False):
    """User and system time of one process with all its threads; with `ended` also of the children that it has outlived."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


def postfix_cpu(master):
    """All of a Postfix. Its services, all started by master, end after a number of connections; master then counts them."""
    total = own_cpu(master, ended=True)
    for pid in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split():
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            total += own_cpu(pid)
    return total


class Sender:
    """smtp-source, that sends one message a session, with SESSIONS sessions at once, until it is left."""

    def __init__(self, port, message_file):
        self._done = 0
        self._said = b""
        # Far more messages than it will come to.
        command = ["smtp-source", "-c", "-s", SESSIONS, "-m", 10_000_000, "-f", "joe@example.com", "-t", "suzie@shopping.example.net",
                   "-F", message_file, f"127.0.0.1:{port}"]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        preexec_fn=deployment.die_with_parent)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while octets := self.process.stdout.read1(65536):
            self._said = (self._said + octets)[-4096:]
            if counts := re.findall(rb"(\d+)\r", self._said):
                self._done = int(counts[-1])

    def done(self):
        """How many messages Postfix has taken."""
        if self.process.poll() is not None:
            raise PeerError(f"smtp-source ended; it said: {self._said.decode(errors='replace').strip()[-300:]}")
        return self._done

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


def behind_postfix(setup, size, seconds, warm_up):
    """One sample: messages a second, and CPU a message of each part."""
    folder = QUEUE if os.path.isdir(QUEUE) else None
    with postfix.Postfix(settings={**SETTINGS, "smtpd_milters": setup.address}, folder=folder) as relay:
        message_file = relay.folder / "message"
        message_file.write_bytes(bodies.message(bodies.SIZES[size]).replace(b"\r\n", b"\n"))
        with Sender(relay.ports["smtp"], message_file) as sender:
            def look():
                return time.monotonic(), sender.done(), {**setup.cpu_seconds(), "Postfix": postfix_cpu(relay.process.pid),
                                                         "smtp-source": own_cpu(sender.process.pid)}
            time.sleep(warm_up)
            begin, before, cpu_before = look()
            time.sleep(seconds)
            end, after, cpu_after = look()
        _check(relay, setup)
    count = after - before
    if not count:
        raise PeerError(f"Postfix took no message in {seconds} s; its milter may be hanging")
    return {"messages_per_second": count / (end - begin),
            "cpu_us": {name: (cpu_after[name] - cpu_before[name]) / count * 1e6 for name in cpu_after}}


def _check(relay, setup):
    """One more message, whose signature must be good: what is fast and wrong is not measured."""
    code, text = relay.send("joe@example.com", CHECKED, bodies.message(bodies.SIZES["2kB"]))
    if code != 250:
        raise PeerError(f"Postfix does not take a message: {text}")
    message = relay.maildir.wait(1)[0].message
    # Nothing but the signature is before what Postfix put on top.
    signature = re.search(rb"^DKIM-Signature:(?:[^\r]|\r\n[ \t])*\r\n", message, re.MULTILINE)
    if (setup.record is None) != (signature is None):
        raise PeerError("a message is signed that should not be" if signature else "a message is not signed")
    if signature:
        daemons.verify(signature.group(), message.replace(signature.group(), b"", 1), setup.record)


def alone(setup, size, seconds):
    """One sample without Postfix: SESSIONS connections, each in a closed loop."""
    with contextlib.closing(_Flat(setup)) as daemon:
        outcome = closed_loop.run(daemon, bodies.message(bodies.SIZES[size]), SESSIONS, seconds)
        parts = daemon.parts()
    for signature in outcome.signatures[:daemons.VERIFIED]:
        daemons.verify(signature, bodies.message(bodies.SIZES[size]), setup.record)
    cpu = {name: spent / outcome.signed * 1e6 for name, spent in parts.items()}
    return {"messages_per_second": outcome.signed / outcome.seconds, "p50_ms": outcome.quantile(0.5) * 1e3,
            "p99_ms": outcome.quantile(0.99) * 1e3, "driver_cpu_us": outcome.driver_cpu * 1e6, "cpu_us": cpu}


class _Flat:
    """A set-up as closed_loop has its daemons: with one figure for CPU. Keeps the parts of the last two looks."""

    def __init__(self, setup):
        self._setup, self._looks = setup, []

    def connect(self):
        return self._setup.connect()

    def cpu_seconds(self):
        self._looks.append(self._setup.cpu_seconds())
        return sum(self._looks[-1].values())

    def parts(self):
        before, after = self._looks[-2:]
        return {name: after[name] - before[name] for name in after}

    def close(self):
        pass


def _signature_cpu(context, name):
    lines = signatures.measure(context, "--only", name, threads=end_to_end.SOFTHSM_SESSIONS)
    return [line["cpu_us"] for line in lines if line["algorithm"] == "rsa2048"]


def measure(context):
    seconds, warm_up, alone_seconds = (3, 2, 2) if context.quick else (SECONDS, WARM_UP_SECONDS, ALONE_SECONDS)
    result = {"signature_cpu_us": {name: _signature_cpu(context, name) for name in ("c_sign", "openssl")},
              "postfix": {}, "alone": {}}
    with OpenDkim() as opendkim, Hallmark() as hallmark:
        for size in SIZES:
            for setup in (NoMilter(), opendkim, hallmark) * context.repeats:  # In turn, so that what else happens is shared.
                context.progress(f"200 SMTP sessions, {size}, {setup.name}")
                result["postfix"].setdefault(f"{size}/{setup.name}", []).append(behind_postfix(setup, size, seconds, warm_up))
            for setup in (opendkim, hallmark) * context.repeats:
                context.progress(f"200 milter connections, {size}, {setup.name}")
                result["alone"].setdefault(f"{size}/{setup.name}", []).append(alone(setup, size, alone_seconds))
    return result


PARTS = ("Postfix", "milter", "signerd", "tokend", "smtp-source")


def report(result, plots):
    own = {"dkim-milter": median(result["signature_cpu_us"]["c_sign"]), "OpenDKIM": median(result["signature_cpu_us"]["openssl"])}
    return "\n".join((_report_postfix(result["postfix"]), _report_alone(result["alone"]),
                      _report_beside(result, own), _report_ratios(result)))


def _cells(samples):
    return [shown([sample["cpu_us"][name] for sample in samples]) if name in samples[0]["cpu_us"] else "" for name in PARTS]


def _sum(sample):
    return sum(sample["cpu_us"].values())


def _label(cell):
    size, name = cell.split("/")
    return f"{name}, {size}"


def _could(samples):
    return number(os.cpu_count() * 1e6 / median([_sum(sample) for sample in samples]))


def _report_postfix(cells):
    rows = [[_label(cell), shown([sample["messages_per_second"] for sample in samples]), *_cells(samples),
             shown([_sum(sample) for sample in samples]), _could(samples)] for cell, samples in cells.items()]
    return (f"{SESSIONS} SMTP sessions at once (`smtp-source -s {SESSIONS}`, a connection for each message) to one Postfix that discards"
            " the mail; its queue is in memory, signerd's ledger on the disk. RSA-2048, relaxed/relaxed, Unix sockets; SoftHSM in tokend,"
            " a PEM file in OpenDKIM. CPU in us for each message; `could` is what all cores could do if nothing else ran on them: a"
            " set-up with few threads gets less of a shared machine than one with many.\n\n" +
            table(["", "messages/s", *PARTS, "all", "could"], rows))


def _report_alone(cells):
    rows = []
    for cell, samples in cells.items():
        figures = [shown([sample[key] for sample in samples]) for key in ("messages_per_second", "p50_ms", "p99_ms", "driver_cpu_us")]
        rows.append([_label(cell), *figures[:3], *_cells(samples)[1:4], figures[3], _could(samples)])
    return (f"The milters alone: {SESSIONS} connections that are kept, each with its next message as soon as it has the last signature."
            " `could` leaves the driver out.\n\n" +
            table(["", "messages/s", "p50 ms", "p99 ms", "milter", "signerd", "tokend", "driver", "could"], rows))


def _report_beside(result, own):
    rows = []
    for cell in result["postfix"]:
        name = cell.split("/")[1]
        if name in own:
            row = [_label(cell), number(own[name])]
            for samples in (result["postfix"][cell], result["alone"][cell]):
                signing = median([_sum({"cpu_us": {part: spent for part, spent in sample["cpu_us"].items()
                                                   if part in ("milter", "signerd", "tokend")}}) for sample in samples])
                row += [number(signing), number(signing - own[name])]
            rows.append(row)
    return ("What signing takes, and what it takes beside the RSA operation: C_Sign on SoftHSM for dkim-milter, OpenSSL's for OpenDKIM,"
            " measured alone in the same run. CPU in us for each message.\n\n" +
            table(["", "RSA", "behind Postfix", "beside RSA", "alone", "beside RSA"], rows))


def _report_ratios(result):
    rows = []
    for size in SIZES:
        for place in ("postfix", "alone"):
            theirs, ours = (result[place][f"{size}/{name}"] for name in ("OpenDKIM", "dkim-milter"))
            rate = sorted(b["messages_per_second"] / a["messages_per_second"] for a, b in zip(theirs, ours))
            cpu = sorted(_sum(a) / _sum(b) for a, b in zip(theirs, ours))
            where = "behind Postfix" if place == "postfix" else "alone"
            rows.append([f"{where}, {size}"] + [f"{number(values[0])} / {number(median(values))} / {number(values[-1])}" for values in (rate, cpu)])
    return ("dkim-milter's rate to OpenDKIM's, and OpenDKIM's CPU a message to dkim-milter's (all of it, Postfix and sender too), in each"
            " round: least / median / greatest.\n\n" + table(["", "rate", "CPU"], rows))
