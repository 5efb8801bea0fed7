"""The box's scripts, on a partition that is a file: the new recovery key after a recovery, and what update-check leaves. The TPM, and what
looks at a bundle's signature and hash tree, are not there: firmware/test has them."""

import os
import pathlib
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
                  "/var/lib": root / "var", "/efi": root / "efi", "/dev/console": self.console, "/usr/lib/os-release": root / "os-release",
                  "/dev/disk/by-partlabel/hallmark-state": self.partition}
        for folder in ("libexec", "share", "run", "var", "bin"):
            (root / folder).mkdir()
        for tree in TREES:
            for path in [*tree.glob("libexec/hallmark/*"), *tree.glob("share/hallmark/*.sh")]:
                text = path.read_text()
                for there, here in places.items():
                    text = text.replace(there, str(here))
                self.put(places["/usr/" + str(path.parent.relative_to(tree))] / path.name, text)

    @staticmethod
    def put(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def program(self, name, text="exit 0"):
        self.put(self.bin / name, f"#!/bin/sh\nset -eu\n{text}\n")

    def run(self, name, **environment):
        return subprocess.run([self.root / "libexec" / name], capture_output=True, text=True, timeout=120, check=False,
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
