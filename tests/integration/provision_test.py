"""A box's configuration: packed and signed by an operator, taken from a stick, over the network, or typed at the console; and what is
not taken."""

import hashlib
import json
import os
import re
import select
import signal
import stat
import subprocess
import time
import unittest

import box
from deployment import Deployment
from waiting import wait_for


class ProvisionCase(unittest.TestCase):
    def setUp(self):
        self.box = box.Box(self)
        self.operator = self.box.operator

    def check_set_up(self):
        config, state = self.box.config, self.box.state
        text = (config / "hallmark.toml").read_text()
        self.assertIn('module = "/usr/lib/softhsm/libsofthsm2.so"', text)
        self.assertIn("[[initial_domain]]", text)
        self.assertEqual(stat.S_IMODE((config / "tls/server.key").stat().st_mode), 0o640)
        self.assertEqual(stat.S_IMODE(state.stat().st_mode), 0o700)
        self.assertEqual((config / "pin.cred").read_text(), "sealed pin\n")
        self.assertTrue(list((state / "softhsm").iterdir()), "there is a token")
        self.assertFalse((self.box.root / "run/hallmark/secrets").exists(), "no PIN is left")
        self.assertFalse((state / "set-up-unfinished").exists())
        self.assertEqual((self.box.root / "run/hallmark/time/hallmark.sources").read_text(), "server ntp.example.com iburst\n")
        network = (self.box.root / "run/systemd/network/70-hallmark.network").read_text()
        self.assertIn("Address=192.0.2.10/24\nGateway=192.0.2.1\n", network)

    def check_not_set_up(self):
        self.assertFalse(self.box.config.exists())
        self.assertFalse(self.box.state.exists())


class StickTest(ProvisionCase):
    def test_owner_signed(self):
        self.box.owned_by(self.operator.signer)
        self.box.start()
        self.box.wait_says("not set up yet")
        self.box.put_in(self.operator.pack())
        self.box.wait_set_up()
        self.check_set_up()
        made = self.box.folder / "server.pem"
        made.write_bytes((self.box.stick / "server.pem").read_bytes())
        fingerprint = self.operator.fingerprint(made.with_suffix(""))
        self.assertIn("hallmark: " + fingerprint, self.box.says())
        names = subprocess.run(["openssl", "x509", "-in", made, "-noout", "-ext", "subjectAltName"], check=True, capture_output=True, text=True)
        self.assertIn("DNS:signer1.example.com, IP Address:127.0.0.1", names.stdout)
        token = sorted((self.box.state / "softhsm").rglob("*"))
        self.assertNotIn("hallmark:", self.box.boot(), "a second start says and does nothing")
        self.assertEqual(sorted((self.box.state / "softhsm").rglob("*")), token)

    def test_power_cut_before_the_certificate_was_on_the_stick(self):
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        (self.box.stick / "server.pem").mkdir()  # cannot be written
        self.box.start()
        self.box.wait_set_up()
        self.assertIn("nothing was written on the stick", self.box.says())
        (self.box.stick / "server.pem").rmdir()
        said = self.box.boot()
        self.assertIn("hallmark: set up. Its certificate has the SHA-256 fingerprint", said)
        self.assertEqual((self.box.stick / "server.pem").read_bytes(), (self.box.config / "tls/server.pem").read_bytes())
        self.assertNotIn("hallmark:", self.box.boot())

    def test_another_signer_is_refused_by_an_owned_box(self):
        self.box.owned_by(self.operator.signer)
        self.box.start()
        self.box.put_in(self.operator.pack(signer=self.operator.make_signer("mallory")))
        self.box.wait_says("who is not under this box's owner's CA")
        self.check_not_set_up()
        self.box.type("setup")  # nor may anybody type one in
        self.box.put_in(self.operator.pack())
        self.box.wait_set_up()
        self.assertNotIn("set-up at the console", self.box.says())

    def test_first_use_wants_a_person(self):
        self.box.put_in(self.operator.pack())
        self.box.start()
        fingerprint = self.operator.fingerprint()
        self.box.wait_says("SHA-256 " + fingerprint)
        self.box.type("00000000")
        self.box.wait_says("these are not the first digits")
        self.check_not_set_up()
        self.box.type(fingerprint.replace(":", "")[:8].lower())
        self.box.wait_set_up()
        self.check_set_up()

    def test_recovery_key(self):
        self.operator.write(1, lambda text: text.replace('"tls/relay-ca.pem"', '"recipients.pem", "tls/relay-ca.pem"'))
        (self.operator.source / "recipients.pem").write_bytes((self.operator.folder / "alice.pem").read_bytes())
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.box.wait_set_up()
        self.assertEqual((self.box.stick / "recovery.cms").read_text(), "recovery key\n")

    def test_restore(self):
        """A backup of another box is where this one begins; only the one that the signed configuration names."""
        key = self.operator.folder / "backup"
        self.operator.make_certificate(key, f"{key}.pem")
        with Deployment(start=False) as old:
            old.edit_config(lambda text: text + f'\n[backup]\nrecipients = ["{key}.pem"]\n')
            old.start()
            old.add_domain("example.org")
            wait_for(lambda: old.dkimctl("ledger", "checkpoint", status=None).returncode == 0, "there is a checkpoint")
            old.dkimctl("backup", "create", str(self.operator.folder / "old.backup"))
            backup = (self.operator.folder / "old.backup").read_bytes()
        sha256 = hashlib.sha256(backup).hexdigest()
        self.operator.write(1, lambda text: text + f'\n[restore]\nsha256 = "{sha256}"\n')
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        (self.box.stick / "restore.backup").write_bytes(backup + b"x")
        (self.box.stick / "restore.key").write_bytes(key.with_suffix(".key").read_bytes())
        self.box.start()
        self.box.wait_says("is not the one of the configuration")
        self.check_not_set_up()
        (self.box.stick / "restore.backup").write_bytes(backup)
        self.box.type("")  # look again
        self.box.wait_set_up()
        self.check_set_up()
        self.assertTrue((self.box.state / "hallmark.db").exists())
        self.assertTrue((self.box.state / "new-ledger-key").exists(), "the checkpoints get a key of the new token")

    def test_power_cuts(self):
        """Killed at any instant, it is not set up, or it is; the next start makes it so."""
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        for cut in range(16):
            self.box.start()
            time.sleep(0.06 * cut)  # instants, not a wait
            self.box.process.send_signal(signal.SIGKILL)
            self.box.process.wait()
            if self.box.config.exists():
                for needed in ("hallmark.toml", "pin.cred", "so-pin.cred", "tls/server.key", "box/configuration.toml"):
                    self.assertTrue((self.box.config / needed).exists(), needed)
                self.assertTrue(list((self.box.state / "softhsm").iterdir()))
        self.box.start()
        self.assertEqual(self.box.process.wait(60), 0, self.box.says())
        self.check_set_up()

    def test_foreign_state_is_not_touched(self):
        self.box.state.mkdir()
        (self.box.state / "hallmark.db").write_text("of another box")
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.assertEqual(self.box.process.wait(60), 1)
        self.assertIn("holds the state of a box", self.box.says())
        self.assertEqual((self.box.state / "hallmark.db").read_text(), "of another box")

    def test_seal_fails(self):
        self.box.script(self.box.root / "usr/libexec/hallmark/seal-pins", "echo no TPM 2.0 here >&2; exit 1")
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.assertEqual(self.box.process.wait(60), 1)
        self.assertIn("no TPM 2.0 here", self.box.says())
        self.check_not_set_up()
        self.assertFalse((self.box.root / "run/hallmark/secrets").exists())


class LaterTest(ProvisionCase):
    def setUp(self):
        super().setUp()
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.box.wait_says("SHA-256")
        self.box.type(self.operator.fingerprint().replace(":", "")[:8])
        self.box.wait_set_up()
        self.key = (self.box.config / "tls/server.key").read_bytes()

    def change(self, revision, signer=None):
        self.operator.write(revision, lambda text: text.replace("192.0.2.10/24", "192.0.2.77/24"))
        self.box.put_in(self.operator.pack(signer=signer))
        return self.box.boot()

    def network(self):
        return (self.box.root / "run/systemd/network/70-hallmark.network").read_text()

    def test_higher_revision(self):
        self.assertIn("revision 2 of the configuration was taken", self.change(2))
        self.assertIn("192.0.2.77/24", self.network())
        self.assertEqual((self.box.config / "tls/server.key").read_bytes(), self.key)
        self.assertEqual((self.box.config / "pin.cred").read_text(), "sealed pin\n")
        self.assertIn("its revision is 1, and this box has 2 already", self.change(1))

    def test_same_revision_or_another_signer(self):
        self.assertIn("its revision is 1, and this box has 1 already", self.change(1))
        said = self.change(2, self.operator.make_signer("mallory"))
        self.assertIn("this box takes configurations signed by CN = alice only", said)
        self.assertIn("192.0.2.10/24", self.network())

    def test_names_change(self):
        self.operator.write(2, lambda text: text.replace("DNS:signer1", "DNS:signer2"))
        before = (self.box.stick / "server.pem").read_bytes()
        self.box.put_in(self.operator.pack())
        self.assertIn("its new certificate has the SHA-256 fingerprint", self.box.boot())
        self.assertNotEqual((self.box.stick / "server.pem").read_bytes(), before)


class PushTest(ProvisionCase):
    def setUp(self):
        super().setUp()
        self.box.start("127.0.0.1:0")
        self.box.wait_says("one-time code")
        wait_for(lambda: "fingerprint   " in self.box.says(), "the console shows the fingerprint")
        said = self.box.says()
        self.port = re.search(r"--box ADDRESS:(\d+)", said)[1]
        self.fingerprint = re.search(r"fingerprint   (\S+)", said)[1]

    def code(self):
        return re.findall(r"one-time code (?:is now )?(\S+)", self.box.says())[-1]

    def push(self, code, fingerprint=None, status=0):
        return box.run("push", self.operator.folder / "box.hallmark", "--box", f"127.0.0.1:{self.port}", "--fingerprint",
                       fingerprint or self.fingerprint, "--out", self.box.folder / "pushed.pem", input=code + "\n", status=status)

    def test_push(self):
        self.operator.pack()
        self.assertIn("the code is not the one", self.push("AAAA-BBBB-CCCC-DDDD", status=1).stderr)
        self.assertIn("what answers there is not that box", self.push(self.code(), "00:" * 31 + "00", status=1).stderr)
        self.check_not_set_up()
        self.push(self.code().lower(), self.fingerprint[:47])
        self.box.wait_set_up()
        self.check_set_up()
        self.assertEqual((self.box.folder / "pushed.pem").read_bytes(), (self.box.config / "tls/server.pem").read_bytes())
        self.assertIn("cannot be reached", self.push(self.code(), status=1).stderr, "it is closed for good")

    def test_the_code_is_for_eyes_only(self):
        """On a terminal it does not go where the rest goes, which a log keeps."""
        self.box.stop()
        person, terminal = os.openpty()
        self.addCleanup(os.close, person)
        self.addCleanup(os.close, terminal)
        self.box.keyboard = os.ttyname(terminal)
        self.box.start("127.0.0.1:0")
        seen = b""
        while not re.search(rb"one-time code ([A-Z2-9]{4}-){3}[A-Z2-9]{4}\r", seen):
            self.assertTrue(select.select([person], [], [], 60)[0], "the terminal shows the code")
            seen += os.read(person, 4096)
        self.box.wait_says("fingerprint   ")
        self.assertNotIn("one-time code", self.box.says())

    def test_five_wrong_codes(self):
        self.operator.pack()
        first = self.code()
        for _ in range(5):
            self.push("AAAA-BBBB-CCCC-DDDD", status=1)
        self.box.wait_says("the one-time code is now")
        self.assertNotEqual(self.code(), first)
        self.push(first, status=1)
        self.push(self.code())
        self.box.wait_set_up()

    def test_refused_configuration(self):
        """The pusher hears why, and may try again with the same code."""
        self.operator.pack()
        self.box.owned_by(self.operator.make_signer("owner"))
        self.assertIn("the box refused", self.push(self.code(), status=1).stderr)
        self.operator.pack(signer=self.operator.folder / "owner")
        self.push(self.code())
        self.box.wait_set_up()


class ConsoleTest(ProvisionCase):
    def test_wizard(self):
        self.box.start()
        self.box.wait_says("or type setup here")
        self.box.type("setup")
        answers = [("the box's name", "Signer 1"), ("will not do", "signer1.example.com"), ("its address", "192.0.2.10/24"),
                   ("its gateway", "192.0.2.1"), ("its name servers", "192.0.2.53 2001:db8::53"), ("the domains", "example.com"),
                   ("security officers", "uri:example:operator:alice uri:example:operator:bob"), ("the first relay", "dns:relay1.example.com")]
        for question, answer in answers:
            self.box.wait_says(question)
            self.box.type(answer)
        for whose, name in (("the relays", "relay-ca"), ("the operators", "admin-ca")):
            self.box.wait_says(f"CA certificate of {whose}")
            self.box.type((self.operator.source / f"tls/{name}.pem").read_text())
        self.box.wait_says("yes or cancel")
        self.box.type("yes")
        self.box.wait_set_up()
        text = (self.box.config / "hallmark.toml").read_text()
        self.assertIn('first_officers = ["uri:example:operator:alice", "uri:example:operator:bob"]', text)
        self.assertIn("DNS=2001:db8::53\n", (self.box.root / "run/systemd/network/70-hallmark.network").read_text())
        self.operator.write(2)
        self.box.put_in(self.operator.pack())
        self.assertIn("set up at its console, and takes no other configuration", self.box.boot())


class PackTest(ProvisionCase):
    def test_show(self):
        packed = self.operator.pack()
        shown = json.loads(box.run("show", packed, "--output", "json").stdout)
        self.assertEqual(shown["host_name"], "signer1.example.com")
        self.assertEqual(shown["signer"]["fingerprint"], self.operator.fingerprint())
        content = subprocess.run(["openssl", "cms", "-verify", "-noverify", "-inform", "DER", "-in", packed], check=True, capture_output=True)
        self.assertTrue(content.stdout.startswith((self.operator.source / "box.toml").read_bytes()))

    def test_mistakes_name_file_and_line(self):
        with self.subTest("box.toml"):
            self.operator.write(1, lambda text: text.replace("192.0.2.1\"]", "192.0.2.1/24\"]").replace("format = 1", "format = 1\nfoo = 1"))
            said = self.operator.pack(status=1).stderr
            self.assertRegex(said, r"signer1/box.toml:2: foo: unknown key")
            self.assertRegex(said, r'signer1/box.toml:11: network.gateways: found "192.0.2.1/24"; expected addresses')
        self.operator.write(1)
        hallmark, policy = self.operator.source / "hallmark.toml", self.operator.source / "policy.toml"
        good = hallmark.read_text()
        with self.subTest("hallmark.toml, by signerd itself"):
            hallmark.write_text(good.replace("0.0.0.0:8462", "nowhere"))
            self.assertRegex(self.operator.pack(status=1).stderr, r'signer1/hallmark.toml:9: admin.listen: found "nowhere"')
        with self.subTest("what is the box's"):
            hallmark.write_text(good + '\n[[token]]\nname = "mine"\n')
            self.assertIn("token: found in a box's configuration", self.operator.pack(status=1).stderr)
        hallmark.write_text(good)
        with self.subTest("policy.toml"):
            policy.write_text("[[partner]]\nnme = 1\n")
            self.assertRegex(self.operator.pack(status=1).stderr, r"signer1/policy.toml:\d+: ")

    def test_private_keys_stay_at_home(self):
        (self.operator.source / "policy.toml").write_bytes((self.operator.folder / "alice.key").read_bytes())
        self.assertIn("policy.toml: holds a private key", self.operator.pack(status=1).stderr)

    def test_dry_run_writes_nothing(self):
        signer, out = self.operator.signer, self.operator.folder / "box.hallmark"
        box.run("pack", "--config", self.operator.source / "box.toml", "--sign-key", f"{signer}.key", "--sign-certificate", f"{signer}.pem",
                "--out", out, "--dry-run")
        self.assertFalse(out.exists())

    def sign_with_openssl(self, *arguments):
        """Around the same text; openssl signs what pack would not."""
        text, made = self.operator.folder / "text", self.operator.folder / "made"
        box.openssl("cms", "-verify", "-noverify", "-inform", "DER", "-in", self.operator.pack(), "-out", text)
        box.openssl("cms", "-sign", "-nodetach", "-binary", "-outform", "DER", "-in", text, "-out", made, *arguments)
        return made

    def test_expired_signer(self):
        old = self.operator.folder / "old"
        box.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=old", "-keyout", f"{old}.key", "-out",
                    f"{old}.csr")
        box.openssl("x509", "-req", "-in", f"{old}.csr", "-signkey", f"{old}.key", "-days", "0", "-out", f"{old}.pem")
        made = self.sign_with_openssl("-signer", f"{old}.pem", "-inkey", f"{old}.key")
        wait_for(lambda: subprocess.run([box.PROGRAM, "show", made], capture_output=True, check=False).returncode == 1, "the certificate expires")
        self.assertIn("is not valid any more", box.run("show", made, status=1).stderr)
        self.assertIn("is not valid any more", self.operator.pack(signer=old, status=1).stderr)

    def test_not_exactly_one_signer(self):
        alice, bob = self.operator.signer, self.operator.make_signer("bob")
        one = ["-signer", f"{alice}.pem", "-inkey", f"{alice}.key"]
        self.assertIn("signed by: CN = alice", box.run("show", self.sign_with_openssl(*one)).stdout)
        two = self.sign_with_openssl(*one, "-signer", f"{bob}.pem", "-inkey", f"{bob}.key")
        self.assertIn("has not exactly one signer", box.run("show", two, status=1).stderr)
        self.assertIn("the signature is not good", box.run("show", self.sign_with_openssl(*one, "-nocerts"), status=1).stderr)

    def test_changed_files_are_refused(self):
        octets = self.operator.pack().read_bytes()
        bad = self.operator.folder / "bad"
        for what, changed in (("a changed letter", octets.replace(b"192.0.2.10", b"192.0.2.99")), ("more at the end", octets + b"\0"),
                              ("less", octets[:-1]), ("nothing", b""), ("no CMS", b"box.toml"),
                              ("another signer's certificate", octets[:-40] + bytes(40))):
            with self.subTest(what):
                bad.write_bytes(changed)
                self.assertTrue(box.run("show", bad, status=1).stderr.startswith("hallmark-provision: "))


class FirstKeysTest(unittest.TestCase):
    """What signerd makes of the domains that the box adds to hallmark.toml."""

    def test_first_keys(self):
        with Deployment(start=False) as hallmark:
            hallmark.edit_config(lambda text: text + '\n[dns]\nresolver = "127.0.0.1:9"\n\n[[initial_domain]]\nname = "example.com"\n'
                                 '\n[[initial_domain]]\nname = "example.net"\nalgorithms = ["ed25519"]\n')
            hallmark.start()
            file = hallmark.folder / "state/dns-records"
            wait_for(file.exists, "the DNS records of the first keys")
            records = file.read_text().splitlines()
            self.assertEqual(len(records), 3, records)
            for record in records:
                self.assertRegex(record, r'^\S+\._domainkey\.example\.(com|net)\. 3600 IN TXT "v=DKIM1; k=(rsa|ed25519); p=')
            self.assertEqual([record for record in records if "example.net" in record and "k=ed25519" not in record], [])
            selectors = {record.split(".")[0] for record in records}
            self.assertEqual(self.selectors(hallmark), selectors)
            hallmark.stop()
            hallmark.start()
            # Waits its turn behind what the start asked for.
            hallmark.dkimctl("key", "pause", "example.com", "--reason", "a while")
            self.assertEqual(self.selectors(hallmark), selectors, "a second start makes no more")

    def test_first_rotation_policy(self):
        """For a token that does not make the usual keys; what an operator sets later stays."""
        with Deployment(start=False) as hallmark:
            hallmark.edit_config(lambda text: text + '\n[initial_rotation]\nalgorithms = ["rsa2048"]\non_demand = true\n')
            hallmark.start()
            policy = json.loads(hallmark.dkimctl("key", "policy", "show", "--output", "json").stdout)
            self.assertEqual((policy["algorithms"], policy["on_demand"]), (["KEY_ALGORITHM_RSA_2048"], True))
            hallmark.dkimctl("key", "policy", "set", "--algorithms", "rsa3072")
            hallmark.stop()
            hallmark.start()
            self.assertIn("rsa3072", hallmark.dkimctl("key", "policy", "show").stdout.lower())

    @staticmethod
    def selectors(hallmark):
        return {line.split()[1] for line in hallmark.dkimctl("key", "list").stdout.splitlines()[1:]}


if __name__ == "__main__":
    unittest.main()
