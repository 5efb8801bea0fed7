"""Several tokens with the same keys: who signs, what is known of keys, what happens when one dies, hangs or is pulled; and domains with keys
in two groups."""

import collections
import contextlib
import email.parser
import os
import re
import signal
import subprocess
import threading
import time
import unittest

import dkim
import grpc

import clones
import deployment
import ledger_files
import messages
import metrics_test
import rotation_test
from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2
from waiting import wait_for

RSA_2048, ED25519_KEY = admin_pb2.KEY_ALGORITHM_RSA_2048, admin_pb2.KEY_ALGORITHM_ED25519
FIRST, SECOND = NAMES = ("hsm-1", "hsm-2")
DOMAIN = "example.com"
# Seconds that a message takes at most while another token takes over: it is a second where the machine has time (tools/check --faults
# holds it to that), and never what it takes to find that a token hangs, or to start it anew.
LONGEST = 4


class Load:
    """Relays that sign one message after the other until the end of the `with`; `errors` are what they saw beside signatures."""

    def __init__(self, hallmark, relays=3):
        self.hallmark, self.signed, self.errors, self.longest = hallmark, [], [], 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards the results
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(relays)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def count(self):
        with self._lock:
            return len(self.signed)

    def wait_for_more(self, messages_more=30):
        """That many are signed from now on."""
        target = self.count() + messages_more
        wait_for(lambda: self.count() >= target, lambda: f"{target} signed: {self.count()}, {self.errors}\n{self.hallmark.log_text()}")

    def _run(self, number):
        stub = self.hallmark.signing()
        while not self._stop.is_set():
            message = messages.MESSAGE.replace(b"<lunch@", f"<{time.monotonic_ns()}.{number}@".encode())
            begun = time.monotonic()
            try:
                answer, error = stub.Sign(signing_pb2.SignRequest(message=message), timeout=20), None
            except grpc.RpcError as failed:
                answer, error = None, f"{failed.code().name} {deployment.error_reason(failed)}"
            with self._lock:
                self.longest = max(self.longest, time.monotonic() - begun)
                if error:
                    self.errors.append(error)
                else:
                    self.signed.append((message, answer))


class GroupCase(unittest.TestCase):
    def setUp(self):
        self.hallmark = deployment.Deployment(start=False)
        self.addCleanup(self.hallmark.close)
        clones.make_group(self.hallmark, "hsm", NAMES)
        self.hallmark.edit_config(lambda text: text.replace("[health]\n", "[health]\ntest_signature_seconds = 1\n"))
        metrics_test.add_metrics(self.hallmark)

    def use_faults(self, rules):
        """The first token's module is the faulty one. Gives what changes its rules."""
        self.hallmark.edit_config(lambda text: text.replace("test_signature_seconds = 1\n", ""))
        faults = self.hallmark.use_faulty_module(rules, most=1)

        def change(new_rules):
            following = faults.with_suffix(".next")
            following.write_text(new_rules)
            following.rename(faults)

        return change

    def start_with_clones(self):
        """Both tokens have the keys of the domain."""
        self.hallmark.start()
        self.hallmark.add_domain(DOMAIN)
        self.hallmark.stop()
        clones.copy_keys(self.hallmark, FIRST, SECOND)
        self.hallmark.start()
        self.wait_until_all_sign()

    def tokens(self):
        return {token.name: token for token in self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens}

    def wait_until_all_sign(self):
        wait_for(lambda: all(token.state == admin_pb2.TOKEN_STATE_READY and not token.drained for token in self.tokens().values()),
                 lambda: f"every token signs: {self.tokens()}\n{self.hallmark.log_text()}")

    def signatures(self):
        values = metrics_test.scrape(self.hallmark)
        return {name: values[f'hallmark_token_signatures_total{{token="{name}"}}'] for name in self.tokens()}

    def kill(self, name):
        for pid in clones.pids_of(self.hallmark, name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pull(self, name):
        """The token is gone: its files are elsewhere, and tokend has to look for it anew."""
        home = self.hallmark.folder / "softhsm"
        (home / name).rename(home / f"{name}.away")
        (home / name).mkdir()
        self.kill(name)
        wait_for(lambda: self.tokens()[name].state == admin_pb2.TOKEN_STATE_ABSENT, lambda: f"{name} is gone: {self.tokens()[name]}")

    def check_ledger(self, load):
        """Each signature that a relay was given has one record, and dkimpy accepts it."""
        records = ledger_files.records(self.hallmark.folder / "state/ledger")
        kept = collections.Counter((record.signature.message_id, record.signature.selector)
                                   for record in records if record.HasField("signature"))
        given = [(email.parser.BytesHeaderParser().parsebytes(message)["Message-ID"], signature.selector)
                 for message, answer in load.signed for signature in answer.signatures]
        self.assertEqual({name: kept[name] for name in given}, {name: 1 for name in given})

    def check_failover(self, load):
        """Nobody was refused, or waited for the token that failed; what was signed is right, and on the ledger once."""
        self.assertEqual(load.errors, [])
        if not deployment.sanitized():
            self.assertLess(load.longest, LONGEST)
        self.check_signatures(load)
        self.check_ledger(load)

    def check_signatures(self, load, count=2):
        dns = dict(line.strip().split(" TXT ", 1) for line in self.hallmark.key_lines([DOMAIN]))
        for message, answer in load.signed[-20:]:
            verifier = dkim.DKIM(messages.signed(message, answer))
            self.assertEqual(len(answer.signatures), count)
            for index in range(count):
                self.assertTrue(verifier.verify(index, dnsfunc=lambda name, timeout=5: dns.get(name.decode().rstrip("."), "").encode()))


class KeysTest(GroupCase):
    def key(self, selector):
        return self.hallmark.admin().GetKey(admin_pb2.GetKeyRequest(domain=DOMAIN, selector=selector))

    def readings(self):
        status = self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest())
        return {reading.name: reading.message for reading in status.health}

    def test_a_key_is_made_in_one_and_found_in_the_other_when_it_was_copied_there(self):
        self.hallmark.start()
        self.wait_until_all_sign()
        selectors = [key.selector for key in self.hallmark.add_domain(DOMAIN)]
        for selector in selectors:
            self.assertEqual(self.key(selector).token, "hsm")
            self.assertEqual(self.key(selector).missing_tokens, [SECOND])
        for _ in range(20):  # the second is not asked for what it is known not to have
            self.assertEqual(len(self.hallmark.sign(messages.MESSAGE).signatures), 2)
        self.assertIn("not in:", self.hallmark.dkimctl("key", "show", DOMAIN, selectors[0]).stdout)
        self.hallmark.stop()  # or it may be a minute until it is looked for
        self.hallmark.start()
        name = f"copy/{DOMAIN}/{selectors[0]}"
        self.assertIn(SECOND, wait_for(lambda: self.readings().get(name), lambda: self.readings()))
        self.assertIn("not " + SECOND, " ".join(self.hallmark.dkimctl("key", "list").stdout.split()))
        table = self.hallmark.dkimctl("status").stdout
        self.assertRegex(table, rf"TOKEN +GROUP(.*\n)+{FIRST} +hsm")

        clones.copy_keys(self.hallmark, FIRST, SECOND)
        self.kill(SECOND)
        wait_for(lambda: not self.key(selectors[0]).missing_tokens, "the copy is found")
        wait_for(lambda: name not in self.readings(), lambda: self.readings())
        self.wait_until_all_sign()
        before = self.signatures()
        with Load(self.hallmark) as load:
            wait_for(lambda: self.signatures()[SECOND] > before[SECOND] + 20, "the second signs")
        self.assertEqual(load.errors, [])

    def test_an_import_puts_the_key_into_each(self):
        self.hallmark.start()
        self.wait_until_all_sign()
        pem = self.hallmark.folder / "key.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pem], check=True,
                       capture_output=True)
        import_it = ("import", "pem", pem, "--domain", DOMAIN, "--token", "hsm", "--activate", "--unpublished")
        said = self.hallmark.dkimctl_json(*import_it, "--selector", "old")
        self.assertEqual(said["keys"][0]["result"], "imported, active")
        self.assertEqual(self.key("old").missing_tokens, [])
        for name in NAMES:
            self.pull(name)
            self.assertEqual(len(self.hallmark.sign(messages.MESSAGE).signatures), 1)
            self.put_back(name)
        # One that cannot take it is named, and the key signs all the same.
        self.pull(SECOND)
        said = self.hallmark.dkimctl_json(*import_it, "--selector", "new", status=1)
        self.assertIn("imported", said["keys"][0]["result"])
        self.put_back(SECOND)
        self.assertEqual(self.key("new").missing_tokens, [SECOND])

    def put_back(self, name):
        home = self.hallmark.folder / "softhsm"
        (home / name).rmdir()
        (home / f"{name}.away").rename(home / name)
        self.kill(name)
        self.wait_until_all_sign()

    def test_a_member_is_no_token_of_a_key(self):
        self.hallmark.start()
        self.hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name=DOMAIN))
        error = self.hallmark.call_error(self.hallmark.admin().GenerateKey, admin_pb2.GenerateKeyRequest(
            domain=DOMAIN, algorithm=RSA_2048, token=FIRST))
        self.assertIn("name that", error.details())

    def test_names_of_groups_and_tokens_are_told_apart(self):
        self.hallmark.edit_config(lambda text: text.replace('group = "hsm"', f'group = "{FIRST}"'))
        run = subprocess.run([deployment.BIN / "signerd", "--check", "--config", self.hallmark.config], capture_output=True, text=True,
                             check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("is the name of a token", run.stderr)


class FailoverTest(GroupCase):
    def test_a_token_that_dies_again_and_again(self):
        self.start_with_clones()
        with Load(self.hallmark) as load:
            for _ in range(5):
                load.wait_for_more()
                self.kill(FIRST)
            load.wait_for_more()
            self.wait_until_all_sign()
            before = self.signatures()
            wait_for(lambda: self.signatures()[FIRST] > before[FIRST] + 20, "it signs again")
        self.check_failover(load)

    def test_a_token_that_hangs(self):
        # Long enough for what is to happen before it is over.
        self.hallmark.edit_config(lambda text: re.sub(r"^(sessions = .*)$", r"\1\nsign_timeout_ms = 20000", text, flags=re.MULTILINE))
        self.start_with_clones()
        with Load(self.hallmark) as load:
            load.wait_for_more()
            for pid in clones.pids_of(self.hallmark, FIRST):
                os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: "others of group hsm take over" in self.hallmark.log_text(), self.hallmark.log_text)
            load.wait_for_more()
            self.assertEqual(self.tokens()[FIRST].starts, 1, "nothing waited for a new process")
            wait_for(lambda: self.tokens()[FIRST].starts == 2, "it is replaced")
            self.wait_until_all_sign()
            before = self.signatures()
            wait_for(lambda: self.signatures()[FIRST] > before[FIRST] + 20, "it signs again")
        self.check_failover(load)

    def test_a_token_that_is_pulled(self):
        self.start_with_clones()
        with Load(self.hallmark) as load:
            load.wait_for_more()
            self.pull(FIRST)
            load.wait_for_more()
            self.assertRegex(self.hallmark.dkimctl("status").stdout, rf"{FIRST} +hsm +absent")
        self.check_failover(load)

    def test_a_token_whose_signatures_are_wrong(self):
        change_faults = self.use_faults("")
        self.start_with_clones()
        with Load(self.hallmark) as load:
            load.wait_for_more()
            change_faults("C_Sign * corrupt\n")
            wait_for(lambda: self.tokens()[FIRST].drained, "it is drained")
            load.wait_for_more()
            self.assertTrue(self.tokens()[FIRST].drained, "no test signature lets it back")
            change_faults("")
            self.wait_until_all_sign()
        self.check_failover(load)

    def test_a_fast_token_gets_more_than_a_slow_one(self):
        self.use_faults("C_Sign * delay 40\n")
        self.start_with_clones()
        before = self.signatures()
        with Load(self.hallmark, relays=8) as load:
            load.wait_for_more(300)
        slow, fast = (self.signatures()[name] - before[name] for name in NAMES)
        self.assertEqual(load.errors, [])
        self.assertGreater(fast, slow)
        self.assertGreater(slow, 0)


class TwoGroupsTest(GroupCase):
    """Two tokens that have different keys."""

    def setUp(self):
        super().setUp()
        self.hallmark.edit_config(lambda text: re.sub(r'^group = ".*"\n', "", text, flags=re.MULTILINE))

    def add_key(self, token, algorithm):
        admin = self.hallmark.admin()
        key = admin.GenerateKey(admin_pb2.GenerateKeyRequest(domain=DOMAIN, algorithm=algorithm, token=token))
        admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain=DOMAIN, selector=key.selector, unpublished=True))
        return key.selector

    def test_the_keys_that_are_left_sign(self):
        self.hallmark.start()
        self.wait_until_all_sign()
        self.hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name=DOMAIN))
        self.add_key(FIRST, RSA_2048)
        kept = self.add_key(SECOND, RSA_2048)
        self.add_key(FIRST, ED25519_KEY)
        answer = self.hallmark.sign(messages.MESSAGE)
        self.assertEqual((len(answer.signatures), len(answer.warnings)), (3, 0))
        self.pull(FIRST)
        answer = self.hallmark.sign(messages.MESSAGE, timeout=20)
        self.assertEqual([signature.selector for signature in answer.signatures], [kept])
        self.assertEqual([warning.code for warning in answer.warnings], ["FEWER_SIGNATURES"])
        self.assertEqual(metrics_test.scrape(self.hallmark)["hallmark_fewer_signatures_total"], 1)
        records = [record.signature.selector for record in ledger_files.records(self.hallmark.folder / "state/ledger")
                   if record.HasField("signature")]
        self.assertEqual(len(records), 4)
        self.assertEqual(records[-1], kept)

    def test_the_token_of_the_ledgers_key_does_not_serve(self):
        self.hallmark.edit_config(lambda text: text.replace(f'name = "{SECOND}"', f'name = "{SECOND}"\ngroup = "heads"') +
                                  '\n[ledger]\ntoken = "heads"\n')
        self.hallmark.start()
        self.wait_until_all_sign()
        self.hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name=DOMAIN))
        self.add_key(FIRST, RSA_2048)
        wait_for(self.hallmark.serving, "SERVING")
        self.pull(FIRST)
        wait_for(lambda: not self.hallmark.serving(), "relays hear NOT_SERVING, though the ledger's token is there")

    def test_ed25519_alone_is_not_enough_where_there_is_rsa(self):
        self.hallmark.start()
        self.wait_until_all_sign()
        self.hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name=DOMAIN))
        self.add_key(FIRST, RSA_2048)
        self.add_key(SECOND, ED25519_KEY)
        self.pull(FIRST)
        error = self.hallmark.call_error(self.hallmark.sign, messages.MESSAGE, timeout=20)
        self.assertEqual((error.code(), deployment.error_reason(error)), (grpc.StatusCode.UNAVAILABLE, "TOKEN_DOWN"))


class LostTokenTest(rotation_test.Case):
    """A token is gone for good, and a domain gets new keys in another."""

    def test_new_keys_in_another_token(self):
        self.hallmark.stop()
        clones.make_group(self.hallmark, "none", ("softhsm", "other"))
        self.hallmark.edit_config(lambda text: re.sub(r'^group = ".*"\n', "", text, flags=re.MULTILINE))
        self.hallmark.start()
        self.ctl("key", "policy", "set", "--publisher", "main", "--waive-backup", "a lost token means new keys")
        self.ctl("domain", "add", DOMAIN)
        self.ctl("key", "rotate", DOMAIN, "--compromised", "--now")  # there is nothing to revoke yet
        old = self.selectors(self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"]), "ACTIVE")

        home = self.hallmark.folder / "softhsm"
        (home / "softhsm").rename(home / "lost")
        (home / "softhsm").mkdir()
        for pid in clones.pids_of(self.hallmark, "softhsm"):
            os.kill(pid, signal.SIGKILL)
        error = self.hallmark.call_error(self.hallmark.sign, rotation_test.MESSAGE, timeout=20)
        self.assertEqual(deployment.error_reason(error), "TOKEN_DOWN")

        self.ctl("key", "policy", "set", DOMAIN, "--token", "other")
        self.hallmark.dkimctl("key", "rotate", DOMAIN, "--compromised", "--now", status=5)  # a second person only has the old keys revoked
        status = self.wait("rotated", lambda status: self.states(status) == ["ACTIVE", "ACTIVE", "RETIRING", "RETIRING"])
        self.assertEqual(self.selectors(status, "RETIRING"), old)
        self.assertEqual({key["key"]["token"] for key in status["keys"] if key["key"]["selector"] not in old}, {"other"})
        self.assert_verifies()


if __name__ == "__main__":
    unittest.main()
