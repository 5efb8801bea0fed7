"""The box's scripts, with files in the place of partitions and devices: what is sealed and when not, which state is opened, the new recovery
key after a recovery, what a vendor's module is tried with, and what update-check leaves. The TPM, and what looks at a bundle's signature and
hash tree, are not there: firmware/test has them."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import paths

TREES = [paths.TESTS.parent / "firmware" / part / "tree/usr" for part in ("image", "update")]
# cryptsetup as it is; but where the TPM gives leave, the first key does.
CRYPTSETUP = """#!/bin/bash
arguments=()
for argument; do
  if [[ $argument == --token-only ]]; then arguments+=(--key-file "{first_key}"); else arguments+=("$argument"); fi
done
exec {cryptsetup} "${{arguments[@]}}"
"""


class Scripts:
    """Copies that have their files below `root`, and programs that are found before the system's."""

    def __init__(self, root):
        self.root, self.bin = root, root / "bin"
        self.partition, self.console = root / "partition", root / "console"
        places = {"/usr/libexec/hallmark": root / "libexec", "/usr/share/hallmark": root / "share", "/run/hallmark": root / "run",
                  "/var/lib": root / "var", "/efi/EFI": root / "efi/EFI", "/dev/console": self.console, "/usr/lib/os-release": root / "os-release",
                  "/dev/disk/own/hallmark-state": self.partition, "/dev/disk/by-label/HALLMARK": root / "stick", "/run/systemd": root / "systemd", "/sys/class": root / "sys/class",
                  "/sys/firmware/efi": root / "sys/firmware/efi",
                  "/proc/cmdline": root / "cmdline", "/dev/tpmrm0": root / "tpm", "/lib/systemd/systemd-cryptsetup": "systemd-cryptsetup"}
        for folder in ("libexec", "share", "run", "var", "bin", "systemd"):
            (root / folder).mkdir()
        anywhere = re.compile("|".join(map(re.escape, sorted(places, reverse=True))))  # the longest of those that begin alike
        for tree in TREES:
            for path in [*tree.glob("libexec/hallmark/*"), *tree.glob("share/hallmark/*.sh")]:
                text = anywhere.sub(lambda there: str(places[there.group()]), path.read_text())
                self.put(places["/usr/" + str(path.parent.relative_to(tree))] / path.name, text)

    @staticmethod
    def put(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def program(self, name, text="exit 0"):
        self.put(self.bin / name, f"#!/bin/sh\nset -eu\n{text}\n")

    def run(self, name, *arguments, **environment):
        return subprocess.run([self.root / "libexec" / name, *arguments], capture_output=True, text=True, timeout=120, check=False,
                              env={**os.environ, **environment, "PATH": f"{self.bin}:{os.environ['PATH']}:/usr/sbin"})


class ScriptCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-scripts-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.scripts = Scripts(self.root)


@unittest.skipUnless(shutil.which("cryptsetup", path=f"{os.environ['PATH']}:/usr/sbin"), "not installed: cryptsetup")
class RecoveryTest(ScriptCase):
    def setUp(self):
        super().setUp()
        self.config, self.recovered, self.remembered = self.root / "var/hallmark-config", self.root / "run/recovered", self.root / "var/hallmark-recovery"
        for folder in (self.config / "box", self.config / "tls", self.recovered, self.remembered):
            folder.mkdir(parents=True)
        cryptsetup = shutil.which("cryptsetup", path=f"{os.environ['PATH']}:/usr/sbin")
        first, old = self.root / "first-key", self.root / "old-key"
        first.write_text("of the TPM")
        old.write_text("OLDKEY")
        self.cryptsetup = [cryptsetup, "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
        with open(self.scripts.partition, "wb") as partition:
            partition.truncate(20 << 20)
        subprocess.run([*self.cryptsetup, "luksFormat", "--type", "luks2", self.scripts.partition, first], check=True)
        subprocess.run([*self.cryptsetup, "luksAddKey", "--key-slot", "7", "--key-file", first, self.scripts.partition, old], check=True)
        self.scripts.put(self.scripts.bin / "cryptsetup", CRYPTSETUP.format(first_key=first, cryptsetup=cryptsetup))
        self.scripts.program("systemd-cryptenroll")
        self.scripts.program("systemd-creds", 'while [ $# -gt 2 ]; do shift; done; cp "$1" "$2"')
        self.scripts.put(self.root / "libexec/seal-options", "#!/bin/sh\n")
        self.certificate("alice", self.remembered / "recipients.pem")
        self.certificate("server", self.config / "tls/server.pem")
        (self.recovered / "recovery-key").write_text("OLDKEY")
        (self.recovered / "pin").write_text("123456")

    def certificate(self, name, path):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                        "-keyout", self.root / f"{name}.key", "-out", path], check=True, capture_output=True)

    def opens(self, key):
        done = subprocess.run([self.cryptsetup[0], "open", "--test-passphrase", "--key-slot", "7", "--key-file", "-", self.scripts.partition],
                              input=key.encode(), capture_output=True, check=False)
        return done.returncode == 0

    def new_recovery(self, officer="alice"):
        """What is in the recovery.cms that waits for a stick."""
        done = subprocess.run(["openssl", "cms", "-decrypt", "-inform", "PEM", "-in", self.config / "box/recovery.cms", "-inkey",
                               self.root / f"{officer}.key"], capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if not line.startswith("#"))

    def check_new_key(self, officer="alice"):
        self.assertFalse(self.opens("OLDKEY"), "what was seen opens nothing")
        recovery = self.new_recovery(officer)
        self.assertTrue(self.opens(recovery["recovery-key"]))
        self.assertEqual(recovery["pin"], "123456")
        self.assertRegex((self.config / "box/not-told-yet").read_text(), "^([0-9A-F]{2}:){31}[0-9A-F]{2}$", "nobody has it yet")
        self.assertFalse(self.recovered.exists(), "no PIN is left")

    def test_the_key_is_replaced_without_a_stick(self):
        done = self.scripts.run("seal-recovered")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("hallmark: recovered", done.stdout)
        self.check_new_key()

    def test_power_cut_before_the_new_key(self):
        make = self.root / "libexec/make-recovery"
        real = make.read_text()
        self.scripts.put(make, "#!/bin/sh\necho cut >&2\nexit 1\n")
        done = self.scripts.run("seal-recovered")
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no new recovery key, and the file recovery may still open the state", done.stdout)
        self.assertTrue(self.opens("OLDKEY"))
        self.assertFalse(self.recovered.exists())
        self.scripts.put(make, real)
        done = self.scripts.run("seal-recovered")  # the TPM opened the state, and hallmark-recovered.service found that a key was seen
        self.assertEqual(done.returncode, 0, done)
        self.check_new_key()
        self.assertFalse((self.remembered / "key-was-seen").exists())

    def test_the_recipients_of_a_later_configuration(self):
        self.certificate("bob", self.config / "recipients.pem")
        done = self.scripts.run("seal-recovered")
        self.assertEqual(done.returncode, 0, done)
        self.check_new_key("bob")
        with self.assertRaises(subprocess.CalledProcessError):
            self.new_recovery("alice")


    def test_a_key_that_nobody_has_is_taken_back(self):
        """Of a set-up that a power cut ended: the console must not wait for a file that there is not."""
        recipients, pins = self.remembered / "recipients.pem", self.recovered
        shutil.copy(recipients, self.root / "alice.pem")
        for what in ("after the key was there", "before"):
            with self.subTest(what):
                if what != "before":
                    made = self.scripts.run("make-recovery", pins, self.config / "box/recovery.cms", self.root / "alice.pem")
                    self.assertEqual(made.returncode, 0, made)
                    self.assertIn("  7: luks2\n", self.header())
                else:
                    shutil.copy(self.root / "alice.pem", recipients)
                done = self.scripts.run("forget-recovery")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertNotIn("  7: luks2\n", self.header())
                self.assertIn("  0: luks2\n", self.header(), "the TPM's stays")
                self.assertFalse(recipients.exists())
        with self.subTest("what cannot be read may have one"):
            recipients.touch()
            self.scripts.partition.unlink()
            self.assertNotEqual(self.scripts.run("forget-recovery").returncode, 0)
            self.assertTrue(recipients.exists())

    def header(self):
        return subprocess.run([self.cryptsetup[0], "luksDump", self.scripts.partition], capture_output=True, text=True, check=True).stdout

    def test_the_recipients_of_the_same_configuration(self):
        shutil.copy(self.remembered / "recipients.pem", self.config / "recipients.pem")
        make = self.root / "libexec/make-recovery"
        self.scripts.put(make, make.read_text().replace("#!/bin/sh\n", f'#!/bin/sh\nprintf %s "$3" >{self.root}/for\n'))
        done = self.scripts.run("seal-recovered")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.check_new_key()
        self.assertEqual((self.root / "for").read_text(), str(self.remembered / "recipients.pem"))


class RecoverStateTest(ScriptCase):
    """Which file recovery of a stick opens the state, and what is kept of it."""

    def setUp(self):
        super().setUp()
        self.scripts.put(self.root / "libexec/seal-options", "#!/bin/sh\n")
        self.scripts.program("mount", f'while [ $# -gt 1 ]; do shift; done; cp -r {self.root}/stick/. "$1"')
        self.scripts.program("umount", 'rm "$1/recovery"')
        # Opens by one key. The next stick comes when the script has had enough of this one.
        self.scripts.program("cryptsetup", 'while [ "$1" != --key-file ]; do shift; done; [ "$(cat "$2")" = RIGHT ] || { echo wrong >&2; exit 2; }')
        self.scripts.program("sleep", f'mv {self.root}/next {self.root}/stick/recovery')
        (self.root / "stick").mkdir()

    def test_another_boxs_stick_leaves_no_pin(self):
        (self.root / "stick/recovery").write_text("recovery-key=WRONG\npin=111111\nso-pin=222222\nledger-pin=333333\n")
        (self.root / "next").write_text("recovery-key=RIGHT\r\npin=123456\r\n")
        done = self.scripts.run("recover-state")
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stdout, "hallmark: the file recovery on the stick is not for this state: wrong\n"
                                      "hallmark: the state is open by its recovery key\n")
        kept = {path.name: path.read_text() for path in (self.root / "run/recovered").iterdir()}
        self.assertEqual(kept, {"recovery-key": "RIGHT", "pin": "123456"})


class SealCase(ScriptCase):
    """A box that its UEFI stub started."""

    OFF = "hallmark: Secure Boot is off: switch it on in the firmware's set-up, then start again"

    def setUp(self):
        super().setUp()
        self.variable = self.root / "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
        self.variable.parent.mkdir(parents=True)
        (self.root / "cmdline").write_text("roothash=0 panic=10\n")
        (self.root / "systemd/tpm2-pcr-public-key.pem").touch()

    def secure_boot(self, value):
        self.variable.write_bytes(bytes([6, 0, 0, 0, value]))


class SealTest(SealCase):
    """What secrets are sealed to, and that they are not while Secure Boot is off."""

    def options(self):
        done = self.scripts.run("seal-options")
        return done.stdout.strip() if done.returncode == 0 else done.stderr.strip()

    def test_secure_boot_must_be_on(self):
        self.assertEqual(self.options(), self.OFF)  # no such variable
        self.secure_boot(0)
        self.assertEqual(self.options(), self.OFF)
        self.secure_boot(1)
        self.assertEqual(self.options(), f"--tpm2-pcrs=7 --tpm2-public-key={self.root}/systemd/tpm2-pcr-public-key.pem --tpm2-public-key-pcrs=11")

    def test_a_kernel_that_nobody_measured(self):
        (self.root / "systemd/tpm2-pcr-public-key.pem").unlink()
        self.secure_boot(1)
        self.assertIn("this kernel was not started by its UEFI stub", self.options())
        (self.root / "cmdline").write_text("roothash=0 hallmark.unmeasured\n")
        self.assertEqual(self.options(), "--tpm2-pcrs=7")

    def test_no_pin_is_sealed(self):
        self.secure_boot(0)
        pins, to = self.root / "pins", self.root / "to"
        pins.mkdir()
        to.mkdir()
        (pins / "pin").write_text("123456")
        self.scripts.program("systemd-creds", f"touch {self.root}/sealed")
        done = self.scripts.run("seal-pins", pins, to)
        self.assertEqual((done.returncode, done.stderr.strip()), (1, self.OFF))
        self.assertFalse((self.root / "sealed").exists())

    def test_nothing_is_recovered(self):
        """The recovery key is not even read, for the state could not be sealed again."""
        self.secure_boot(0)
        done = self.scripts.run("recover-state")
        self.assertEqual((done.returncode, done.stderr.strip()), (1, self.OFF))
        self.assertFalse((self.root / "run/recovered").exists())


class StateTest(SealCase):
    """Which state partition is opened, and when one is made: sda is the disk that the box started from."""

    def setUp(self):
        super().setUp()
        self.secure_boot(1)
        (self.root / "tpm").touch()
        (self.root / "run/disk").write_text("/dev/sda\n")
        self.partition("sda1", "hallmark-esp")
        self.others("")
        self.scripts.program("systemd-repart", f'echo "$*" >{self.root}/made; touch {self.scripts.partition}')
        self.scripts.program("systemd-cryptsetup", f'echo "$*" >{self.root}/opened')

    def partition(self, name, label):
        folder = self.root / "sys/class/block/sda" / name
        folder.mkdir(parents=True)
        (folder / "uevent").write_text(f"DEVTYPE=partition\nPARTNAME={label}\n")

    def others(self, devices):
        self.scripts.program("blkid", f"printf '{devices}'; [ -n '{devices}' ]")

    def test_it_is_made_on_the_disk_that_the_box_started_from(self):
        done = self.scripts.run("open-state")
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex((self.root / "made").read_text(), r"--tpm2-pcrs=7 .* /dev/sda\n$")
        self.assertIn(f"attach state {self.scripts.partition} ", (self.root / "opened").read_text())

    def test_it_is_not_made_without_secure_boot(self):
        self.secure_boot(0)
        done = self.scripts.run("open-state")
        self.assertEqual((done.returncode, done.stderr.strip()), (1, self.OFF))
        self.assertFalse((self.root / "made").exists())

    def test_it_is_opened_where_it_is_there(self):
        self.partition("sda6", "hallmark-state")
        self.others("/dev/sda6\\n/dev/sdb6\\n")
        self.scripts.partition.touch()
        done = self.scripts.run("open-state")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertTrue((self.root / "opened").exists())
        self.assertFalse((self.root / "made").exists())

    @unittest.skipUnless(shutil.which("cryptsetup", path=f"{os.environ['PATH']}:/usr/sbin"), "not installed: cryptsetup")
    def test_a_state_that_does_not_open(self):
        """A recovery file is waited for where one can exist: the state has a key for it."""
        self.partition("sda6", "hallmark-state")
        (self.root / "tpm").write_bytes(bytes(64))
        self.scripts.program("systemd-cryptsetup", "exit 1")
        self.scripts.put(self.root / "libexec/recover-state", f"#!/bin/sh\ntouch {self.root}/asked\n")
        cheap = [shutil.which("cryptsetup", path=f"{os.environ['PATH']}:/usr/sbin"), "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
        key = self.root / "key"
        key.write_text("of the TPM")
        with open(self.scripts.partition, "wb") as partition:
            partition.truncate(20 << 20)
        subprocess.run([*cheap, "luksFormat", "--type", "luks2", self.scripts.partition, key], check=True)
        done = self.scripts.run("open-state")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("hallmark: the state partition does not open", done.stdout)
        self.assertIn("hallmark: It has no recovery key: put back what was changed, and start again; or write the image anew", done.stdout)
        self.assertFalse((self.root / "asked").exists())
        subprocess.run([*cheap, "luksAddKey", "--key-slot", "7", "--key-file", key, self.scripts.partition, key], check=True)
        done = self.scripts.run("open-state")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("put in the stick with the label HALLMARK and the file recovery on it", done.stdout)
        self.assertTrue((self.root / "asked").exists())

    def test_the_state_of_another_disk_is_not_taken_and_none_is_made_beside_it(self):
        self.others("/dev/sdb6\\n/dev/sdc6\\n")
        done = self.scripts.run("open-state")
        self.assertEqual((done.returncode, done.stdout), (1, "hallmark: /dev/sda, from which the box started, has no state, but there is one at "
                                                             "/dev/sdb6; leave one Hallmark disk in the machine, and start again\n"))
        self.assertFalse((self.root / "made").exists() or (self.root / "opened").exists())


class TryTokenTest(ScriptCase):
    """What a vendor's module is tried with."""

    def setUp(self):
        super().setUp()
        self.scripts.program("systemd-run", f'printf "%s\\n" "$@" >{self.root}/given')

    def test_it_has_the_devices_and_groups_of_the_configuration(self):
        done = self.scripts.run("try-token", "/files", "VENDOR_CONFIG VENDOR_LOG", "char-usb_device /dev/vendor0", "tty disk", "tokend",
                                "check-token", "a b")
        self.assertEqual(done.returncode, 0, done)
        given = (self.root / "given").read_text().splitlines()
        self.assertEqual(given[-3:], ["tokend", "check-token", "a b"])
        self.assertEqual(sorted(word for word in given[:-3] if word.startswith(("--property=D", "--property=S", "--setenv"))), [
            "--property=DeviceAllow=/dev/vendor0 rw", "--property=DeviceAllow=char-usb_device rw", "--property=SupplementaryGroups=disk",
            "--property=SupplementaryGroups=tty", "--setenv=VENDOR_CONFIG", "--setenv=VENDOR_LOG"])

    def test_it_has_none_of_its_own(self):
        self.assertEqual(self.scripts.run("try-token", "/files", "", "", "", "tokend").returncode, 0)
        given = (self.root / "given").read_text()
        self.assertNotIn("DeviceAllow", given)
        self.assertNotIn("SupplementaryGroups", given)

    def test_a_group_that_is_not_there(self):
        done = self.scripts.run("try-token", "/files", "", "", "vendor-hsm", "tokend")
        self.assertEqual((done.returncode, done.stderr), (1, "token.groups: there is no group vendor-hsm on this image; name one that the vendor's "
                                                             "packages make\n"))
        self.assertFalse((self.root / "given").exists())


class ProgramsTest(unittest.TestCase):
    """What the scripts call is on the image: not of a package whose files are taken out again."""

    @staticmethod
    def called(text):
        """Each word where a command can be. Strings and comments give some that are none."""
        text = re.sub(r"^\s*#.*$|\s#\s.*$", "", text, flags=re.MULTILINE)
        begins = r"(?:^|[;&|({!]|\$\(|\b(?:if|then|else|elif|while|until|do|exec|xargs)\b)\s*"
        return set(re.findall(rf"{begins}([a-z][\w.+-]*)(?=[\s;)]|$)", text, re.MULTILINE))

    def test_none_is_of_a_removed_package(self):
        firmware = paths.TESTS.parent / "firmware"
        removed = [line for line in (firmware / "image/removed").read_text().split("\n") if line and not line.startswith("#")]
        listed = subprocess.run(["dpkg-query", "-L", *removed], capture_output=True, text=True, check=False).stdout.split()
        gone = {pathlib.Path(path).name for path in listed if re.match(r"(/usr)?/s?bin/.", path)}
        self.assertIn("cmp", gone)
        scripts = [firmware / "image/init", *(path for tree in TREES for path in tree.glob("*/hallmark/*") if path.is_file())]
        words = {script.name: self.called(script.read_text()) for script in scripts}
        self.assertLessEqual({"openssl", "csplit", "basenc", "sync", "cryptsetup", "cp"}, words["make-recovery"])
        self.assertEqual({name: found for name, called in words.items() if (found := called & gone)}, {})


class UpdateTest(ScriptCase):
    def setUp(self):
        super().setUp()
        for program in ("sbverify", "veritysetup"):
            self.scripts.program(program)
        self.kernels, self.bundle = self.root / "efi/EFI/Linux", self.root / "bundle"
        self.kernels.mkdir(parents=True)
        self.bundle.mkdir()
        (self.root / "os-release").write_text("IMAGE_VERSION=0.1.0\n")
        self.kernel("hallmark_0.1.0.efi")

    def kernel(self, name):
        (self.kernels / name).write_text("a kernel image")

    def check(self, version):
        """Why update-check does not take it; empty where it does."""
        reason = self.root / "run/update.reason"
        reason.unlink(missing_ok=True)
        (self.bundle / "kernel.efi").write_text(f"\nIMAGE_VERSION={version}\nroothash={'0' * 64} \n")
        done = self.scripts.run("update-check", RAUC_BUNDLE_MOUNT_POINT=str(self.bundle))
        self.assertEqual(done.returncode == 0, not reason.exists(), done)
        return reason.read_text().strip() if reason.exists() else ""

    def test_what_was_given_up_stays_so(self):
        self.kernel("hallmark_0.2.0+0-3.efi")
        self.kernel("hallmark_0.0.9.efi")
        self.assertEqual(self.check("0.2.0"), "version 0.2.0 was tried, and did not sign")
        self.assertEqual(self.check("0.3.0"), "")
        self.assertEqual({path.name: path.stat().st_size > 0 for path in self.kernels.iterdir()},
                         {"hallmark_0.1.0.efi": True, "hallmark_0.2.0+0-3.efi": False})
        self.kernel("hallmark_0.3.0+0-3.efi")
        self.assertEqual(self.check("0.2.0"), "version 0.2.0 was tried, and did not sign")

    def test_the_console_shows_text(self):
        self.scripts.put(self.root / "libexec/trial", f". {self.root}/share/update.sh\nsay \"$WORDS\"\n")
        subprocess.run(["sh", self.root / "libexec/trial"], check=True, env={**os.environ, "WORDS": "a\\033[2Jb \x1b[2J\u009b2J\u202e%s.raucb"})
        self.assertEqual(self.scripts.console.read_bytes(), b"hallmark: update: a\\033[2Jb [2J2J%s.raucb\n")


if __name__ == "__main__":
    unittest.main()
