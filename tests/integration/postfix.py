"""A real Postfix in a folder of its own: services on free loopback ports, mail to Maildirs or to another server.

    with Postfix(settings={"smtpd_milters": "inet:127.0.0.1:8891"}) as relay:
        relay.send("alice@example.com", "bob@example.org", message)
        relay.maildir.wait(1)

It neither reads nor writes anything of the system's own Postfix. All of it ends with this process. Postfix must be started
by root, from which its services then go down to the user "postfix".
"""

import contextlib
import dataclasses
import grp
import os
import pathlib
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile

from waiting import wait_for

DAEMONS = "/usr/lib/postfix/sbin"
WAIT_SECONDS = 60  # How long mail may be on its way before a test gives up.

# Services as master.cf of the package has them, without chroot. But for qmgr's wake-up: with delays as short as below, it may
# look at a deferred message while its delivery just ends ("skipped, still being delivered"), and then leaves it until it is woken.
SERVICES = """\
pickup     unix n - n 60   1 pickup
cleanup    unix n - n -    0 cleanup
qmgr       unix n - n 1    1 qmgr
tlsmgr     unix - - n 1000 1 tlsmgr
rewrite    unix - - n -    - trivial-rewrite
bounce     unix - - n -    0 bounce
defer      unix - - n -    0 bounce
trace      unix - - n -    0 bounce
verify     unix - - n -    1 verify
flush      unix n - n 1000 0 flush
proxymap   unix - - n -    - proxymap
smtp       unix - - n -    - smtp
showq      unix n - n -    - showq
error      unix - - n -    - error
retry      unix - - n -    - error
discard    unix - - n -    - discard
virtual    unix - n n -    - virtual
anvil      unix - - n -    1 anvil
scache     unix - - n -    1 scache
postlog    unix-dgram n - n - 1 postlogd
"""

# Who may send is not what is tested, so everyone on loopback may. What can be delivered goes to the Maildir unless
# `transport_maps` says otherwise. Mail that was deferred is tried again soon.
SETTINGS = {
    "compatibility_level": "3.6",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "mydestination": "",
    "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, reject",
    "smtpd_peername_lookup": "no",
    "smtp_dns_support_level": "disabled",
    "default_transport": "virtual",
    "virtual_mailbox_domains": "",
    "virtual_mailbox_maps": "static:inbox/",
    "virtual_minimum_uid": "1",
    "alias_maps": "",
    "biff": "no",
    "message_size_limit": "120000000",
    "virtual_mailbox_limit": "0",
    "mailbox_size_limit": "0",
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "1s",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_error_sleep_time": "0",
}


def free_port():
    """A port on 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclasses.dataclass
class Delivered:
    sender: str      # MAIL FROM, "" for a bounce
    recipient: str   # RCPT TO
    message: bytes   # as it came over the wire, with CRLF


class Maildir:
    """What was delivered."""

    # What virtual(8) puts on top; its lines end in LF.
    _ADDED = re.compile(rb"Return-Path: <([^\n]*)>\nX-Original-To: ([^\n]*)\nDelivered-To: [^\n]*\n")

    def __init__(self, folder):
        self._new = pathlib.Path(folder) / "new"

    def count(self):
        return len(os.listdir(self._new)) if self._new.is_dir() else 0

    def wait(self, count):
        """Waits until so many messages are there. Returns read()."""
        wait_for(lambda: self.count() >= count, f"delivery of {count} messages")
        return self.read()

    def read(self):
        """[Delivered], in no certain order."""
        return [self._parse(path.read_bytes()) for path in sorted(self._new.iterdir())] if self._new.is_dir() else []

    def _parse(self, content):
        added = self._ADDED.match(content)
        sender, recipient = (word.decode("utf-8", "replace") for word in added.groups())
        return Delivered(sender, recipient, content[added.end():].replace(b"\n", b"\r\n"))

    def clear(self):
        for path in self._new.iterdir() if self._new.is_dir() else ():
            path.unlink()


class Postfix:
    """One instance.

    services    {name: {setting: value}}: the SMTP services, with what each has other than main.cf; names are ours
    settings    what main.cf has other than SETTINGS
    users       {"name@realm": password}: who may authenticate where smtpd_sasl_auth_enable is set
    ports       {name of a service: port}, where it must be known before
    folder      where the temporary folder is made; the queue is in it
    """

    def __init__(self, services=None, settings=None, users=None, folder=None, hostname="mail.example", ports=None):
        if os.geteuid() != 0:
            raise AssertionError("Postfix can be started by root only; run the tests as root")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-postfix-", dir=folder))
        self.folder.chmod(0o755)  # The services run as "postfix".
        self.ports = {name: free_port() for name in (services or {"smtp": {}})} | (ports or {})
        self.maildir = Maildir(self.folder / "mail" / "inbox")
        self.process = self._guard = None
        self._config = self.folder / "etc"
        self._services, self._settings = services or {"smtp": {}}, settings or {}
        try:
            self._write(hostname, users or {})
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Set-up.

    def _write(self, hostname, users):
        user = pwd.getpwnam("postfix")
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(self.folder / name, user.pw_uid, user.pw_gid)
        settings = {
            **SETTINGS, "myhostname": hostname, "queue_directory": self.folder / "queue", "data_directory": self.folder / "data",
            "daemon_directory": DAEMONS, "command_directory": "/usr/sbin", "mail_owner": "postfix", "setgid_group": "postdrop",
            "maillog_file": self.folder / "log", "maillog_file_prefixes": self.folder, "virtual_mailbox_base": self.folder / "mail",
            "virtual_uid_maps": f"static:{user.pw_uid}", "virtual_gid_maps": f"static:{user.pw_gid}", **self._settings}
        (self._config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        lines = [SERVICES]
        for name, own in self._services.items():
            options = "".join(f" -o {{{option}={value}}}" for option, value in own.items())
            lines.append(f"127.0.0.1:{self.ports[name]} inet n - n - - smtpd{options}\n")
        (self._config / "master.cf").write_text("".join(lines))
        for name in ("main.cf", "master.cf"):  # Postfix does not read a file until it has rested for over a second.
            os.utime(self._config / name, (0, 0))
        if users:
            self._write_users(users, user)
        self._make_queue(user)

    def _write_users(self, users, user):
        """Cyrus SASL with a database of its own; Debian's Postfix looks for its settings in the folder sasl beside main.cf."""
        folder = self._config / "sasl"
        folder.mkdir()
        database = folder / "sasldb"
        (folder / "smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN\n")
        for name, password in users.items():
            local, _, realm = name.partition("@")
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", database, "-u", realm, local], input=password, text=True, check=True)
        os.chown(database, user.pw_uid, user.pw_gid)

    def _make_queue(self, user):
        """The folders of a queue as the package's postfix-files lists them."""
        queue, postdrop = self.folder / "queue", grp.getgrnam("postdrop").gr_gid
        (queue / "pid").mkdir(0o755)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            (queue / name).mkdir(0o700)
            os.chown(queue / name, user.pw_uid, 0)
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            (queue / name).mkdir()
            os.chown(queue / name, user.pw_uid, postdrop)
            (queue / name).chmod(mode)

    # Life.

    def start(self):
        self.process = subprocess.Popen([f"{DAEMONS}/master", "-c", self._config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, cwd="/")
        # die_with_parent() is lost when master changes its effective user. This ends master when the other end of its standard
        # input is closed, which happens however this process ends.
        self._guard = subprocess.Popen(["/bin/sh", "-c", 'read -r _; kill -TERM "$0"', str(self.process.pid)], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(self._serves, "the start of Postfix")

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"Postfix ended with {self.process.returncode}:\n{self.log_text()}")
        with contextlib.suppress(OSError, smtplib.SMTPException):
            for service in self.ports:
                self.connect(service).quit()
            return True

    def stop(self):
        """Ends Postfix; what is in its queue stays. master ends its services with its process group."""
        process, self.process = self.process, None
        if process is None:
            return
        self._guard.kill()  # First: master's pid may be another's later.
        self._guard.wait()
        self._guard.stdin.close()
        group = process.pid  # master leads a process group of its own.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        wait_for(lambda: not _group_lives(group), "the end of Postfix's services")

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log_text(self):
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    # Mail.

    def connect(self, service=None, source="127.0.0.1", timeout=WAIT_SECONDS):
        """An smtplib connection to a service (the first by default), from an address of 127.0.0.0/8."""
        return smtplib.SMTP("127.0.0.1", self.ports[service or next(iter(self.ports))], local_hostname="client.example", timeout=timeout,
                            source_address=(source, 0))

    def send(self, sender, recipients, message, service=None, source="127.0.0.1", user=None, tls=None, options=()):
        """Sends a message (octets in wire form), after STARTTLS with the SSLContext `tls`, as `user` (name, password). Returns
        (code, text) of the first answer that refuses it, or of the last one."""
        with self.connect(service, source) as smtp:
            if tls:
                smtp.starttls(context=tls)
            if user:
                smtp.login(*user)
            return transaction(smtp, sender, [recipients] if isinstance(recipients, str) else recipients, message, options)

    def queued(self):
        """How many messages are in the queue."""
        queue = self.folder / "queue"
        return sum(len(files) for name in ("maildrop", "incoming", "active", "deferred", "hold")
                   for _, _, files in os.walk(queue / name))

    def flush(self):
        """Tries at once what was deferred."""
        subprocess.run(["postqueue", "-c", self._config, "-f"], check=True)

    def submit(self, sender, recipient, message):
        """Sends a message as a program on the host does, by sendmail(1); `message` has LF line ends."""
        subprocess.run(["/usr/sbin/sendmail", "-C", self._config, "-i", "-f", sender, recipient], input=message, check=True)


def transaction(smtp, sender, recipients, message, options=()):
    """One message on an open connection."""
    smtp.ehlo_or_helo_if_needed()
    code, text = smtp.mail(sender, list(options))
    for recipient in recipients:
        if code >= 400:
            break
        code, text = smtp.rcpt(recipient)
    if code < 400:
        code, text = smtp.data(message)
    if code >= 400:
        with contextlib.suppress(smtplib.SMTPException):
            smtp.rset()
    return code, text.decode("utf-8", "replace")


def _group_lives(group):
    """Whether a process of the group runs; one that only waits to be reaped does not."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                return True
    return False
