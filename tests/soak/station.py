"""A signerd with tokend, the faulty module over SoftHSM, a name server that takes updates, relays that check what they are given, and
the hands of those who change things while it signs."""

import collections
import contextlib
import dataclasses
import email.parser
import json
import pathlib
import re
import shutil
import ssl
import struct
import subprocess
import time

import dkim
import grpc

import accounts
import box
import deployment
import figures
import knot
import ledger_files
import messages
import pki
from hallmark.admin.v1 import admin_pb2
from hallmark.ledger.v1 import record_pb2
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc
from waiting import wait_for

REQUEST_IDS = 20_000  # remembered answers: no more than a short run fills early, or their memory would look like a leak
RELAY_PAUSE = 1.0  # seconds between two messages of a relay that checks its answers
SIZES = (1, 20, 400)  # lines of the load's messages
GUEST = """
[[partner]]
name = "guest"
author_domains = ["one.example"]
signing_domains = ["one.example"]

[[relay]]
name = "guest"
identity = "dns:guest.localdomain"
partners = ["guest"]
"""


class Station:
    def __init__(self):
        self.checked = self.sampled = self.recorded = self.rotations = self.certificates = 0
        self.accounts = accounts.Accounts()
        self._records, self._given, self._refused, self._wrong = {}, [], set(), []
        self._calls, self._suspended, self._other = [], False, None
        self._dns = knot.Knot((), tsig_secret=box.SECRET)
        try:
            self._hallmark = deployment.Deployment(start=False)
            try:
                self._start()
            except BaseException:
                self._hallmark.close()
                raise
        except BaseException:
            self._dns.close()
            raise

    def _start(self):
        hallmark = self._hallmark
        self._faults = hallmark.use_faulty_module("")
        # Rules count calls; here nobody minds that test signatures are counted too.
        hallmark.edit_config(lambda text: text.replace("test_signature_seconds = 0\n", "").replace(
            "sessions = 4\n", f"sessions = 4\nsign_timeout_ms = {box.SIGN_TIMEOUT_MS}\n") + f"\n[ledger]\nrequest_ids = {REQUEST_IDS}\n")
        box.use_name_server(hallmark, self._dns)
        self._servers = pki.Authority("Servers")
        with open(hallmark.folder / "tls/server-ca.pem", "ab") as bundle:
            bundle.write(self._servers.pem)
        self._authority = pki.Authority("Guests")
        hallmark.trust(self._authority.pem)
        self._guest = self._authority.issue(dns=["guest.localdomain"])
        hallmark.edit_policy(lambda text: text + GUEST)
        hallmark.start()
        hallmark.dkimctl("key", "policy", "set", "--publisher", "main", "--waive-backup", "a lost token means new keys")
        for domain in box.DOMAINS:
            hallmark.dkimctl("domain", "add", domain)
            self._new_keys(domain)
        self._learn_records()
        self._mail, self._kept = hallmark.folder / "mail", hallmark.folder / "kept"
        self._mail.mkdir()
        for domain in box.DOMAINS:
            for lines in SIZES:
                (self._mail / f"{domain}-{lines}.eml").write_bytes(messages.MESSAGE.replace(b"@example.com", b"@" + domain.encode()) +
                                                                   b"One more line of it.\r\n" * lines)
        self._pid = hallmark.process.pid
        self._relays = box.Relays(hallmark, self._calls, RELAY_PAUSE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._relays.stop()
        self._hallmark.close()
        self._dns.close()

    @staticmethod
    def at(instant):
        time.sleep(max(0, instant - time.monotonic()))

    # Load.

    def _dkimload(self, *arguments):
        """All that it sends counts, so there is no warm-up; what it was told of each message is held against the ledger."""
        command = [deployment.BIN / "dkimload", "--dir", self._hallmark.folder, "--output", "json", "--connections", "4", "--warmup", "0",
                   "--allow-errors", "--keep", self._kept, *arguments, self._mail]
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                preexec_fn=deployment.die_with_parent)

    def capacity(self):
        """Messages a second, in closed loop."""
        with self._dkimload("--in-flight", "32", "--duration", "10") as load:
            report = json.loads(load.communicate(timeout=60)[0])
        self.take_load()
        if report["errors"]:
            raise RuntimeError(f"before any fault the load saw {report['errors']}")
        return report["throughput"]

    @contextlib.contextmanager
    def load(self, rate, seconds, seed):
        with self._dkimload("--rate", f"{rate:.0f}", "--duration", str(seconds), "--seed", str(seed)) as load:
            try:
                yield load
            finally:
                load.kill()

    # What happens to it.

    def fail(self, scenario):
        """Until it is over. What the fault leaves behind is for Hallmark to mend."""
        self._write_faults(scenario.fault)
        time.sleep(scenario.lasts)
        self._write_faults("")

    def _write_faults(self, rules):
        following = self._faults.with_suffix(".next")
        following.write_text(rules)
        following.rename(self._faults)

    def change_policy(self):
        """The guest is suspended, and another time let in again; it notices at its next message."""
        self._suspended = not self._suspended
        self._hallmark.dkimctl("partner", "suspend" if self._suspended else "resume", "guest")
        try:
            self._as_guest()
            refused = ""
        except grpc.RpcError as error:
            refused = error.code().name
        if (refused == "PERMISSION_DENIED") != self._suspended and refused != "UNAVAILABLE":
            raise AssertionError(f"the guest was answered {refused or 'with signatures'} though it is {'' if self._suspended else 'not '}suspended")

    def _as_guest(self, certificate=None):
        with contextlib.closing(self._hallmark.channel(self._hallmark.signing_address, *(certificate or self._guest))) as channel:
            stub = signing_pb2_grpc.SigningServiceStub(channel)
            return stub.Sign(signing_pb2.SignRequest(message=messages.MESSAGE.replace(b"@example.com", b"@one.example")), timeout=30)

    def change_authorities(self):
        """A CA is trusted from now on, and the time after not any more; connections that are there stay."""
        bundle = self._hallmark.folder / "tls/relay-ca.pem"
        if self._other is None:
            self._other = (bundle.read_bytes(), pki.Authority("Others"))
            self._hallmark.trust(self._other[1].pem)
        else:
            bundle.write_bytes(self._other[0])
        known = self._other[1].issue(dns=["guest.localdomain"])
        wanted = bundle.read_bytes() != self._other[0]
        wait_for(lambda: self._knows(known) == wanted, f"a CA is {'' if wanted else 'not '}trusted")
        if not wanted:
            self._other = None

    def _knows(self, certificate):
        try:
            self._as_guest(certificate)
        except grpc.RpcError as error:
            # Suspended, or the token fails: it was let in.
            return bool(deployment.error_reason(error))
        return True

    def replace_server_certificate(self):
        """New connections are shown it; those that are there stay."""
        folder, (certificate, key) = self._hallmark.folder / "tls", self._servers.issue(dns=["localhost"], server=True)
        (folder / "server.pem").write_bytes(certificate)
        (folder / "server.key").write_bytes(key)
        host, port = self._hallmark.signing_address.rsplit(":", 1)
        wanted = ssl.PEM_cert_to_DER_cert(certificate.decode())
        wait_for(lambda: ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port)))) == wanted, "the new certificate is shown")
        self.certificates += 1

    def rotate(self):
        domain = box.DOMAINS[self.rotations % len(box.DOMAINS)]
        self._new_keys(domain)
        self._learn_records()
        self.rotations += 1

    def _new_keys(self, domain):
        """At once, as after a theft; the old keys are revoked by a second officer."""
        before = self._active(domain)
        waiting = self._hallmark.dkimctl("key", "rotate", domain, "--compromised", "--now", status=5 if before else 0)
        wait_for(lambda: len(self._active(domain)) == len(deployment.KEY_ALGORITHMS) and not self._active(domain) & before,
                 f"new keys of {domain}", 120)
        if before:
            self._learn_records()
            number = re.search(r"dkimctl approvals approve (\d+)", waiting.stderr).group(1)
            self._hallmark.as_officer2()
            self._hallmark.dkimctl("approvals", "approve", number, "--yes", "--as", "officer2")

    def _active(self, domain):
        keys = self._hallmark.dkimctl_json("key", "status", domain)["keys"]
        return {key["key"]["selector"] for key in keys if key["key"]["state"] == "KEY_STATE_ACTIVE"}

    # What came of it.

    def _learn_records(self):
        """As they were published: what was signed with a key stays signed after it is revoked."""
        for line in self._hallmark.key_lines(box.DOMAINS):
            name, value = line.strip().split(" TXT ", 1)
            if not value.endswith("p="):
                self._records.setdefault(name, value)

    def verify(self):
        """What the relays were given since the last time, by an independent verifier."""
        self._learn_records()
        for call in self._relays.take():
            identity = email.parser.BytesHeaderParser().parsebytes(call.message)["Message-ID"]
            if not call.answer:
                if " " in call.error:  # with a reason of signerd's; else it may have been signed
                    self._refused.add(identity)
                continue
            self.checked += 1
            self._given += [(identity, signature.selector) for signature in call.answer.signatures]
            self._check(identity, messages.signed(call.message, call.answer))

    def take_load(self):
        """What a run of dkimload was told, of which some signatures are verified in the same way."""
        self._learn_records()
        for path in self._kept.glob("*.eml"):
            self.sampled += 1
            self._check(path.name, path.read_bytes())
        with open(self._kept / "outcomes", encoding="ascii") as lines:
            self.accounts.add(lines)
        shutil.rmtree(self._kept)

    def _check(self, name, message):
        """Whether it has a signature of each key, all of them right."""
        verifier = dkim.DKIM(message)
        count = sum(field.lower() == b"dkim-signature" for field, _ in verifier.headers)
        if count != len(deployment.KEY_ALGORITHMS) or not all(verifier.verify(index, dnsfunc=self._record) for index in range(count)):
            self._wrong.append(name)

    def _record(self, name, timeout=5):
        del timeout
        return self._records.get(name.decode().rstrip("."), "").encode()

    def processes(self):
        # One that was just replaced may not be there for a moment.
        [tokend] = wait_for(self._hallmark.tokend_pids, "a tokend")
        sessions = wait_for(lambda: self._open_sessions(tokend), "tokend has sessions")
        return figures.Process.of(self._hallmark.process.pid), dataclasses.replace(figures.Process.of(tokend), sessions=sessions)

    def _open_sessions(self, pid):
        """As the module counts them: opened, and not closed since."""
        path = self._faults.with_name(f"{self._faults.name}.sessions-{pid}")
        return struct.unpack_from("=Q", path.read_bytes())[0] if path.exists() else 0

    def finish(self):
        """Ends it. Gives sentences about what did not hold."""
        problems = []
        self._relays.stop()
        self.verify()
        if self._wrong:
            problems.append(f"{len(self._wrong)} messages were given signatures that do not verify, or not all of them: {self._wrong[:5]}")
        if not self.sampled or not self.checked:
            problems.append("no signature was checked")
        if not self._hallmark.running() or self._hallmark.process.pid != self._pid:
            problems.append("signerd did not live through it")
        admin = self._hallmark.admin()
        wait_for(lambda: admin.GetStatus(admin_pb2.GetStatusRequest()).messages_in_flight == 0, "no message in flight any more")
        self._hallmark.stop()
        return problems + self._check_ledger()

    def _check_ledger(self):
        folder, problems = self._hallmark.folder / "state/ledger", []
        verified = subprocess.run([pathlib.Path(__file__).parents[2] / "tools/ledger-verify", folder], capture_output=True, text=True, check=False)
        if verified.returncode != 0:
            problems.append(f"ledger-verify: {verified.stdout}{verified.stderr}")
        kept = collections.Counter()
        for path in sorted((folder / "segments").glob("*.seg")):
            for payload in list(ledger_files.frames(path))[1:]:
                record = record_pb2.Record.FromString(payload)
                if record.HasField("signature"):
                    self.recorded += 1
                    if record.signature.request_id:
                        self.accounts.count(record.signature.request_id)
                    else:
                        kept[record.signature.message_id, record.signature.selector] += 1
        if lost := [given for given in self._given if not kept[given]]:
            problems.append(f"{len(lost)} of {len(self._given)} signatures that relays were given have no record")
        if twice := [given for given in set(self._given) if kept[given] > 1]:
            problems.append(f"{len(twice)} signatures have two records")
        if refused := {identity for identity, _ in kept if identity in self._refused}:
            problems.append(f"{len(refused)} messages of relays were refused with a reason, and have a record")
        return problems + self.accounts.judge()
