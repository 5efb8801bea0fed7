"""A signerd with tokend, the faulty module over SoftHSM, and relays that sign without pause; one scenario after the other."""

import base64
import collections
import contextlib
import dataclasses
import email.parser
import os
import re
import signal
import struct
import subprocess
import threading
import time

import dkim
import grpc

import acts
import clones
import deployment
import knot
import ledger_files
import messages
from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2
from waiting import wait_for

DOMAINS = ("one.example", "two.example")
RELAYS = 3
PAUSE = 0.08            # seconds between two messages of a relay
DEADLINE = 10           # seconds that a relay gives a call
SIGN_TIMEOUT_MS = 1000  # a C_Sign that takes longer counts as hung
SLOW = 1.0              # a call that takes so long belongs to the trouble
SLOWER = 5 if deployment.sanitized() else 1
PATIENCE = 90           # seconds until the runner gives up: only a broken box gets there
SIMULATED = {"card": "sessions=1"}
GROUP = ("first", "second")  # the tokens of a group; the first has the faults
ENDED = "signerd ended by itself"
SECRET = base64.b64encode(bytes(range(32))).decode()  # of updates to the name server


def use_name_server(hallmark, dns):
    """Before the start: keys are published by updates of `dns`, a Knot with SECRET, and looked for there."""
    secret = hallmark.folder / "tsig"
    secret.touch(0o600)
    secret.write_text(SECRET + "\n")
    hallmark.edit_config(lambda text: text + f"""
[dns]
resolver = "127.0.0.1:{dns.port}"
nameserver_port = {dns.port}
[[dns.publisher]]
name = "main"
server = "127.0.0.1:{dns.port}"
secret_file = "tsig"
key = "hallmark"
algorithm = "hmac-sha256"
""")


@dataclasses.dataclass
class Call:
    """One message of a relay and what became of it."""
    message: bytes
    begun: float
    ended: float = 0.0
    answer: object = None  # the SignResponse, where it was signed
    error: str = ""        # "UNAVAILABLE TOKEN_DOWN" where it was not

    @property
    def bad(self):
        return bool(self.error) or self.ended - self.begun > SLOW


class Relays:
    """Connections that each sign one message after the other, and remember every call in `calls`."""

    def __init__(self, hallmark, calls, pause=PAUSE):
        self._hallmark = hallmark
        self._calls = calls
        self._pause = pause
        self._lock = threading.Lock()  # guards _calls
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(RELAYS)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def since(self, instant):
        """The calls that ended after it."""
        with self._lock:
            return [call for call in self._calls if call.ended >= instant]

    def take(self):
        """All that ended so far; they are forgotten."""
        with self._lock:
            taken, self._calls[:] = list(self._calls), []
        return taken

    def well_since(self, instant):
        """Whether what each relay asked for lately, and since then, was signed, two messages of each at least."""
        lately = [call for call in self.since(instant) if call.begun >= instant][-3 * RELAYS:]
        return len(lately) == 3 * RELAYS and not any(call.bad for call in lately)

    def _run(self, number):
        stub = self._hallmark.signing()
        count = 0
        while not self._stop.wait(self._pause):
            count += 1
            domain = DOMAINS[count % len(DOMAINS)]
            identity = f"<{time.monotonic_ns()}.{number}@{domain}>"
            message = re.sub(rb"<lunch@.*>", identity.encode(), messages.MESSAGE).replace(b"@example.com", b"@" + domain.encode())
            call = Call(message, time.monotonic())
            try:
                call.answer = stub.Sign(signing_pb2.SignRequest(message=message), timeout=DEADLINE)
            except grpc.RpcError as error:
                call.error = f"{error.code().name} {deployment.error_reason(error)}".strip()
            call.ended = time.monotonic()
            with self._lock:
                self._calls.append(call)


@dataclasses.dataclass
class Outcome:
    """What a scenario did."""
    name: str
    problems: list = dataclasses.field(default_factory=list)  # sentences; none when all was as it should be
    refused: dict = dataclasses.field(default_factory=dict)   # what relays saw -> how often
    signed: int = 0
    longest: float = 0.0     # seconds, of a call
    recovery: float = 0.0    # seconds, from the first call in trouble, or from the mending, until all was signed again
    back: float = 0.0        # of a group: seconds until the faulty token signed again, from the end of the fault
    state: str = ""          # that dkimctl status showed


class Box:
    """One deployment. `kind`: "sessions", four of them; "card", one; "group", two tokens that are clones, the first the faulty one;
    "names", as "sessions", with a name server that takes updates."""

    def __init__(self, kind):
        self._acts = self._dns = None
        self.hallmark = deployment.Deployment(start=False)
        try:
            self._start(kind)
        except BaseException:
            self._end()
            raise

    def _end(self):
        self.hallmark.close()
        if self._dns:
            self._dns.close()

    def _start(self, kind):
        self.hallmark.edit_config(lambda text: re.sub(
            r"^(sessions = .*)$", rf"\1\nsign_timeout_ms = {SIGN_TIMEOUT_MS}", text, flags=re.MULTILINE))
        options = {"simulate": SIMULATED[kind]} if kind in SIMULATED else {}
        self._group = kind == "group"
        if self._group:
            clones.make_group(self.hallmark, "hsm", GROUP)
        self._faults = self.hallmark.use_faulty_module("", most=1, **options)
        if kind == "names":
            self._dns = knot.Knot((), tsig_secret=SECRET)
            use_name_server(self.hallmark, self._dns)
        self.hallmark.start()
        if kind == "names":
            self.hallmark.dkimctl("key", "policy", "set", "--publisher", "main", "--waive-backup", "a lost token means new keys")
        for domain in DOMAINS:
            self.hallmark.add_domain(domain)
        if self._group:
            self.hallmark.stop()
            clones.copy_keys(self.hallmark, *GROUP)
            self.hallmark.start()
        self._records, self._calls = {}, []
        self._learn_records()
        self._given = set()  # (Message-ID, selector) of every signature that a relay was given
        self._relays = Relays(self.hallmark, self._calls)

    def close(self):
        """Ends it. Gives sentences about the ledger, where what it holds is not what relays were given, and how signerd ended."""
        try:
            self._relays.stop()
            for call in self._relays.take():  # in a scenario that went wrong nobody has looked at them
                self._remember(call)
            return [*self._stop_signerd(), *self._check_ledger()]
        finally:
            self._end()

    def abandon(self):
        """Ends it, whatever state it is in."""
        self._relays.stop()
        self._end()

    def signerd_ended(self):
        """Whether it is gone though nobody stopped it; asked once something went wrong, and waits for one that is just going."""
        if self.hallmark.process is None:
            return False
        try:
            self.hallmark.process.wait(3)  # its threads go before it does
        except subprocess.TimeoutExpired:
            return False
        return True

    def _stop_signerd(self):
        """Sentences about its end, none where that was as it should be."""
        status = self.hallmark.stop()
        return [f"signerd ended with {status}"] if status else []

    def run(self, scenario):
        """Plays it, and leaves the box well. An exception means that the box is of no more use."""
        outcome = Outcome(scenario.name)
        self._new_tokend("")
        wait_for(self._signs_since(time.monotonic()), "all is signed before the scenario", PATIENCE)
        self._wait_for_all_tokens()
        if scenario.does:
            self._acts = self._acts or acts.Acts(self.hallmark, DOMAINS[0])
            self._acts.begin(scenario)
        self._calls.clear()
        begun, mended = time.monotonic(), None
        if scenario.at == "work":
            self._write_faults(scenario.fault)
        else:
            self._new_tokend(scenario.fault)
        if scenario.shows:
            self._wait_until_shown(scenario, outcome)
            met, mended = self._faults_met(), time.monotonic()
            self._mend(scenario, outcome)
        else:
            if scenario.does:
                outcome.problems += self._acts.during(scenario)
            else:
                time.sleep(scenario.lasts)
                self._give_time_to_meet()
            met = False
        wait_for(self._signs_since(time.monotonic()), f"{scenario.name}: all is signed again", PATIENCE)
        if not (met or self._faults_met()):
            outcome.problems.append("the fault never happened")
        self._write_faults("")
        ended = time.monotonic()
        self._wait_for_all_tokens()
        outcome.back = time.monotonic() - ended
        if scenario.does:
            outcome.problems += self._acts.afterwards(scenario)
            self._learn_records()
        self._judge(scenario, outcome, begun, mended)
        return outcome

    def _signs_since(self, instant):
        def signs():
            if not self.hallmark.running():
                raise AssertionError(ENDED)
            return self._relays.well_since(instant)

        return signs

    def _wait_for_all_tokens(self):
        """No token of a group is left out."""
        if self._group:
            wait_for(lambda: all(token.state == admin_pb2.TOKEN_STATE_READY and not token.drained for token in
                                 self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens), "every token signs", PATIENCE)

    # Faults.

    def _write_faults(self, rules):
        following = self._faults.with_suffix(".next")
        following.write_text(rules)
        following.rename(self._faults)  # a reader sees the old rules or the new ones

    def _faults_met(self):
        """Whether one of the present rules was obeyed: the first number of the file that the module keeps with them."""
        facts = self._faults.stat()
        name = f"{self._faults.name}.since-{facts.st_ino}-{facts.st_mtime_ns // 10**9}.{facts.st_mtime_ns % 10**9}"
        path = self._faults.with_name(name)
        return path.exists() and struct.unpack_from("=Q", path.read_bytes())[0] > 0

    def _give_time_to_meet(self):
        """Where the machine is so busy that no call has met the fault yet."""
        deadline = time.monotonic() + 10 * SLOWER
        while not self._faults_met() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _new_tokend(self, rules):
        """Ends tokend: the next one starts under these rules."""
        before = self.hallmark.tokend_pids()
        self._write_faults(rules)
        for pid in before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not set(before) & set(self.hallmark.tokend_pids()), "tokend ends", PATIENCE)

    def _wait_until_shown(self, scenario, outcome):
        shown = {}

        def is_shown():
            token = self.hallmark.dkimctl_json("status", status=None)["tokens"][0]
            shown.update({"message": ""} | token)
            return shown["state"].endswith(scenario.shows) and scenario.says in shown["message"]

        try:
            wait_for(is_shown, "", 40 * SLOWER)
        except AssertionError:
            outcome.problems.append(f"dkimctl status shows {shown['state']}: {shown['message']}")
        outcome.state = shown["state"].removeprefix("TOKEN_STATE_")

    def _mend(self, scenario, outcome):
        if scenario.mend == "kill":
            self._new_tokend("")
            return
        self._write_faults("")
        if scenario.mend == "restart":
            self._relays.stop()
            outcome.problems += self._stop_signerd()
            self.hallmark.start()
            self._relays = Relays(self.hallmark, self._calls)

    # What came of it.

    def _judge(self, scenario, outcome, begun, mended):
        calls = self._relays.since(begun)
        outcome.refused = dict(collections.Counter(call.error for call in calls if call.error))
        outcome.signed = sum(1 for call in calls if call.answer)
        outcome.longest = max(call.ended - call.begun for call in calls)
        outcome.recovery = _recovery(calls, mended)
        for seen in sorted(set(outcome.refused) - set(scenario.seen)):
            outcome.problems.append(f"relays saw {seen}, {outcome.refused[seen]} times")
        if outcome.recovery > scenario.well * SLOWER:
            outcome.problems.append(f"well again after {outcome.recovery:.1f} s, not {scenario.well}")
        if scenario.longest and not deployment.sanitized() and outcome.longest > scenario.longest:
            outcome.problems.append(f"a call took {outcome.longest:.1f} s, not {scenario.longest}")
        wrong = sum(1 for call in calls if call.answer and not self._is_right(call))
        if wrong:
            outcome.problems.append(f"{wrong} messages were given signatures that do not verify, or not all of them")

    def _is_right(self, call):
        """Whether an independent verifier accepts every signature; and remembers them for the ledger."""
        self._remember(call)
        verifier = dkim.DKIM(messages.signed(call.message, call.answer))
        return len(call.answer.signatures) == len(deployment.KEY_ALGORITHMS) and all(
            verifier.verify(index, dnsfunc=self._record) for index in range(len(call.answer.signatures)))

    def _remember(self, call):
        """For the ledger."""
        if call.answer:
            identity = email.parser.BytesHeaderParser().parsebytes(call.message)["Message-ID"]
            self._given |= {(identity, signature.selector) for signature in call.answer.signatures}

    def _learn_records(self):
        """As they were published first: what was signed with a key stays signed after it is revoked."""
        for line in self.hallmark.key_lines(DOMAINS):
            name, value = line.strip().split(" TXT ", 1)
            if not value.endswith("p="):
                self._records.setdefault(name, value)

    def _record(self, name, timeout=5):
        del timeout
        return self._records.get(name.decode().rstrip("."), "").encode()

    def _check_ledger(self):
        records = ledger_files.records(self.hallmark.folder / "state/ledger")
        kept = collections.Counter((record.signature.message_id, record.signature.selector)
                                   for record in records if record.HasField("signature"))
        problems = []
        if lost := [given for given in self._given if not kept[given]]:
            problems.append(f"{len(lost)} of {len(self._given)} signatures that relays were given have no record")
        if twice := [given for given, times in kept.items() if times > 1]:
            problems.append(f"{len(twice)} signatures have two records")
        return problems


def _recovery(calls, mended):
    """Seconds from the first call in trouble, or from the mending, until a message was signed and no trouble came after."""
    calls = sorted(calls, key=lambda call: call.ended)
    bad = [call for call in calls if call.bad and (mended is None or call.ended > mended)]
    if not bad and mended is None:
        return 0.0
    begun = min(call.begun for call in bad) if mended is None else mended
    last = bad[-1].ended if bad else begun
    # A slow call that was signed is itself the end of the trouble.
    if bad and not bad[-1].error:
        return last - begun
    return next(call.ended for call in calls if call.ended > last and not call.error) - begun
