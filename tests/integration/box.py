"""A box that is not one: a folder with the files that hallmark-provision wants, its scripts replaced by ones that need no TPM and no
partition; with an operator who packs its configuration. The token and signerd's check are real."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

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
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


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
        self.more, self.environment = [], dict(os.environ)  # further options, and what the program finds around it
        os.mkfifo(self.keyboard)
        share, libexec = self.root / "usr/share/hallmark", self.root / "usr/libexec/hallmark"
        for folder in (share, libexec, self.config.parent):
            folder.mkdir(parents=True)
        (share / "softhsm2.conf").write_text("directories.tokendir = /var/lib/hallmark/softhsm\n")
        # They see what the TPM would be given, and leave something that is not it.
        self.script(libexec / "seal-pins", 'for pin in "$1"/*pin; do test -s "$pin"; echo "sealed ${pin##*/}" >"$2/${pin##*/}.cred"; done')
        self.script(libexec / "make-recovery", 'test -s "$1/pin"; grep -q BEGIN "$3"; echo "recovery key" >"$2"')

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
