"""OpenDKIM as a verifying milter on a free loopback port: what it thinks of a message stands in the message's
Authentication-Results.

    with OpenDkim(hallmark.key_lines(["example.com"])) as verifier, Postfix(settings={"smtpd_milters": verifier.address}) as receiver:
        ...
    results(message)  # ["pass", "pass"]
"""

import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import deployment
import postfix
from waiting import wait_for

AUTHSERV_ID = "verifier.example"
_RESULTS = re.compile(rb"^Authentication-Results: " + re.escape(AUTHSERV_ID.encode()) + rb"((?:[^\r]|\r\n[ \t])*)\r\n", re.MULTILINE)


def results(message):
    """What OpenDKIM says of each DKIM-Signature of a message that passed it: "pass", "fail", "neutral", ...; "none" when there
    is none; [] when it did not see the message."""
    field = _RESULTS.search(message)
    return re.findall(r"\bdkim=(\w+)", field.group(1).decode("latin-1")) if field else []


def without_results(message):
    """The message without the field."""
    return _RESULTS.sub(b"", message, count=1)


class OpenDkim:
    """key_lines: lines `name TXT value` with the keys that it finds; it asks no DNS."""

    def __init__(self, key_lines=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-opendkim-"))
        self.port = postfix.free_port()
        self.address = f"inet:127.0.0.1:{self.port}"
        self.process = None
        try:
            self._start(key_lines)
        except BaseException:
            self.close()
            raise

    def _start(self, key_lines):
        (self.folder / "keys").touch()
        self.add_keys(key_lines)
        # No client is internal (192.0.2.1 is for documentation), so it verifies all mail.
        (self.folder / "opendkim.conf").write_text(
            f"Background no\nSyslog no\nMode v\nAuthservID {AUTHSERV_ID}\nAlwaysAddARHeader yes\nInternalHosts 192.0.2.1\n"
            f"Socket inet:{self.port}@127.0.0.1\nTestPublicKeys {self.folder}/keys\nTemporaryDirectory {self.folder}\n"
            f"On-Default accept\nMaximumHeaders 0\n")
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(["/usr/sbin/opendkim", "-f", "-x", self.folder / "opendkim.conf"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            preexec_fn=deployment.die_with_parent)
        wait_for(self._listens, "the start of OpenDKIM")

    def add_keys(self, key_lines):
        """OpenDKIM reads the file anew for each key that it looks for."""
        with open(self.folder / "keys", "a", encoding="ascii") as file:
            for line in key_lines:
                name, _, value = line.split(None, 2)
                file.write(f"{name.rstrip('.')} {value.rstrip()}\n")

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"OpenDKIM ended:\n{(self.folder / 'log').read_text(errors='replace')}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
