"""A TPM 2.0 in software (swtpm), reached as on a real box: a resource manager in between, and tpm2-pkcs11 on top.

    with SoftTpm(folder) as tpm:
        tpm.make_token("hallmark-tpm", pin_file)
        tpm.environment   # what tpm2-pkcs11 needs, in the environment of whoever loads it
        tpm.power_off()   # and its resource manager with it
        tpm.start()       # the same TPM again

A real box has a resource manager in its kernel (/dev/tpmrm0); here it is tpm2-abrmd on a message bus of its own. Everything is
on loopback or in the folder, and ends by its own process id.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import time

import deployment

MODULE = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/libtpm2_pkcs11.so.1"))), None)
PROGRAMS = ("swtpm", "tpm2-abrmd", "tpm2_getcap", "dbus-daemon")

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow eavesdrop="false"/><allow own="*"/></policy></busconfig>
"""


def why_not():
    """Why there can be no such TPM here; empty where there can."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if MODULE is None:
        missing.append("libtpm2_pkcs11.so.1")
    return f"not installed: {', '.join(missing)}" if missing else ""


def _two_free_ports():
    """A port and the one after it: swtpm's users expect its control channel there."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            try:
                second.bind(("127.0.0.1", first.getsockname()[1] + 1))
            except (OSError, OverflowError):
                continue
            return first.getsockname()[1]


class SoftTpm:
    """One TPM whose state is in `folder`. A client may have so many `objects` in it at once (tpm2-abrmd's own default)."""

    def __init__(self, folder, objects=27):
        self.folder, self.objects = pathlib.Path(folder), objects
        for name in ("state", "store"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "bus.conf").write_text(BUS.format(folder=self.folder))
        self._port = _two_free_ports()
        self._running = {}
        # Without TSS2_LOG the libraries below the module write a line for each refusal to standard error.
        self.environment = {"TPM2_PKCS11_STORE": str(self.folder / "store"), "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
                            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder}/bus", "TSS2_LOG": "all+NONE"}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Starts what does not run."""
        try:
            if "dbus-daemon" not in self._running:
                self._run("dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork")
                self._wait((self.folder / "bus").exists)
            self._run("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}/state", "--server",
                      f"type=tcp,port={self._port},bindaddr=127.0.0.1", "--ctrl",
                      f"type=tcp,port={self._port + 1},bindaddr=127.0.0.1", "--flags", "not-need-init,startup-clear")
            self._wait(lambda: self._listens(self._port + 1))
            self._run("tpm2-abrmd", "--session", "--allow-root", f"--max-transients={self.objects}",
                      f"--tcti=swtpm:host=127.0.0.1,port={self._port}")
            self._wait(lambda: self.tool("tpm2_getcap", "properties-fixed", check=False).returncode == 0)
        except BaseException:
            self.stop()
            raise

    def power_off(self):
        """As a power cut: the TPM is told nothing."""
        for program in ("tpm2-abrmd", "swtpm"):
            self._end(program)

    def stop(self):
        """That, and the message bus too."""
        self.power_off()
        self._end("dbus-daemon")
        (self.folder / "bus").unlink(missing_ok=True)

    def _run(self, *command):
        with open(self.folder / f"{command[0]}.log", "ab") as log:
            self._running[command[0]] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=deployment.die_with_parent,
                env={**os.environ, **self.environment})

    def _end(self, program):
        process = self._running.pop(program, None)
        if process:
            process.kill()
            process.wait()

    def _wait(self, there):
        deadline = time.monotonic() + deployment.START_SECONDS
        while not there():
            ended = [process.args[0] for process in self._running.values() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))
                raise AssertionError(f"the TPM does not start; ended: {ended}\n{logs}")
            time.sleep(0.02)

    @staticmethod
    def _listens(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def tool(self, *command, check=True):
        """Runs one of the tpm2 tools. Returns the finished process (text)."""
        tcti = self.environment["TPM2_PKCS11_TCTI"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=check, stdin=subprocess.DEVNULL,
                              env={**os.environ, **self.environment, "TPM2TOOLS_TCTI": tcti})

    def make_token(self, label, pin_file):
        """As an operator does: tokend makes it, with the PIN in a file, which is the security officer's too."""
        self.tool(deployment.BIN / "tokend", "init-token", "--module", MODULE, "--token-label", label, "--pin-source", pin_file,
                  "--so-pin-source", pin_file)

    def wrong_tries(self):
        """How many wrong PINs the TPM has counted (TPM2_PT_LOCKOUT_COUNTER)."""
        for line in self.tool("tpm2_getcap", "properties-variable").stdout.splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "TPM2_PT_LOCKOUT_COUNTER":
                return int(value, 0)
        raise AssertionError("the TPM does not say how many wrong PINs it counted")
