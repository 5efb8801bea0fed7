"""A box's configuration: packed and signed by an operator, taken from a stick; later ones; and what is not taken."""

import base64
import datetime
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time
import unittest

import box
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from deployment import Deployment, die_with_parent
from waiting import wait_for

SECRET = base64.b64encode(bytes(range(32))).decode()
FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


class Clock:
    """The box's clock: a year behind at first, and set while it runs, as by a time server."""

    def __init__(self, device):
        self.file = device.folder / "clock"
        self.tell("-365d")
        device.environment.update(LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=str(self.file), FAKETIME_NO_CACHE="1",
                                  FAKETIME_DONT_FAKE_MONOTONIC="1")

    def tell(self, offset):
        new = self.file.with_suffix(".new")
        new.write_text(offset)
        new.replace(self.file)


def days(number):
    return datetime.datetime.utcnow() + datetime.timedelta(days=number)


def make_certificates(operator, *certificates):
    """PEM files of certificates and keys: each a name, its issuer's, and the days from now between which it is valid. Issuers are CAs."""
    names, keys, issuers = {}, {}, {issuer for _, issuer, _, _ in certificates}
    for name, issuer, begin, end in certificates:
        keys[name] = ec.generate_private_key(ec.SECP256R1())
        names[name] = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (x509.CertificateBuilder().subject_name(names[name]).issuer_name(names[issuer]).public_key(keys[name].public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(days(begin)).not_valid_after(days(end))
                   .add_extension(x509.BasicConstraints(ca=name in issuers, path_length=None), critical=True))
        certificate = builder.sign(keys[issuer], hashes.SHA256())
        (operator.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (operator.folder / f"{name}.key").write_bytes(keys[name].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def owner_and_signer(operator, since, until):
    """A CA that is valid between these days from now, and a signer under it, valid for years."""
    make_certificates(operator, ("owner", "owner", since, until), ("carol", "owner", -1000, 1000))
    return operator.folder / "owner", operator.folder / "carol"


class StickTest(box.ProvisionCase):
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
        for clock in ("2022-11-01", "2199-01-01"):  # systemd 252 is of that month: no clock is before it
            at = int(datetime.datetime.fromisoformat(clock + "T00:00Z").timestamp())
            box.openssl("verify", "-attime", at, "-CAfile", made, made)
        token = sorted((self.box.state / "softhsm").rglob("*"))
        self.assertNotIn("hallmark:", self.box.boot(), "a second start says and does nothing")
        self.assertEqual(sorted((self.box.state / "softhsm").rglob("*")), token)

    def test_secrets_are_for_signerd_alone(self):
        """A TSIG key and a webhook's secret: signerd takes no file that others can read."""
        source = self.operator.source
        (source / "secrets").mkdir()
        (source / "secrets/tsig.key").write_text('key "hallmark" { algorithm hmac-sha256; secret "%s"; };\n' % SECRET)
        (source / "secrets/webhook").write_text(SECRET + "\n")
        (source / "tsig.key").write_text(SECRET + "\n")
        self.operator.write(1, lambda text: text.replace('"policy.toml"', '"policy.toml", "secrets/tsig.key", "secrets/webhook", "tsig.key"'))
        hallmark = (source / "hallmark.toml").read_text()
        publisher = '\n[[dns.publisher]]\nname = "main"\nserver = "192.0.2.53"\nsecret_file = "{}"\n'
        webhook = '\n[watch.webhook]\nurl = "https://alerts.example.com/"\nsecret_file = "{}"\n'
        for wrong in (publisher.format("tsig.key"), webhook.format("tsig.key")):
            (source / "hallmark.toml").write_text(hallmark + wrong)
            self.assertIn('expected "secrets/NAME"', self.operator.pack(status=1).stderr)
        (source / "hallmark.toml").write_text(hallmark + publisher.format("secrets/tsig.key") + webhook.format("secrets/webhook"))
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.box.wait_set_up()
        for name in ("secrets/tsig.key", "secrets/webhook"):
            self.assertEqual((self.box.config / name).stat().st_mode & 0o7777, 0o640)
        holding = [path for path in self.box.config.rglob("*") if path.is_file() and SECRET in path.read_text() and path.name != "tsig.key"]
        self.assertEqual([path for path in holding if path.stat().st_mode & 0o007], [], "no other file lets others read it")

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
        for wrong in ("0" * 16, fingerprint.replace(":", "")[:8], fingerprint + "0"):
            said = self.box.says().count("these are not the first digits")
            self.box.type(wrong)
            wait_for(lambda before=said: self.box.says().count("these are not the first digits") > before, f"{wrong} is not taken")
            self.check_not_set_up()
        self.box.type(fingerprint[:23].lower())
        self.box.wait_set_up()
        self.check_set_up()

    def wait_for_a_word(self):
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.box.wait_says("SHA-256 " + self.operator.fingerprint())
        self.box.wait_says("if that is right, type its first")
        return self.operator.fingerprint().replace(":", "")[:16]

    def check_digits_do_nothing(self, digits):
        """The box says once more what it waits for, and is not set up."""
        said = self.box.says().count("not set up yet: put in the stick")
        self.box.type(digits)
        wait_for(lambda: self.box.says().count("not set up yet: put in the stick") > said, lambda: f"it goes on waiting: {self.box.says()}")
        self.assertNotIn("setting up", self.box.says())
        self.check_not_set_up()

    def test_what_was_pulled_is_not_taken(self):
        digits = self.wait_for_a_word()
        self.box.stick.rename(self.box.folder / "pocket")
        self.check_digits_do_nothing(digits)
        (self.box.folder / "pocket").rename(self.box.stick)
        wait_for(lambda: self.box.says().count("if that is right, type its first") == 2, "it is asked for again")
        self.box.type(digits)
        self.box.wait_set_up()

    def test_what_was_replaced_is_not_taken(self):
        digits = self.wait_for_a_word()
        damaged = self.box.folder / "damaged"
        damaged.write_bytes((self.box.stick / "box.hallmark").read_bytes()[:-1])
        self.box.put_in(damaged)
        self.box.wait_says("is not what hallmark-provision pack makes")
        self.check_digits_do_nothing(digits)
        (self.box.stick / "box.hallmark").unlink()
        self.check_digits_do_nothing(digits)

    def test_the_recovery_key_of_a_set_up_that_was_cut_off(self):
        """Nobody has the file for it: a state that does not open must not wait for that."""
        self.box.recipients.parent.mkdir()
        self.box.recipients.write_text("of the first try\n")
        self.box.owned_by(self.operator.signer)
        self.box.start()
        self.box.wait_says("not set up yet")
        self.assertFalse(self.box.recipients.exists(), "a start is enough")
        with self.subTest("within one start"):
            self.box.recipients.write_text("of the second try\n")
            self.box.put_in(self.operator.pack())
            self.box.wait_set_up()
            self.assertFalse(self.box.recipients.exists())

    def test_recovery_key(self):
        self.with_recipients()
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        (self.box.stick / "recovery.cms").write_text("another box's, and the only copy\n")
        self.box.start()
        self.box.wait_set_up()
        self.assertEqual((self.box.stick / "recovery.cms").read_text(), "recovery key\n")
        self.assertEqual((self.box.stick / "recovery-1.cms").read_text(), "another box's, and the only copy\n")
        with self.subTest("it stays with those who have it"):
            self.operator.make_certificate(self.operator.folder / "bob", self.operator.source / "recipients.pem")
            self.with_recipients(2, None)
            (self.box.stick / "recovery.cms").unlink()
            self.box.put_in(self.operator.pack())
            self.assertIn("the recovery key stays with those of the recipients.pem before", self.box.boot())
            self.assertFalse((self.box.stick / "recovery.cms").exists(), "what was told is not told again: it may be stale")
            self.assertNotIn("hallmark:", self.box.boot())

    def test_the_stick_is_taken_out_too_early(self):
        """What nobody has is said, and put on the stick at the first start that finds it."""
        self.with_recipients()
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        out = self.box.folder / "pocket"
        seal = self.box.root / "usr/libexec/hallmark/seal-pins"
        self.box.script(seal, seal.read_text().split("set -eu\n")[1] + f"mv {self.box.stick} {out}")
        self.box.start()
        self.box.wait_set_up()
        missing = "nobody has its certificate and its recovery key yet: start it with the stick in"
        self.assertIn(missing, self.box.says())
        self.assertIn(missing, self.box.boot())
        out.rename(self.box.stick)
        self.assertIn("on the stick now", self.box.boot())
        self.assertEqual((self.box.stick / "recovery.cms").read_text(), "recovery key\n")
        self.assertTrue((self.box.stick / "server.pem").exists())
        self.assertNotIn("hallmark:", self.box.boot())

    def test_what_a_stranger_wrote_is_shown_as_text(self):
        self.box.put_in(self.operator.pack(signer=self.operator.make_signer("mallory", "-utf8", "-subj", "/CN=mal\u009b2J\u202eory")))
        self.box.start()
        self.box.wait_says(r"signed by CN = mal\C2\9B2J\E2\80\AEory")
        self.assertTrue(self.box.says().isascii())

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
        (self.box.stick / "restore.backup").mkdir()  # cannot be read
        (self.box.stick / "restore.key").write_bytes(key.with_suffix(".key").read_bytes())
        self.box.start()
        self.box.wait_says("not set up: restore.backup on the stick: Is a directory")
        (self.box.stick / "restore.backup").rmdir()
        (self.box.stick / "restore.backup").write_bytes(backup + b"x")
        self.box.type("")  # look again
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
        self.box.recipients.parent.mkdir()
        self.box.recipients.write_text("of another box")
        self.box.start()
        self.assertEqual(self.box.process.wait(60), 1)
        self.assertIn("holds the state of a box", self.box.says())
        self.assertEqual((self.box.state / "hallmark.db").read_text(), "of another box")
        self.assertTrue(self.box.recipients.exists(), "nor its recovery key")

    def test_half_a_set_up_is_cleared_whole(self):
        """Removed piece by piece it could lose its mark first: after a power cut then it would be nobody's to touch, for good."""
        for number in range(64):
            (self.box.state / f"folder-{number}").mkdir(parents=True)
            for name in range(64):
                (self.box.state / f"folder-{number}" / str(name)).touch()
        (self.box.state / "set-up-unfinished").touch()
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.start()
        half = []
        while self.box.process.poll() is None and not self.box.config.exists():
            try:
                folder = os.open(self.box.state, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            names = set(os.listdir(folder))
            try:
                there = os.path.samestat(os.fstat(folder), os.stat(self.box.state))
            except FileNotFoundError:
                there = False
            os.close(folder)
            if there and names and "set-up-unfinished" not in names and not self.box.config.exists():
                half.append(len(names))
        self.box.wait_set_up()
        self.assertEqual(half, [], "a state without its mark, and without a configuration")
        self.check_set_up()

    def test_seal_fails(self):
        self.box.script(self.box.root / "usr/libexec/hallmark/seal-pins", "echo no TPM 2.0 here >&2; exit 1")
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.assertEqual(self.box.process.wait(60), 1)
        self.assertIn("no TPM 2.0 here", self.box.says())
        self.assertIn("the set-up has ended: mend that, and start the box again", self.box.says())
        self.check_not_set_up()
        self.assertFalse((self.box.root / "run/hallmark/secrets").exists())


    @unittest.skipUnless(FAKETIME.exists(), "not installed: libfaketime")
    def test_a_clock_that_is_set_while_it_waits(self):
        clock = Clock(self.box)
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.box.wait_says("the signer's certificate is not valid yet; is this machine's clock right?")
        self.check_not_set_up()
        clock.tell("+0")
        self.box.wait_set_up()
        self.assertEqual(self.box.says().count("not valid yet"), 1, "it is said once")

    @unittest.skipUnless(FAKETIME.exists(), "not installed: libfaketime")
    def test_an_owner_who_is_not_valid_yet(self):
        owner, signer = owner_and_signer(self.operator, -30, 30)
        clock = Clock(self.box)
        self.box.owned_by(owner)
        self.box.put_in(self.operator.pack(signer=signer))
        self.box.start()
        self.box.wait_says("the certificate of the owner's CA CN = owner is not valid yet; is this machine's clock right?")
        self.check_not_set_up()
        clock.tell("+0")
        self.box.wait_set_up()

    @unittest.skipUnless(FAKETIME.exists(), "not installed: libfaketime")
    def test_another_signer_whose_clock_is_set_while_it_waits(self):
        """Once the clock is right, what is wrong with the same file is another thing, and is said too."""
        clock = Clock(self.box)
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack(signer=self.operator.make_signer("mallory")))
        self.box.start()
        self.box.wait_says("the signer's certificate is not valid yet; is this machine's clock right?")
        clock.tell("+0")
        self.box.wait_says("who is not under this box's owner's CA")
        self.check_not_set_up()
        self.box.put_in(self.operator.pack())
        self.box.wait_set_up()
        for said in ("not valid yet", "who is not under this box's owner's CA"):
            self.assertEqual(self.box.says().count(said), 1, "it is said once")


class LaterTest(box.ProvisionCase):
    def setUp(self):
        super().setUp()
        self.set_up()

    def set_up(self):
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.box.wait_says("SHA-256")
        self.box.type(self.operator.fingerprint().replace(":", "")[:16])
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

    def test_not_while_a_version_is_on_trial(self):
        """The version before, if it comes back, may not know a key of the new configuration."""
        proven, tried = (self.box.kernels / f"hallmark_0.2.0{counter}.efi" for counter in ("", "+2-1"))
        proven.rename(tried)
        self.assertIn("is not taken: version 0.2.0 has not shown yet that it signs; start the box again once it has", self.change(2))
        self.assertIn("192.0.2.10/24", self.network())
        self.assertIn("revision = 1\n", (self.box.config / "box/configuration.toml").read_text())
        tried.rename(proven)
        self.assertIn("revision 2 of the configuration was taken", self.box.boot())
        self.assertIn("192.0.2.77/24", self.network())

    def test_lines_above_the_whole_text_in_force(self):
        """The text that the box has is in the later file as it is; the later one is another all the same."""
        self.box = box.Box(self)
        self.operator = self.box.operator
        old = box.BOX_TOML.replace("revision = {revision}\n", "").replace('time_servers = ["ntp.example.com"]\n', "")
        self.operator.write(1, lambda _: old)
        self.set_up()
        self.assertNotIn("hallmark:", self.box.boot(), "the one in force is passed over")
        self.operator.write(2, lambda _: 'revision = 2\ntime_servers = ["ntp2.example.com"]\n' + old)
        self.box.put_in(self.operator.pack())
        self.assertIn("revision 2 of the configuration was taken", self.box.boot())
        self.assertEqual((self.box.root / "run/hallmark/time/hallmark.sources").read_text(), "server ntp2.example.com iburst\n")
        self.assertNotIn("hallmark:", self.box.boot())

    @unittest.skipUnless(FAKETIME.exists(), "not installed: libfaketime")
    def test_a_clock_that_is_set_at_the_start(self):
        clock = Clock(self.box)
        with self.subTest("the one in force is not waited for"):
            self.assertNotIn("hallmark:", self.box.boot())
        self.operator.write(2, lambda text: text.replace("192.0.2.10/24", "192.0.2.77/24"))
        self.box.put_in(self.operator.pack())
        self.box.start()
        self.box.wait_says("not valid yet; is this machine's clock right? If it is, sign with another one. Waiting up to 60 s for a time server")
        clock.tell("+0")
        self.box.wait_says("revision 2 of the configuration was taken")
        self.assertEqual(self.box.process.wait(60), 0, self.box.says())
        self.assertIn("192.0.2.77/24", self.network())

    def test_names_change(self):
        self.operator.write(2, lambda text: text.replace("DNS:signer1", "DNS:signer2"))
        before = (self.box.stick / "server.pem").read_bytes()
        self.box.put_in(self.operator.pack())
        (self.box.stick / "server.pem").unlink()
        (self.box.stick / "server.pem").mkdir()  # cannot be written
        said = self.box.boot()
        self.assertIn("its new certificate has the SHA-256 fingerprint", said)
        self.assertIn("nobody has its certificate yet", said)
        (self.box.stick / "server.pem").rmdir()
        self.assertIn("on the stick now: the box's certificate", self.box.boot())
        now = (self.box.stick / "server.pem").read_bytes()
        self.assertNotEqual(now, before)
        self.assertEqual(now, (self.box.config / "tls/server.pem").read_bytes())
        self.assertNotIn("hallmark:", self.box.boot())
        self.assertEqual((self.box.config / "tls/server.key").read_bytes(), self.key)
        self.assertEqual((self.box.config / "tls/server.key").stat().st_mode & 0o7777, 0o640)
        fits = [box.openssl(*words, "-in", self.box.config / "tls" / name)
                for words, name in ((("x509", "-noout", "-pubkey"), "server.pem"), (("pkey", "-pubout"), "server.key"))]
        self.assertEqual(*fits)

    def test_a_file_for_another_box(self):
        """The owner has signed it, and its revision is higher: it was on the wrong stick."""
        def for_another(text):
            return text.replace('host_name = "signer1', 'host_name = "signer2').replace("192.0.2.10/24", "192.0.2.77/24")

        self.operator.write(2, for_another)
        self.box.put_in(self.operator.pack())
        refused = ('it is for signer2.example.com, and this box is signer1.example.com; to give this box that name, '
                   'have replaces = "signer1.example.com" in box.toml')
        self.assertIn(refused, self.box.boot())
        self.operator.write(2, lambda text: 'replaces = "signer3.example.com"\n' + for_another(text))
        self.box.put_in(self.operator.pack())
        self.assertIn(refused, self.box.boot())
        self.assertIn("192.0.2.10/24", self.network())
        with self.subTest("a new name for this one"):
            self.operator.write(2, lambda text: 'replaces = "signer1.example.com"\n' + for_another(text))
            packed = self.operator.pack()
            self.assertIn("replaces:  signer1.example.com\n", box.run("show", packed).stdout)
            self.box.put_in(packed)
            self.assertIn("revision 2 of the configuration was taken", self.box.boot())
            self.assertIn("192.0.2.77/24", self.network())
        with self.subTest("that goes on with the same line"):
            self.operator.write(3, lambda text: 'replaces = "signer1.example.com"\n' + for_another(text))
            self.box.put_in(self.operator.pack())
            self.assertIn("revision 3 of the configuration was taken", self.box.boot())

    def test_dns_records_are_shown_once(self):
        (self.box.state / "dns-records").write_text("the first records\n")
        self.assertIn("the first records", self.records())
        self.change(2)
        self.assertNotIn("the first records", self.records())

    def test_dns_records_that_the_stick_does_not_take(self):
        """Another service may have it mounted."""
        (self.box.state / "dns-records").write_text("the first records\n")
        blocked = self.box.stick / "dns-records.txt"
        blocked.mkdir()  # cannot be written
        process, log = self.start_records()
        wait_for(lambda: "they are not on the stick yet: " in log.read_text(), "it cannot be written")
        process.kill()  # the power is cut
        process.wait()
        process, log = self.start_records()
        wait_for(lambda: "they are not on the stick yet: " in log.read_text(), "they are shown again")
        self.assertIn("the first records", log.read_text())
        blocked.rmdir()
        self.assertEqual(process.wait(60), 0)
        self.assertIn("they are on the stick too", log.read_text())
        self.assertEqual(blocked.read_text(), "the first records\n")
        self.assertNotIn("the first records", self.records())

    def start_records(self):
        log = self.box.folder / "records.log"
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen([box.PROGRAM, "records", "--root", self.box.root, "--stick", self.box.stick], stdout=file, stderr=file,
                                       preexec_fn=die_with_parent)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, log

    def records(self):
        return box.run("records", "--root", self.box.root, "--stick", self.box.stick).stdout


class PackTest(box.ProvisionCase):
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
        with self.subTest("what would have every update given up"):
            hallmark.write_text(good + "\n[health]\ntest_signature_seconds = 0\n")
            self.assertRegex(self.operator.pack(status=1).stderr, r"signer1/hallmark.toml:\d+: health.test_signature_seconds: found 0: ")
        hallmark.write_text(good)
        with self.subTest("a file in the place of the box's folder"):
            self.operator.write(1, lambda text: text.replace('"tls/relay-ca.pem"', '"tls.d", "tls/server.pem/more", "tls/relay-ca.pem"'))
            self.assertRegex(self.operator.pack(status=1).stderr, r'box.toml:5: files: found "tls/server.pem/more"')
            self.operator.write(1)
        with self.subTest("policy.toml"):
            policy.write_text("[[partner]]\nnme = 1\n")
            self.assertRegex(self.operator.pack(status=1).stderr, r"signer1/policy.toml:\d+: ")

    def test_recipients_can_be_encrypted_for(self):
        recipients = self.operator.source / "recipients.pem"
        alice = self.operator.folder / "alice.pem"
        rsa, ed25519 = self.operator.folder / "rsa", self.operator.folder / "ed25519"
        for key, *kind in ((rsa, "rsa:2048"), (ed25519, "ed25519")):
            box.openssl("req", "-x509", "-newkey", *kind, "-nodes", "-days", "30", "-subj", "/CN=bob", "-keyout", f"{key}.key", "-out", f"{key}.pem")
        self.with_recipients()
        recipients.write_text(alice.read_text() + "of bob:\n" + rsa.with_suffix(".pem").read_text())
        self.operator.pack()
        for what, text, said in (("none", "nobody\n", "recipients.pem: holds no PEM certificate"),
                                 ("a key that only signs", alice.read_text() + ed25519.with_suffix(".pem").read_text(),
                                  "recipients.pem: nothing can be encrypted for certificate 2"),
                                 ("half of one", alice.read_text()[:-60], "recipients.pem: certificate 1 cannot be read")):
            with self.subTest(what):
                recipients.write_text(text)
                self.assertIn(said, self.operator.pack(status=1).stderr)

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

    def test_expired_owner(self):
        owner, signer = owner_and_signer(self.operator, -60, -30)
        packed = self.operator.pack(signer=signer)
        said = box.run("show", packed, "--owner-ca", f"{owner}.pem", status=1).stderr
        self.assertIn("the certificate of the owner's CA CN = owner is not valid any more", said)
        self.assertIn("only an image with another CA takes this", said)
        self.assertNotIn("who is not under", said)
        with self.subTest("a stranger is one by any clock"):
            said = box.run("show", self.operator.pack(), "--owner-ca", f"{owner}.pem", status=1).stderr
            self.assertIn("signed by CN = alice, who is not under this box's owner's CA", said)

    def test_expired_ca_between(self):
        """It is no CA of the box's image: whoever signs can put another in its place."""
        make_certificates(self.operator, ("owner", "owner", -60, 60), ("middle", "owner", -60, -30), ("carol", "middle", -1000, 1000))
        names = {name: self.operator.folder / name for name in ("owner", "middle", "carol")}
        made = self.sign_with_openssl("-signer", f"{names['carol']}.pem", "-inkey", f"{names['carol']}.key", "-certfile", f"{names['middle']}.pem")
        said = box.run("show", made, "--owner-ca", f"{names['owner']}.pem", status=1).stderr
        self.assertIn("the certificate of a CA in the file CN = middle is not valid any more; is this machine's clock right? If it is, sign again", said)
        self.assertNotIn("another CA", said)

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
