"""Rotation as an operator sees it: dkimctl, signerd, a token, and a name server that takes updates."""

import base64
import re
import subprocess
import time
import unittest

import dns.message
import dns.query
import dns.rdatatype
import dns.tsigkeyring
import dns.update

import deployment
import knot
from tokend_test import change_rules
from waiting import wait_for

from hallmark.admin.v1 import rotation_pb2

SECRET = base64.b64encode(bytes(range(32))).decode()
MESSAGE = b"From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: keys\r\n\r\nHello\r\n"
WAIT_SECONDS = 60
BY_CACHES_SECONDS = 240  # a minute's TTL, and room


class Case(unittest.TestCase):
    RECORDS, ZONES = (), {}
    PUBLISHER = True
    FAULTS = False
    NEGATIVE_TTL = 60

    def setUp(self):
        self.dns = knot.Knot(self.RECORDS, zones=self.ZONES, tsig_secret=SECRET, negative_ttl=self.NEGATIVE_TTL)
        self.addCleanup(self.dns.close)
        self.hallmark = deployment.Deployment(start=False)
        self.addCleanup(self.hallmark.close)
        secret = self.hallmark.folder / "tsig"
        secret.touch(0o600)
        secret.write_text(SECRET + "\n")
        publisher = ('[[dns.publisher]]\nname = "main"\nserver = "127.0.0.1:%d"\nsecret_file = "tsig"\nkey = "hallmark"\n'
                     'algorithm = "hmac-sha256"\n' % self.dns.port) if self.PUBLISHER else ""
        self.hallmark.edit_config(lambda text: text + f'\n[dns]\nresolver = "127.0.0.1:{self.dns.port}"\n'
                                                      f"nameserver_port = {self.dns.port}\n{publisher}")
        if self.FAULTS:
            self.faults = self.hallmark.use_faulty_module("")
        self.hallmark.start()

    def ctl(self, *arguments, **options):
        return self.hallmark.dkimctl(*arguments, **options).stdout

    def status(self, domain="example.com"):
        return self.hallmark.dkimctl_json("key", "status", domain)

    def wait(self, what, condition, domain="example.com", seconds=WAIT_SECONDS):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.status(domain)
            if condition(status):
                return status
            time.sleep(0.2)
        self.fail(f"not {what}:\n{self.ctl('key', 'status', domain)}")

    def states(self, status):
        return sorted(key["key"]["state"].removeprefix("KEY_STATE_") for key in status["keys"])

    def selectors(self, status, state):
        return {key["key"]["selector"] for key in status["keys"] if key["key"]["state"] == "KEY_STATE_" + state}

    def txt(self, name):
        answer = dns.query.tcp(dns.message.make_query(name, "TXT"), "127.0.0.1", port=self.dns.port, timeout=5)
        return [b"".join(record.strings).decode() for rrset in answer.answer if rrset.rdtype == dns.rdatatype.TXT
                for record in rrset]

    def update(self, change):
        """A person edits the zone."""
        update = dns.update.Update(".", keyring=dns.tsigkeyring.from_text({"hallmark": SECRET}), keyalgorithm="hmac-sha256")
        change(update)
        self.assertEqual(dns.query.tcp(update, "127.0.0.1", port=self.dns.port, timeout=5).rcode(), 0)

    def emergency(self, domain="example.com"):
        """With --compromised no cache is waited for: a whole rotation in seconds."""
        return self.hallmark.dkimctl("key", "rotate", domain, "--compromised", "--now", status=None)

    def assert_verifies(self, count=2, domain="example.com"):
        """Returns the selectors."""
        message = MESSAGE.replace(b"ann@example.com", b"ann@" + domain.encode())
        answer = self.hallmark.sign(message)
        self.assertEqual(len(answer.signatures), count)
        path = self.hallmark.folder / "signed.eml"
        path.write_bytes(b"".join(signature.header_field for signature in answer.signatures) + message)
        self.ctl("verify", path, "--nameserver", f"127.0.0.1:{self.dns.port}")
        return {signature.selector for signature in answer.signatures}


class ByUpdate(Case):
    def begin(self):
        self.ctl("key", "policy", "set", "--publisher", "main", "--waive-backup", "a lost token means new keys")
        self.ctl("domain", "add", "example.com")
        self.assertEqual(self.emergency().returncode, 0)  # there is nothing to revoke yet
        return self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"])

    def test_from_nothing_to_revoked_without_a_file_edited(self):
        first = self.selectors(self.begin(), "ACTIVE")
        self.assert_verifies()
        for selector in first:
            self.assertRegex(selector, r"^20\d{6}[re][a-z2-9]{4}$")
            self.assertRegex(self.txt(f"{selector}._domainkey.example.com")[0], "^v=DKIM1; k=(rsa|ed25519); p=.")

        waiting = self.emergency()
        self.assertEqual(waiting.returncode, 5, waiting.stderr)
        status = self.wait("rotated", lambda status: self.states(status) == ["ACTIVE", "ACTIVE", "RETIRING", "RETIRING"])
        self.assertEqual(self.selectors(status, "RETIRING"), first)
        self.assert_verifies()
        # The old keys still verify; only the second officer has them revoked.
        number = re.search(r"dkimctl approvals approve (\d+)", waiting.stderr).group(1)
        # Asked for again it is the same request, and no other rotation.
        again = self.emergency()
        self.assertEqual(again.returncode, 5, again.stderr)
        self.assertIn(f"dkimctl approvals approve {number}", again.stderr)
        self.assertRegex(self.ctl("key", "rotate", "example.com", "--compromised", "--dry-run"), "where .* wait .* it begins nothing")
        self.assertFalse(self.status()["under_way"])
        self.assertEqual(self.selectors(self.status(), "ACTIVE"), self.selectors(status, "ACTIVE"))
        self.hallmark.as_officer2()
        self.ctl("approvals", "approve", number, "--yes", "--as", "officer2")
        self.wait("revoked", lambda status: self.selectors(status, "REVOKED") == first)
        for selector in first:
            self.assertRegex(self.txt(f"{selector}._domainkey.example.com")[0], "p=$")
        self.assert_verifies()
        history = self.ctl("key", "history", "example.com", min(first))
        for step in ("GENERATED -> PUBLISHED", "READY -> ACTIVE", "RETIRING -> REVOKED"):
            self.assertIn(step, history)

    def test_an_ordinary_rotation_waits_for_caches_and_says_so(self):
        first = self.selectors(self.begin(), "ACTIVE")
        would = self.ctl("key", "rotate", "example.com", "--dry-run")
        self.assertIn("would make new keys (rsa2048 and ed25519) for example.com", would)
        self.assertFalse(self.status()["under_way"])
        for words in ((), ("--compromised",)):
            self.hallmark.dkimctl("key", "rotate", "example.com", *words, status=1, input="")  # nobody to ask
        self.assertFalse(self.status()["compromised"])
        self.ctl("key", "rotate", "example.com", "--now")
        seen = self.wait("seen", lambda status: all("visible_since" in key for key in status["keys"]
                                                    if key["key"]["state"] == "KEY_STATE_PUBLISHED")
                         and len(self.selectors(status, "PUBLISHED")) == 2)
        self.assertIn("TTL 3600 s, negative TTL 60 s, propagation 3600 s", seen["waits_for"])
        self.assertEqual(self.selectors(seen, "ACTIVE"), first)
        text = self.ctl("key", "status", "example.com")
        self.assertIn("a rotation is under way", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)
        for word in ("--now", "--dry-run"):
            self.assertIn("STATE_CONFLICT", self.hallmark.dkimctl("key", "rotate", "example.com", word, status=1).stderr)

        # Paused, nothing goes on; given up, the records go.
        self.ctl("key", "pause", "example.com", "--reason", "the zone moves")
        self.assertIn("the zone moves", self.status()["pause_reason"])
        for word in ("--now", "--dry-run"):
            refused = self.hallmark.dkimctl("key", "rotate", "example.com", "--compromised", word, status=1).stderr
            self.assertIn("is paused (the zone moves, by admin)", refused)
        self.ctl("key", "rollback", "example.com", "--yes")
        self.ctl("key", "resume", "example.com")
        gone = self.wait("withdrawn", lambda status: len(self.selectors(status, "WITHDRAWN")) == 2)
        for selector in self.selectors(gone, "WITHDRAWN"):
            self.assertEqual(self.txt(f"{selector}._domainkey.example.com"), [])
        self.assertEqual(self.selectors(gone, "ACTIVE"), first)
        self.assert_verifies()

    def test_does_not_roll_back_to_keys_that_are_compromised(self):
        first = self.selectors(self.begin(), "ACTIVE")
        self.ctl("key", "rotate", "example.com", "--now")
        # The second --compromised only hurries it, once no step is under way; the approval is never given.
        wait_for(lambda: self.emergency().returncode == 5, "the rotation is hurried")
        status = self.wait("rotated", lambda status: self.selectors(status, "RETIRING") == first)
        refused = self.hallmark.dkimctl("key", "rollback", "example.com", "--yes", status=1)
        self.assertIn("compromised", refused.stderr)
        self.assertNotEqual(self.selectors(status, "ACTIVE"), first)

    def test_a_zone_that_cannot_be_updated_is_named(self):
        self.ctl("key", "policy", "set", "--publisher", "main")
        self.ctl("domain", "add", "example.com")
        self.dns.close()
        self.ctl("key", "rotate", "example.com", "--now")
        status = self.wait("in trouble", lambda status: status["trouble"])
        self.assertIn("127.0.0.1", status["trouble"])
        self.assertEqual(self.states(status), ["GENERATED", "GENERATED"])
        self.assertIn("trouble", self.ctl("key", "status"))

    def test_policies(self):
        self.ctl("domain", "add", "example.com")
        self.assertTrue(self.hallmark.dkimctl_json("key", "policy", "show", "example.com")["inherited"])
        self.ctl("key", "policy", "set", "example.com", "--lifetime", "30d", "--algorithms", "rsa3072")
        policy = self.hallmark.dkimctl_json("key", "policy", "show", "example.com")
        self.assertEqual((policy["lifetime_seconds"], policy["algorithms"]), ("2592000", ["KEY_ALGORITHM_RSA_3072"]))
        self.assertFalse(policy["inherited"])
        self.ctl("key", "policy", "set", "example.com", "--waive-backup", "made again in an hour")
        self.assertEqual(self.hallmark.dkimctl_json("key", "policy", "show", "example.com")["backup_waived_by"], "admin")
        for arguments, says in ((("--retire", "6d"), "retire_seconds"), (("--publisher", "none"), "NOT_FOUND"),
                                (("--algorithms", "ed25519"), "RSA key is needed"), (("--selector", "{date}"), "selector"),
                                (("--token", "other"), "NOT_FOUND")):
            refused = self.hallmark.dkimctl("key", "policy", "set", "example.com", *arguments, status=1).stderr
            self.assertIn(says, refused)
            if "NOT_FOUND" not in says:  # what signerd alone knows
                dry = self.hallmark.dkimctl("key", "policy", "set", "example.com", *arguments, "--dry-run", status=1).stderr
                self.assertEqual(dry, refused)
        self.hallmark.dkimctl("key", "policy", "set", "example.com", "--lifetime", "soon", status=2)
        self.ctl("key", "policy", "set", "example.com", "--inherit")
        self.assertTrue(self.hallmark.dkimctl_json("key", "policy", "show", "example.com")["inherited"])

    def test_a_policy_that_was_changed_meanwhile_is_not_put_back(self):
        self.ctl("domain", "add", "example.com")
        rotation = self.hallmark.officer().rotation()
        mine = rotation.GetRotationPolicy(rotation_pb2.GetRotationPolicyRequest(domain="example.com"))
        self.ctl("key", "policy", "set", "example.com", "--lifetime", "30d")
        mine.domain, mine.on_demand = "example.com", True
        for inherit in (False, True):
            error = self.hallmark.call_error(rotation.SetRotationPolicy, rotation_pb2.SetRotationPolicyRequest(policy=mine, inherit=inherit))
            self.assertEqual(deployment.error_reason(error), "STATE_CONFLICT")
        now = rotation.GetRotationPolicy(rotation_pb2.GetRotationPolicyRequest(domain="example.com"))
        self.assertEqual((now.lifetime_seconds, now.on_demand), (30 * 86400, False))
        now.on_demand = True
        self.assertTrue(rotation.SetRotationPolicy(rotation_pb2.SetRotationPolicyRequest(policy=now)).on_demand)

    def test_a_key_is_activated_by_hand_only_when_dns_has_it(self):
        self.ctl("domain", "add", "example.com")
        key = self.hallmark.dkimctl_json("key", "generate", "example.com", "--algorithm", "ed25519")
        refused = self.hallmark.dkimctl("key", "activate", "example.com", key["selector"], status=1)
        self.assertIn("RECORD_NOT_VISIBLE", refused.stderr)
        record = self.hallmark.dkimctl_json("dns", "show", "example.com")["records"][0]
        self.update(lambda update: update.add(record["name"] + ".", 60, "TXT", '"' + record["value"] + '"'))
        self.ctl("key", "activate", "example.com", key["selector"])
        self.assert_verifies(count=1)


class ByCaches(Case):
    """Ordinary rotations, which wait for caches: for as short as a policy may have it."""

    NEGATIVE_TTL = 1

    def import_key(self):
        """Another signer's key of example.com, in DNS and active; its selector is "old"."""
        file = self.hallmark.folder / "old.pem"
        subprocess.run(["openssl", "genrsa", "-out", file, "2048"], check=True, capture_output=True)
        self.ctl("import", "pem", file, "--domain", "example.com", "--selector", "old")
        [record] = self.hallmark.dkimctl_json("dns", "show", "example.com")["records"]
        text = " ".join(f'"{record["value"][at:at + 255]}"' for at in range(0, len(record["value"]), 255))
        self.update(lambda update: update.add(record["name"] + ".", 60, "TXT", text))
        self.ctl("key", "activate", "example.com", "old")
        self.assertEqual(self.assert_verifies(count=1), {"old"})

    def roll_back(self, domain, to):
        replaced = self.selectors(self.status(domain), "ACTIVE")
        self.assertIn(domain, self.ctl("key", "rollback", domain, "--yes"))
        status = self.status(domain)
        self.assertEqual((self.selectors(status, "ACTIVE"), self.selectors(status, "RETIRING")), (to, replaced))
        self.assertTrue(status["paused"])
        self.assertEqual(self.assert_verifies(len(to), domain), to)
        for selector in to:
            self.assertIn("RETIRING -> ACTIVE", self.ctl("key", "history", domain, selector))

    def test_replaces_an_imported_key_and_comes_back_to_keys_that_retire(self):
        self.ctl("key", "policy", "set", "--publisher", "main", "--record-ttl", "1m", "--propagation", "1s", "--waive-backup", "new ones")
        self.ctl("domain", "add", "example.com")
        self.ctl("domain", "add", "example.net")
        self.assertEqual(self.emergency("example.net").returncode, 0)  # there is nothing to revoke yet
        active = self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"], "example.net")
        first = self.selectors(active, "ACTIVE")
        self.ctl("key", "rotate", "example.net", "--now")
        self.import_key()  # it was outside of a token, so its successors are made at once

        status = self.wait("replaced", lambda status: self.selectors(status, "RETIRING") == {"old"}, seconds=BY_CACHES_SECONDS)
        self.assertEqual(self.assert_verifies(), self.selectors(status, "ACTIVE"))
        self.assertIn("ACTIVE -> RETIRING", self.ctl("key", "history", "example.com", "old"))
        self.roll_back("example.com", {"old"})

        status = self.wait("rotated", lambda status: self.selectors(status, "RETIRING") == first, "example.net", BY_CACHES_SECONDS)
        self.assertEqual(self.assert_verifies(domain="example.net"), self.selectors(status, "ACTIVE"))
        self.roll_back("example.net", first)


class Killed(Case):
    """signerd ends in the middle of each step that a rotation announces."""

    FAULTS = True

    def events(self):
        return self.hallmark.officer().rotation().ListKeyEvents(rotation_pb2.ListKeyEventsRequest(domain="example.com")).events

    def kill_at(self, step):
        """As soon as the history has the step as planned, and not as done."""
        planned = lambda: [event for event in self.events() if event.to == step and not event.HasField("done_time")]
        event = wait_for(planned, lambda: f"{step} is planned\n{self.ctl('key', 'history', 'example.com')}")[0]
        self.hallmark.kill()
        return event.selector

    def test_in_every_step(self):
        self.ctl("key", "policy", "set", "--publisher", "main")
        self.ctl("domain", "add", "example.com")
        change_rules(self.faults, "C_GenerateKeyPair * delay 2000\n")
        self.emergency()
        self.kill_at("GENERATED")
        change_rules(self.faults, "")
        self.dns.pause()
        self.hallmark.start()
        self.kill_at("PUBLISHED")
        change_rules(self.faults, "C_Sign * delay 3000\n")
        self.dns.go_on()
        self.hallmark.start()
        self.kill_at("ACTIVE")
        change_rules(self.faults, "")
        self.hallmark.start()
        status = self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"])
        self.assertFalse(status["under_way"])
        first = self.selectors(status, "ACTIVE")
        self.assertEqual(self.assert_verifies(), first)

        waiting = self.emergency()
        number = re.search(r"dkimctl approvals approve (\d+)", waiting.stderr).group(1)
        self.wait("rotated", lambda status: self.selectors(status, "RETIRING") == first)
        self.hallmark.as_officer2()
        self.dns.pause()
        self.ctl("approvals", "approve", number, "--yes", "--as", "officer2")
        self.kill_at("REVOKED")
        self.dns.go_on()
        self.hallmark.start()
        self.wait("revoked", lambda status: self.selectors(status, "REVOKED") == first)
        self.assert_verifies()
        # What was begun was done, and once.
        events = [event for event in self.events() if event.axis == "key"]
        self.assertEqual([event for event in events if not event.HasField("done_time")], [])
        for selector in first:
            made = [event.to for event in events if event.selector == selector and event.to != "PLANNED_ANEW"]
            self.assertEqual(sorted(made), sorted(["GENERATED", "PUBLISHED", "READY", "ACTIVE", "RETIRING", "REVOKED"]))


class ByHand(Case):
    PUBLISHER = False

    def test_says_what_to_add_and_waits_until_it_sees_it(self):
        self.ctl("domain", "add", "example.com")
        self.ctl("key", "rotate", "example.com", "--compromised", "--now")
        self.wait("published", lambda status: self.states(status) == ["PUBLISHED", "PUBLISHED"] and status["trouble"])
        text = self.ctl("key", "status", "example.com")
        lines = [line for line in text.splitlines() if " IN TXT " in line]
        self.assertEqual(len(lines), 2, text)
        for line in lines:
            name, ttl, _, _, value = line.split(" ", 4)
            self.update(lambda update: update.add(name, int(ttl), "TXT", value))
        self.hallmark.dkimctl("key", "status", "example.com", "--watch")
        status = self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"])
        self.assertEqual({server["says"] for key in status["keys"] for server in key["servers"]}, {"expected"})
        self.assert_verifies()


if __name__ == "__main__":
    unittest.main()
