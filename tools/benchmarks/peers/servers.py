"""The signing daemons of peers, each in a temporary folder of its own, with an RSA-2048 key as PEM and relaxed/relaxed.

They listen on a Unix socket in that folder, write nowhere else, ask no DNS, and end with this process. Both are set up for
signing alone, which is to their favour: in use they do more.
"""

import base64
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import bodies
from errors import PeerError
from milter_peer import MilterPeer
from rspamd_client import RspamdConnection

SELECTOR = "bench"
START_SECONDS = 20


def end_with_parent():
    """For subprocess: the child gets SIGTERM when this process ends. Not SIGKILL: rspamd's workers would survive that."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def make_key(path):
    """Writes an RSA-2048 key as PEM and returns its TXT record."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ImportError:
        raise PeerError("python3-cryptography is missing; apt-get install python3-cryptography") from None
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                            serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(pem)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def descendants(pid):
    """A process and all that it has started, by pid."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found


def cpu_seconds(pid):
    """User and system time of a process, with all its threads, and of all that it has started."""
    ticks = 0
    for one in descendants(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Daemon:
    """A signing daemon. Its subclasses say how it is set up (command) and spoken to (connect)."""
    program = package = ""

    def __init__(self):
        if not os.access(self.program, os.X_OK):
            raise PeerError(f"{self.program} is missing; apt-get install {self.package}")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-bench-"))
        self.socket, self.key, self.log = (self.folder / name for name in ("socket", "key.pem", "log"))
        self.process = None

    def __enter__(self):
        try:
            self.record = make_key(self.key)
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen([str(word) for word in self.command()], stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=log, cwd=self.folder, preexec_fn=end_with_parent)
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in descendants(self.process.pid):
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self):
        """Writes the configuration and returns the command."""
        raise NotImplementedError

    def connect(self):
        """A connection: an object with prepare(message), sign(prepared) and close()."""
        raise NotImplementedError

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace").strip().splitlines() or ["nothing"]
                raise PeerError(f"{self.program} did not start; it said: {said[-1]}")
            time.sleep(0.05)

    def _listens(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0


class OpenDkim(Daemon):
    """OpenDKIM's filter. One process; libmilter gives connections to a pool of threads."""
    program, package = "/usr/sbin/opendkim", "opendkim"

    def command(self):
        config = self.folder / "opendkim.conf"
        # RequireSafeKeys would refuse a key anywhere below /tmp, which all may write.
        config.write_text(f"""\
Background no
Syslog no
Mode s
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
Domain {bodies.DOMAIN}
Selector {SELECTOR}
KeyFile {self.key}
RequireSafeKeys no
InternalHosts 127.0.0.1
Socket local:{self.socket}
UMask 077
TemporaryDirectory {self.folder}
""")
        return [self.program, "-f", "-x", config]

    def connect(self):
        return MilterPeer(self.socket)


class Rspamd(Daemon):
    """rspamd with no module but dkim_signing, and a worker for each core. It still takes the text apart into words, as it does
    with every message: nothing in its configuration stops that."""
    program, package = "/usr/bin/rspamd", "rspamd"
    plugin = "/usr/share/rspamd/plugins/dkim_signing.lua"

    def command(self):
        # What /usr/share/rspamd/rules/rspamd.lua sets up, without any rule.
        rules = self.folder / "no_rules.lua"
        rules.write_text("require 'global_functions' ()\nconfig['regexp'] = {}\nrspamd_maps = {}\n")
        domains = self.folder / "tld.dat"  # Its own list is long to load, and only URLs need it.
        domains.write_text("com\n")
        config = self.folder / "rspamd.conf"
        config.write_text(f"""\
options {{
  pidfile = "{self.folder}/pid";
  control_socket = "{self.folder}/control mode=0600";
  cache_file = "{self.folder}/symbols.cache";
  history_file = "{self.folder}/history";
  hs_cache_dir = "{self.folder}";
  tempdir = "{self.folder}";
  url_tld = "{domains}";
  filters = "dkim";
  disable_hyperscan = true;
}}
lang_detection {{ languages = []; }}
logging {{ type = "console"; level = "warning"; }}
worker "normal" {{ bind_socket = "{self.socket} mode=0600"; count = {os.cpu_count()}; }}
modules {{ path = "{self.plugin}"; }}
lua = "{rules}";
dkim_signing {{
  use_domain = "header";
  check_pubkey = false;
  allow_username_mismatch = true;
  domain {{ "{bodies.DOMAIN}" {{ path = "{self.key}"; selector = "{SELECTOR}"; }} }}
}}
""")
        return [self.program, "-f", "-i", "-c", config]  # -i: root may run it

    def connect(self):
        return RspamdConnection(self.socket)


DAEMONS = {"opendkim": OpenDkim, "rspamd": Rspamd}
