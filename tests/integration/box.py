"""A box that is not one: a folder with the files that hallmark-provision wants, its scripts replaced by ones that need no TPM and no
partition; with an operator who packs its configuration. The token and signerd's check are real."""

import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest

from deployment import BIN, die_with_parent
from waiting import wait_for

PROGRAM = str(BIN / "hallmark-provision")
BOX_TOML = """format = 1
revision = {revision}
host_name = "signer1.example.com"
certificate_names = ["DNS:signer1.example.com", "IP:127.0.0.1"]
files = ["hallmark.toml", "policy.toml", "tls/relay-ca.pem", "tls/admin-ca.pem"]
time_servers = ["ntp.example.com"]

[network]
addresses = ["192.0.2.10/24"]
gateways = ["192.0.2.1"]

[[domain]]
name = "example.com"
"""


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


def run(*arguments, status=0, **options):
    """hallmark-provision ARGUMENTS, which has to end with `status`."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done


class Operator:
    """A folder with a configuration, CAs, and keys to sign with."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.source = self.folder / "signer1"
        run("new", self.source, "--host-name", "signer1.example.com")
        for ca in ("relay-ca", "admin-ca"):
            self.make_certificate(self.folder / ca, self.source / "tls" / f"{ca}.pem")
        self.signer = self.make_signer("alice")
        self.write(1)

    def write(self, revision, change=lambda text: text):
        (self.source / "box.toml").write_text(change(BOX_TOML.format(revision=revision)))

    def make_certificate(self, key, certificate, *more):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={key.stem}",
                "-keyout", f"{key}.key", "-out", certificate, *more)

    def make_signer(self, name, *more):
        key = self.folder / name
        self.make_certificate(key, f"{key}.pem", *more)
        return key

    def pack(self, name="box.hallmark", signer=None, status=0):
        out = self.folder / name
        signer = signer or self.signer
        done = run("pack", "--config", self.source / "box.toml", "--sign-key", f"{signer}.key", "--sign-certificate", f"{signer}.pem", "--out",
                   out, status=status)
        return done if status else out

    def fingerprint(self, signer=None):
        done = subprocess.run(["openssl", "x509", "-in", f"{signer or self.signer}.pem", "-noout", "-fingerprint", "-sha256"],
                              check=True, capture_output=True, text=True)
        return done.stdout.strip().split("=")[1]


class Box:
    """The box's files, and its first boot as a process that someone can talk to."""

    def __init__(self, case):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-box-"))
        case.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        case.addCleanup(self.stop)
        self.operator = Operator(self.folder / "operator")
        self.root, self.stick, self.keyboard = self.folder / "root", self.folder / "stick", self.folder / "keyboard"
        self.config, self.state = self.root / "var/lib/hallmark-config", self.root / "var/lib/hallmark"
        self.process, self.log = None, self.folder / "console"
        # Further options, and what the program finds around it. It is killed at any instant: what it leaves in TMPDIR goes with the box.
        self.more, self.environment = [], {**os.environ, "TMPDIR": str(self.folder / "tmp")}
        (self.folder / "tmp").mkdir()
        os.mkfifo(self.keyboard)
        share, libexec = self.root / "usr/share/hallmark", self.root / "usr/libexec/hallmark"
        for folder in (share, libexec, self.config.parent):
            folder.mkdir(parents=True)
        (share / "softhsm2.conf").write_text("directories.tokendir = /var/lib/hallmark/softhsm\n")
        # What runs has shown that it signs: its kernel image has no counter of tries.
        self.kernels = self.root / "efi/EFI/Linux"
        self.kernels.mkdir(parents=True)
        (self.kernels / "hallmark_0.2.0.efi").touch()
        (self.root / "usr/lib").mkdir()
        (self.root / "usr/lib/os-release").write_text("ID=debian\nIMAGE_ID=hallmark\nIMAGE_VERSION=0.2.0\n")
        # They see what the TPM would be given, and leave something that is not it.
        self.script(libexec / "seal-pins", 'for pin in "$1"/*pin; do test -s "$pin"; echo "sealed ${pin##*/}" >"$2/${pin##*/}.cred"; done')
        self.script(libexec / "make-recovery", 'test -s "$1/pin"; grep -q BEGIN "$3"; echo "recovery key" >"$2"')
        self.recipients = self.root / "var/lib/hallmark-recovery/recipients.pem"
        self.script(libexec / "forget-recovery", f"rm {self.recipients}")
        # A vendor's module finds its part of the configuration, and its variables; and its HSM on the network that the configuration names.
        self.script(libexec / "try-token", 'test -s "$1/hallmark.toml"; for name in $2; do printenv "$name" >/dev/null; done\n'
                    'printf "%s\\n" "$3" "$4" >"${0%/*}/tried-with"; cp "$NETWORK" "${0%/*}/tried-on"; shift 4; exec "$@"')
        self.network = self.root / "run/systemd/network/70-hallmark.network"
        self.environment["NETWORK"] = str(self.network)

    @staticmethod
    def script(path, text):
        path.write_text("#!/bin/sh\nset -eu\n" + text + "\n")
        path.chmod(0o755)

    def owned_by(self, signer):
        shutil.copy(f"{signer}.pem", self.root / "usr/share/hallmark/owner-ca.pem")

    def put_in(self, packed):
        self.stick.mkdir(exist_ok=True)
        shutil.copy(packed, self.stick / "new")
        os.replace(self.stick / "new", self.stick / "box.hallmark")

    def command(self, listen="none"):
        return [PROGRAM, "first-boot", "--root", str(self.root), "--stick", str(self.stick), "--console", str(self.keyboard), "--user", "root",
                "--push-listen", listen, *self.more]

    def start(self, listen="none", **options):
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.command(listen), stdout=log, stderr=log, preexec_fn=die_with_parent, env=self.environment,
                                            **options)

    def boot(self):
        """A start of a box that is set up."""
        done = subprocess.run(self.command(), capture_output=True, text=True, timeout=60, env=self.environment)
        assert done.returncode == 0, done
        return done.stdout

    def says(self):
        return self.log.read_text(encoding="utf-8")

    def wait_says(self, text):
        wait_for(lambda: text in self.says(), lambda: f"the console says {text!r}; it says {self.says()}")

    def type(self, text):
        with open(self.keyboard, "w", encoding="utf-8") as keyboard:
            keyboard.write(text + "\n")

    def wait_set_up(self):
        self.wait_says("hallmark: set up")
        assert self.process.wait(60) == 0, self.says()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


class ProvisionCase(unittest.TestCase):
    """A box and its operator; what it has once it is set up."""

    def setUp(self):
        self.box = Box(self)
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

    def with_recipients(self, revision=1, certificate="alice.pem"):
        """Those who may recover the state: whom `certificate` names, or those of before."""
        self.operator.write(revision, lambda text: text.replace('"tls/relay-ca.pem"', '"recipients.pem", "tls/relay-ca.pem"'))
        if certificate:
            (self.operator.source / "recipients.pem").write_bytes((self.operator.folder / certificate).read_bytes())

    def check_not_set_up(self):
        self.assertFalse(self.box.config.exists())
        self.assertFalse(self.box.state.exists())
