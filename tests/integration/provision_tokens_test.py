"""A box's token of other kinds: made in the TPM, or brought by a person who types its PIN once. signerd then runs with what the box made."""

import os
import pathlib
import select
import shutil
import signal
import subprocess
import unittest

import box
import card_reader
import piv_card
import soft_tpm
from cryptography.hazmat.primitives.asymmetric import rsa
from deployment import BIN, die_with_parent
from waiting import wait_for

SOFTHSM = pathlib.Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "typed-471147"
CREDENTIALS = "/run/credentials/hallmark-signerd.service/"


class Person:
    """Sits at a terminal: sees what is there, and types."""

    def __init__(self, case):
        self.end, terminal = os.openpty()
        case.addCleanup(os.close, self.end)
        case.addCleanup(os.close, terminal)
        self.terminal = os.ttyname(terminal)
        self.seen = b""

    def type(self, text):
        os.write(self.end, text.encode() + b"\n")

    def look(self):
        while select.select([self.end], [], [], 0)[0]:
            self.seen += os.read(self.end, 4096)
        return self.seen


class TokenCase(unittest.TestCase):
    def setUp(self):
        self.box = box.Box(self)
        # Keeps the PINs for the test, where a real one gives them to the TPM.
        self.sealed = self.box.folder / "sealed"
        self.sealed.mkdir()
        self.box.script(self.box.root / "usr/libexec/hallmark/seal-pins",
                        f'for pin in "$1"/*pin; do cp "$pin" {self.sealed}; echo "sealed ${{pin##*/}}" >"$2/${{pin##*/}}.cred"; done')
        self.box.owned_by(self.box.operator.signer)

    def pack(self, token, revision=1, domains=True):
        def change(text):
            head, _, domain = text.partition("[[domain]]")
            return f"{head}[token]\n{token}\n" + (f"[[domain]]{domain}" if domains else "")

        self.box.operator.write(revision, change)
        return self.box.operator.pack()

    def sit_down(self):
        person = Person(self)
        self.box.keyboard = person.terminal
        return person

    def unit(self):
        return (self.box.root / "run/systemd/system/hallmark-signerd.service.d/token.conf").read_text()

    def check_pin_is_nowhere(self, pin, *shown):
        """But where it was sealed."""
        self.assertEqual((self.sealed / "pin").read_text(), pin)
        self.assertFalse((self.box.root / "run/hallmark/secrets").exists())
        for path in [*self.box.root.rglob("*"), *self.box.stick.rglob("*"), self.box.log]:
            if path.is_file():
                self.assertNotIn(pin.encode(), path.read_bytes(), path)
        for text in shown:
            self.assertNotIn(pin.encode(), text)

    def start_signerd(self, changes=()):
        """With the hallmark.toml that the box made, whose places are here; `changes` are others that are not as on a box."""
        text = (self.box.config / "hallmark.toml").read_text()
        for there, here in ((CREDENTIALS, f"{self.sealed}/"), ('"/var/lib/hallmark"', f'"{self.box.state}"'), ("0.0.0.0:8461", "127.0.0.1:0"),
                            ("0.0.0.0:8462", "127.0.0.1:0"), ("127.0.0.1:9461", "127.0.0.1:0"), *changes):
            self.assertIn(there, text)
            text = text.replace(there, here)
        text = text.replace("/var/lib/hallmark/", f"{self.box.state}/").replace("/etc/hallmark/", f"{self.box.config}/")
        (self.box.config / "hallmark.toml").write_text(text + '\n[dns]\nresolver = "127.0.0.1:9"\n')
        (self.box.config / "softhsm2.conf").write_text(f"directories.tokendir = {self.box.state}/softhsm\n")
        log = self.box.folder / "signerd.log"
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen([BIN / "signerd", "--config", self.box.config / "hallmark.toml"], stdout=file, stderr=file,
                                       preexec_fn=die_with_parent)

        def stop():
            process.send_signal(signal.SIGTERM)
            process.wait(60)

        self.addCleanup(stop)
        wait_for(lambda: "ready: signing on" in log.read_text(), lambda: f"signerd serves: {log.read_text()}")
        return log

    def records(self, log):
        """Of the first keys, once they are made."""
        file = self.box.state / "dns-records"
        wait_for(file.exists, lambda: f"the first keys: {log.read_text()}", 120)
        return file.read_text().splitlines()


@unittest.skipIf(soft_tpm.why_not(), soft_tpm.why_not())
class TpmTest(TokenCase):
    def test_token_in_the_tpm(self):
        tpm = soft_tpm.SoftTpm(self.box.folder / "tpm")
        self.addCleanup(tpm.stop)
        tpm.start()
        self.box.environment["DBUS_SESSION_BUS_ADDRESS"] = tpm.environment["DBUS_SESSION_BUS_ADDRESS"]
        self.box.more = ["--tcti", tpm.environment["TPM2_PKCS11_TCTI"]]
        packed = self.pack('kind = "tpm"')
        self.assertIn("token:     tpm\n", box.run("show", packed).stdout)
        self.box.put_in(packed)
        self.box.start()
        self.box.wait_set_up()
        self.assertTrue((self.box.state / "tpm2").is_dir())
        self.assertEqual(sorted(path.name for path in self.box.config.glob("*.cred")),
                         ["ledger-pin.cred", "ledger-so-pin.cred", "pin.cred", "so-pin.cred"])
        pins = {path.read_text() for path in self.sealed.iterdir()}
        self.assertEqual(len(pins), 4, "each is another")
        self.check_pin_is_nowhere((self.sealed / "pin").read_text())
        self.assertIn("SupplementaryGroups=tss\n", self.unit())
        self.assertNotIn("Device", self.unit())

        bus = tpm.environment["DBUS_SESSION_BUS_ADDRESS"]
        log = self.start_signerd([("environment = { TPM2", f'environment = {{ DBUS_SESSION_BUS_ADDRESS = "{bus}", TPM2')])
        records = self.records(log)
        self.assertEqual([record.split("k=")[1].split(";")[0] for record in records], ["rsa"])
        wait_for(lambda: list((self.box.state / "ledger").glob("*checkpoint*")), "the ledger's key signs", 60)

    def test_ed25519_is_refused_when_it_is_packed(self):
        self.box.operator.write(1, lambda text: text.replace(
            "[[domain]]", '[token]\nkind = "tpm"\n\n[[domain]]\nalgorithms = ["rsa2048", "ed25519"]'))
        said = self.box.operator.pack(status=1).stderr
        self.assertIn("domain[0].algorithms: found ed25519, which no TPM makes; expected", said)
        self.assertIn("box.toml:16: ", said)


@unittest.skipIf(card_reader.why_not(), card_reader.why_not())
@unittest.skipUnless(shutil.which("pkcs11-tool"), "not installed: opensc")
class SmartcardTest(TokenCase):
    def test_the_pin_is_typed_once(self):
        reader = card_reader.CardReader(self.box.folder / "reader")
        self.addCleanup(reader.close)
        reader.start()
        card = piv_card.PivCard(pin="471147", slots={0x9A: rsa.generate_private_key(65537, 2048)})
        self.box.environment.update(reader.environment)
        person = self.sit_down()
        self.box.put_in(self.pack('kind = "smartcard"\nlabel = "Signing card, slot 9A"', domains=False))
        self.box.start()
        with self.subTest("no card is there"):
            self.box.wait_says("type the PIN of the token Signing card, slot 9A")
            person.type("471147")
            self.box.wait_says("not set up: tokend: the module has no token that")
        reader.insert(card)
        self.addCleanup(lambda: card.inserted and card.remove())
        wait_for(lambda: self.reader_has_card(reader), "pcscd has seen the card")
        person.type("")
        with self.subTest("a wrong PIN costs one try"):
            wait_for(lambda: self.box.says().count("type the PIN of the token") == 2, "the PIN is asked for again")
            person.type("000000")
            self.box.wait_says("the PIN is not taken: tokend: C_Login: CKR_PIN_INCORRECT")
            self.assertEqual((card.wrong_pins, card.tries), (1, piv_card.TRIES - 1))
        wait_for(lambda: self.box.says().count("type the PIN of the token") == 3, "the PIN is asked for again")
        person.type("471147")
        self.box.wait_set_up()
        self.assertEqual((card.wrong_pins, card.tries), (1, piv_card.TRIES))
        self.check_pin_is_nowhere("471147", person.look())
        self.assertNotIn(b"000000", person.look())
        self.assertNotIn("Device", self.unit(), "pcscd has the reader")
        text = (self.box.config / "hallmark.toml").read_text()
        self.assertIn("pkcs11:token=Signing%20card%2C%20slot%209A?", text)


    @staticmethod
    def reader_has_card(reader):
        listed = subprocess.run(["pkcs11-tool", "--module", card_reader.MODULE, "--list-token-slots"], capture_output=True, text=True, check=False,
                                timeout=60, env={**os.environ, **reader.environment})
        return "Signing card" in listed.stdout


class ModuleTest(TokenCase):
    """SoftHSM's library in the place of a vendor's."""

    def setUp(self):
        super().setUp()
        self.vendor = self.box.folder / "vendor"
        (self.vendor / "tokens").mkdir(parents=True)
        self.configuration = self.vendor / "vendor.conf"
        self.configuration.write_text(f"directories.tokendir = {self.vendor}/tokens\n")
        pin = self.vendor / "pin"
        pin.touch(0o600)
        pin.write_text(PIN)
        subprocess.run([BIN / "tokend", "init-token", "--module", SOFTHSM, "--token-label", "vendor 1", "--pin-source", pin, "--so-pin-source",
                        pin], check=True, capture_output=True, env={**os.environ, "SOFTHSM2_CONF": str(self.configuration)})
        pin.unlink()

    def token(self, label="vendor 1", module=SOFTHSM):
        return (f'kind = "module"\nmodule = "{module}"\nlabel = "{label}"\nsessions = 3\n'
                f'environment = {{ SOFTHSM2_CONF = "{self.configuration}" }}\ndevices = ["char-usb_device"]\ngroups = ["hsm"]')

    def test_it_signs_with_the_vendors_token(self):
        person = self.sit_down()
        self.box.put_in(self.pack(self.token()))
        self.box.start()
        self.box.wait_says("type the PIN of the token vendor 1")
        person.type(PIN)
        self.box.wait_set_up()
        self.check_pin_is_nowhere(PIN, person.look())
        tried = self.box.root / "usr/libexec/hallmark/tried-with"
        self.assertEqual(tried.read_text(), "char-usb_device\nhsm\n", "the trial has the devices and groups that signerd gets")
        self.assertEqual(self.unit(), "# Of the box's token.\n[Service]\nLoadCredentialEncrypted=ledger-pin:/etc/hallmark/ledger-pin.cred\n"
                                      "PrivateDevices=no\nDevicePolicy=closed\nDeviceAllow=char-usb_device rw\nSupplementaryGroups=hsm\n")
        with self.subTest("a later configuration keeps the token"):
            self.box.put_in(self.pack(self.token("vendor 2"), revision=2))
            self.assertIn("it wants another token than this box has", self.box.boot())
            self.box.put_in(self.pack(self.token().replace("char-usb_device", "/dev/null"), revision=2))
            self.assertIn("revision 2 of the configuration was taken", self.box.boot())
            self.assertIn("DeviceAllow=/dev/null rw\n", self.unit())
            self.assertTrue((self.box.config / "ledger-pin.cred").exists())
        with self.subTest("what is not there is not taken: signerd would not start with it"):
            unit, now = self.unit(), self.token().replace("char-usb_device", "/dev/null")
            for there, missing, said in (
                    (str(SOFTHSM), "/opt/vendor/none.so", "token.module: there is no /opt/vendor/none.so on this image"),
                    ("/dev/null", "char-no_such_class", "token.devices: there is no device char-no_such_class on this box now"),
                    ("/dev/null", "/dev/no-such-device", "token.devices: there is no device /dev/no-such-device on this box now"),
                    ('"hsm"', '"hsm", "hms"', "token.groups: there is no group hms on this image; name one that the vendor's packages make")):
                self.box.put_in(self.pack(now.replace(there, missing), revision=3))
                self.assertIn(f"the configuration on the stick is not taken: {said}", self.box.boot())
            self.assertEqual(self.unit(), unit)
            self.box.put_in(self.pack(now.replace("/dev/null", "char-mem").replace('"hsm"', '"hsm", "tty"'), revision=3))
            self.assertIn("revision 3 of the configuration was taken", self.box.boot())
        before = sum(1 for _ in (self.vendor / "tokens").rglob("*.object"))
        log = self.start_signerd()
        self.assertEqual(len(self.records(log)), 1)
        self.assertGreater(sum(1 for _ in (self.vendor / "tokens").rglob("*.object")), before, "the key is in the vendor's token")
        self.assertNotIn(PIN, log.read_text())

    def test_what_is_wrong_is_said_and_changes_nothing(self):
        person = self.sit_down()
        self.box.put_in(self.pack(self.token(module="/usr/lib/vendor/none.so")))
        self.box.start()
        self.box.wait_says("type the PIN")
        person.type(PIN)
        self.box.wait_says("not set up: tokend: /usr/lib/vendor/none.so: cannot load the module")
        self.assertFalse(self.box.config.exists())
        with self.subTest("it was tried on the network that the configuration names, which is as before then"):
            self.assertIn("Address=192.0.2.10/24\nGateway=192.0.2.1\n", (self.box.root / "usr/libexec/hallmark/tried-on").read_text())
            wait_for(lambda: not self.box.network.exists(), "what was refused leaves no network")
        self.box.put_in(self.pack(self.token()))
        with self.subTest("an empty line gives up"):
            wait_for(lambda: self.box.says().count("type the PIN") == 2, "the PIN is asked for")
            person.type("")
            self.box.wait_says("not set up: no PIN was typed")
        with self.subTest("what does not answer is a token that is away"):
            (self.box.root / "usr/libexec/hallmark/try-token").unlink()
            person.type("")
            wait_for(lambda: self.box.says().count("type the PIN") == 3, "the PIN is asked for")
            person.type(PIN)
            self.box.wait_says("try-token: cannot start")
            person.type("")
            wait_for(lambda: self.box.says().count("type the PIN") == 4, "it goes on")
        self.assertFalse(self.box.config.exists())
        self.assertFalse(self.box.state.exists())


if __name__ == "__main__":
    unittest.main()
