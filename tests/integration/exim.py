"""A real Exim in a folder of its own, from Debian's package, which tools/check unpacks: it cannot be installed beside Postfix.

    with Exim(transport_lines, next_hop_port) as relay:
        relay.send("alice@example.com", ["bob@example.org"], message)

What goes out passes through the transport that the recipe changes, to one server on loopback.
"""

import os
import pathlib
import shutil
import smtplib
import subprocess
import tempfile
import time

import deployment
import postfix
from waiting import wait_for

PROGRAM = deployment.BUILD / "exim/usr/sbin/exim4"
WAIT_SECONDS = 60

WRAPPER = "/usr/$LIB/libnss_wrapper.so"
# It insists on its user, which only the package's script makes; nss_wrapper lets it see one.
USER = "Debian-exim:x:60100:60100::/nonexistent:/usr/sbin/nologin\n"
GROUP = "Debian-exim:x:60100:\n"

CONFIGURATION = """\
exim_path = {program}
deliver_drop_privilege
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = {folder}/spool
log_file_path = {folder}/log/%s
pid_file_path = {folder}/exim.pid
primary_hostname = relay.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept

begin routers

outbound:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = remote_smtp

begin transports

remote_smtp:
  driver = smtp
  port = {next_hop}
  allow_localhost
  hosts_avoid_tls = *
{transport_lines}

begin retry

* * F,1h,1s
"""


def installed():
    return PROGRAM.is_file()


class Exim:
    """transport_lines: what the recipe adds to the transport. next_hop: the port that all mail goes to."""

    def __init__(self, transport_lines, next_hop):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-exim-"))
        self.port = postfix.free_port()
        self.process = None
        try:
            self.folder.chmod(0o755)
            for name in ("spool", "log"):
                (self.folder / name).mkdir()
                shutil.chown(self.folder / name, 60100, 60100)
            self._environment = {**os.environ, "LD_PRELOAD": WRAPPER}
            for name, line in (("passwd", USER), ("group", GROUP)):
                path = self.folder / name
                path.write_text(pathlib.Path("/etc", name).read_text() + line)
                self._environment[f"NSS_WRAPPER_{name.upper()}"] = str(path)
            self._config = self.folder / "exim.conf"
            self._config.write_text(CONFIGURATION.format(program=PROGRAM, folder=self.folder, port=self.port, next_hop=next_hop, transport_lines="".join(
                f"  {line}\n" for line in transport_lines)))
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, *arguments):
        return subprocess.run([PROGRAM, "-C", self._config, *arguments], env=self._environment, capture_output=True, text=True, check=False,
                              timeout=WAIT_SECONDS)

    def _start(self):
        self.process = subprocess.Popen([PROGRAM, "-C", self._config, "-bdf", "-q1s"], env=self._environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=deployment.die_with_parent)
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                smtplib.SMTP("127.0.0.1", self.port, timeout=10).quit()
                return
            except (OSError, smtplib.SMTPException):
                time.sleep(0.02)
        raise AssertionError(f"Exim did not start: {self.log_text()}")

    def send(self, sender, recipients, message):
        """Hands a message in by SMTP."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=WAIT_SECONDS) as session:
            session.sendmail(sender, recipients, message)

    def queued(self):
        """How many messages are on the queue."""
        return int(self._run("-bpc").stdout)

    def await_log(self, text):
        """Waits until the main log has this text."""
        wait_for(lambda: text in self.log_text(), lambda: f"{text!r} in Exim's log:\n{self.log_text()}")

    def log_text(self):
        path = self.folder / "log/main"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait(WAIT_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)
