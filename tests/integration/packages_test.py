"""The Debian packages, as tools/package makes them of what is built: installed, run, upgraded, removed and purged.

The services run under systemd with all their restrictions, in a throwaway machine (machine.py).
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import deployment
import machine
import paths

ROOT = paths.TESTS.parent
PACKAGES = deployment.BUILD / "packages"
DEBIAN = {"hallmark-signerd", "hallmark-tools", "hallmark-milter", "libhallmark-relay0", "libhallmark-relay-dev"}
SERVICES = ("hallmark-signerd", "hallmark-milter")

# What docs/operations.md has a person do, with the certificates of a trial set-up in place of the organisation's own.
CONFIGURE = r"""
dkimctl init --dir /root/trial >/dev/null
cd /root/trial
install -m 644 tls/*.pem /etc/hallmark/tls
install -m 640 -g hallmark tls/server.key /etc/hallmark/tls
install -m 640 -g hallmark-milter tls/relay1.key /etc/hallmark/tls
sed -i 's/uri:example:operator:alice/uri:hallmark:operator:admin/; s/uri:example:operator:bob/uri:hallmark:operator:officer2/' \
  /etc/hallmark/hallmark.toml
sed -i 's/dns:relay1.example.com/dns:relay1.localdomain/' /etc/hallmark/policy.toml
mkdir -p /var/lib/hallmark/softhsm
SOFTHSM2_CONF=/etc/hallmark/softhsm2.conf /usr/libexec/hallmark/tokend init-token --token-label hallmark \
  --module /usr/lib/softhsm/libsofthsm2.so --pin-source secrets/pin --so-pin-source secrets/so-pin
chown -R hallmark:hallmark /var/lib/hallmark
systemd-creds encrypt --name=pin secrets/pin /etc/hallmark/pin.cred
install -d -o hallmark-milter -g postfix -m 2750 /var/spool/postfix/hallmark-milter
sed -i 's,^listen = \[.*,listen = ["inet:127.0.0.1:8891"\, "unix:/var/spool/postfix/hallmark-milter/milter.sock"],' \
  /etc/hallmark/milter.toml
signerd --check
dkim-milter --check
"""

MESSAGE = b"From: alice@example.com\r\nTo: bob@example.org\r\nSubject: From a package\r\n\r\nHello\r\n"

# Sends /srv/message.eml through the milter as an MTA does, and writes what comes of it.
SEND = """
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "{folder}")
import milter_client
with milter_client.MilterConnection(sys.argv[1]) as mta:
    mta.negotiate()
    answer = mta.submit(milter_client.Mail(open("/srv/message.eml", "rb").read()))
assert answer.verdict in (milter_client.CONTINUE, milter_client.ACCEPT), answer
sys.stdout.write(answer.message.decode())
"""

# Uses the library as it is installed.
RELAY = """
#include <hallmark/relay_client.h>
int main() { return hallmark::relay::Client::Connect({}).failure->reason == "INVALID_SETTINGS" ? 0 : 1; }
"""

# What docs/relays.md and the example's head have a person do. The name is what the server's certificate says.
PYTHON_EXAMPLE = r"""
mkdir /tmp/python
cd /tmp/python
cp /usr/share/doc/libhallmark-relay-dev/examples/python/sign.py .
protoc -I /usr/share/hallmark/proto --python_out=. --grpc_python_out=. --plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin \
  hallmark/signing/v1/signing.proto google/rpc/status.proto google/rpc/error_details.proto
cd /root/trial/tls
/usr/bin/python3 -B /tmp/python/sign.py 127.0.0.1:8461 server-ca.pem relay1.pem relay1.key localhost < /srv/message.eml
"""

# What a page says that is somewhere: a path of ours below /usr/share or /usr/include, or another page.
NAMED_PATH = re.compile(r"/usr/(?:share|include)/[\w./-]*hallmark[\w./-]*")
NAMED_PAGE = re.compile(r"(?:\]\(|\bdocs/)([a-z]+\.md)\b")


def packages():
    return sorted(PACKAGES.glob("*.deb"))


def contents(package):
    """The paths of a package's files, and of its folders without the final slash."""
    listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    names = subprocess.run(["tar", "--list"], input=listed, check=True, capture_output=True).stdout.decode()
    return {name.lstrip(".").rstrip("/") for name in names.splitlines()}


commit_time = ""


def setUpModule():
    global commit_time
    commit_time = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%ct"], check=True, capture_output=True,
                                 text=True).stdout.strip()
    subprocess.run([ROOT / "tools/package", "--no-build"], check=True, stdout=subprocess.DEVNULL, timeout=600)


def next_version(package, folder):
    """The same package, one revision later, with one more line in each of its conffiles. Returns its file."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*-)1$", r"\g<1>2", control.read_text(), flags=re.MULTILINE))
    conffiles = tree / "DEBIAN/conffiles"
    for name in conffiles.read_text().split() if conffiles.exists() else ():
        with open(tree / name.lstrip("/"), "a", encoding="utf-8") as file:
            file.write("# of the next version\n")
    later = folder / package.name.replace("-1_", "-2_")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, later], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return later


class Files(unittest.TestCase):
    def test_all_packages_are_made(self):
        self.assertEqual({path.name.split("_")[0] for path in packages()}, DEBIAN)
        changelog = re.match(r"hallmark \((\S+)\)", (ROOT / "tools/packaging/changelog").read_text()).group(1)
        self.assertEqual({path.name.split("_")[1] for path in packages()}, {changelog})

    @unittest.skipUnless(shutil.which("lintian"), "lintian is not installed")
    def test_lintian_finds_nothing(self):
        run = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *packages()], capture_output=True, text=True,
                             check=False, timeout=300)
        self.assertEqual((run.returncode, run.stdout), (0, ""))

    def test_what_a_page_names_is_in_a_package(self):
        everything = set().union(*map(contents, packages()))
        shipped = {path.name for path in (ROOT / "docs").glob("*.md")} & {path.rpartition("/")[2] for path in everything}
        self.assertLessEqual({"operations.md", "relays.md", "api.md"}, shipped)
        for name in shipped:
            with self.subTest(name):
                text = (ROOT / "docs" / name).read_text()
                self.assertLessEqual(set(NAMED_PAGE.findall(text)), shipped)
                self.assertLessEqual({path.rstrip("/.") for path in NAMED_PATH.findall(text)}, everything)

    def test_all_of_the_examples_are_in_it(self):
        [package] = PACKAGES.glob("libhallmark-relay-dev_*.deb")
        folder = "tools/relay-client/examples"
        tracked = subprocess.run(["git", "-C", ROOT, "ls-files", folder], check=True, capture_output=True, text=True).stdout.split()
        wanted = {name.replace(folder, "/usr/share/doc/libhallmark-relay-dev/examples") for name in tracked}
        self.assertLessEqual(wanted, contents(package))

    def test_the_same_files_give_the_same_package(self):
        with tempfile.TemporaryDirectory() as again:
            subprocess.run(["cpack", "--config", "CPackConfig.cmake", "-D", "CPACK_COMPONENTS_ALL=relay-dev", "-B", again],
                           cwd=deployment.BUILD, check=True, capture_output=True, timeout=300,
                           env={**os.environ, "SOURCE_DATE_EPOCH": commit_time})
            made, = pathlib.Path(again).glob("*.deb")
            self.assertEqual(made.read_bytes(), (PACKAGES / made.name).read_bytes())


@unittest.skipIf(machine.why_not(), machine.why_not())
class Life(unittest.TestCase):
    """One machine, from the first installation to the purge."""

    def setUp(self):
        self.machine = machine.Machine()
        self.addCleanup(self.machine.close)
        (self.machine.share / "message.eml").write_bytes(MESSAGE)
        (self.machine.share / "send.py").write_text(SEND.format(folder=paths.TESTS / "integration"))
        self.machine.share.chmod(0o755)
        for package in packages():
            shutil.copy(package, self.machine.share)

    def install(self, *files):
        names = [f"/srv/{file.name}" for file in files]
        # An image of a container may leave manual pages out.
        return self.machine.run("dpkg", "--path-include=/usr/share/*", "--force-confold", "--install", *names).stdout

    def state(self, service):
        """What systemd says of a service: {"ActiveState": "active", ...}"""
        text = self.machine.run("systemctl", "show", service).stdout
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def states(self, name):
        return [self.state(service).get(name) for service in SERVICES]

    def start(self, *services):
        run = self.machine.run("systemctl", "start", *services, status=None)
        if run.returncode:
            self.fail(run.stdout + self.machine.run("journalctl", "--no-pager", "--lines=50").stdout)

    def ctl(self, *arguments):
        return self.machine.run("dkimctl", "--dir", "/root/trial", *arguments).stdout

    def send(self, address, user):
        """A message through the milter, as `user`. Returns it, signed."""
        return self.machine.run("runuser", "--user", user, "--", "/usr/bin/python3", "/srv/send.py", address).stdout

    def verify(self, message):
        """The message is signed, and the signature is good with what dkimctl would have published."""
        (self.machine.share / "signed.eml").write_bytes(message.replace("\r", "").replace("\n", "\r\n").encode())
        (self.machine.share / "keys").write_text(self.ctl("dns", "show", "example.com", "--format", "keyfile"))
        self.machine.run("dkimctl", "verify", "/srv/signed.eml", "--key-file", "/srv/keys")

    def check_signing(self):
        self.verify(self.ctl("sign", "/srv/message.eml"))
        self.verify(self.machine.shell("dkim-sign < /srv/message.eml"))
        self.verify(self.send("inet:127.0.0.1:8891", "nobody"))
        self.verify(self.send("unix:/var/spool/postfix/hallmark-milter/milter.sock", "postfix"))

    def check_confinement(self):
        """No process of a service has rights beyond its user's, or a system call beyond the filter."""
        for user, count in (("hallmark", 2), ("hallmark-milter", 1)):
            pids = self.machine.run("pgrep", "--uid", user).stdout.split()
            self.assertEqual(len(pids), count, user)
            for pid in pids:
                status = dict(line.split(":\t", 1) for line in self.machine.run("cat", f"/proc/{pid}/status").stdout.splitlines()
                              if ":\t" in line)
                self.assertEqual([status[name] for name in ("Seccomp", "NoNewPrivs", "CapBnd", "CapEff")],
                                 ["2", "1", "0" * 16, "0" * 16], status["Name"])

    def test_from_installation_to_purge(self):
        self.check_installation()
        self.check_services()
        self.check_upgrade()
        self.check_removal()

    def check_installation(self):
        self.install(*packages())
        self.install(*packages())  # a second time changes nothing
        self.assertEqual(self.states("ActiveState"), ["inactive"] * 2)
        self.assertEqual(self.states("UnitFileState"), ["disabled"] * 2)
        self.assertEqual(self.machine.run("systemd-analyze", "verify", *(f"{name}.service" for name in SERVICES)).stdout, "")
        for page in ("1 dkimctl", "1 dkimload", "1 dkim-sign", "1 ledger-verify", "5 hallmark.toml", "5 milter.toml", "8 signerd",
                     "8 tokend", "8 dkim-milter"):
            self.machine.run("man", "--where", *page.split())
        (self.machine.share / "relay.cc").write_text(RELAY)
        self.machine.shell("g++ -std=c++17 /srv/relay.cc $(pkg-config --cflags --libs hallmark-relay) -o /tmp/relay && /tmp/relay")
        # Without a PIN there is nothing to start, and that is said.
        self.assertNotEqual(self.machine.run("systemctl", "start", "hallmark-signerd", status=None).returncode, 0)
        self.assertEqual(self.state("hallmark-signerd")["AssertResult"], "no")

    def check_services(self):
        self.machine.shell(CONFIGURE)
        # A system call that the filter refuses is to end the process here, and not only to fail.
        for service in SERVICES:
            self.machine.shell(f"mkdir -p /run/systemd/system/{service}.service.d; cd /run/systemd/system/{service}.service.d\n"
                               "printf '[Service]\\nSystemCallErrorNumber=kill\\n' > kill.conf")
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "enable", *SERVICES)
        self.start(*SERVICES)
        self.ctl("operator", "enroll", "--secret-out", "/root/trial/secrets/operator.totp")
        self.ctl("domain", "add", "example.com")
        for algorithm in ("rsa2048", "ed25519"):
            self.ctl("key", "generate", "example.com", "--algorithm", algorithm, "--activate")
        self.check_signing()
        self.check_confinement()
        self.verify(self.machine.shell(PYTHON_EXAMPLE))
        for port in ("9461", "9462"):
            self.assertIn("hallmark_", self.machine.shell(f"exec 3<>/dev/tcp/127.0.0.1/{port}\n"
                                                         r"printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3"))

    def check_upgrade(self):
        before = self.states("MainPID")
        for package in packages():
            if package.name.startswith("hallmark-"):
                next_version(package, self.machine.share)
        later = sorted(self.machine.share.glob("*-2_*.deb"))
        self.install(*later)
        self.assertEqual(self.states("ActiveState"), ["active"] * 2)
        for old, new in zip(before, self.states("MainPID")):
            self.assertNotEqual(old, new, "a service was not restarted")
        self.check_signing()  # the key is there still
        for file, edited in (("hallmark.toml", "uri:hallmark:operator:admin"), ("policy.toml", "dns:relay1.localdomain"),
                             ("milter.toml", "unix:/var/spool")):
            text = self.machine.run("cat", f"/etc/hallmark/{file}").stdout
            self.assertIn(edited, text)
            self.assertNotIn("# of the next version", text)  # it is beside it: .dpkg-dist
        self.assertIn("# of the next version", self.machine.run("cat", "/etc/hallmark/softhsm2.conf").stdout)

    def check_removal(self):
        names = [name for name in DEBIAN if name.startswith("hallmark-")]
        self.machine.run("dpkg", "--remove", *names)
        self.assertEqual(self.machine.run("pgrep", "--uid", "hallmark,hallmark-milter", status=1).stdout, "")
        journal = self.machine.run("journalctl", "--no-pager", "--unit", "hallmark-*").stdout
        self.assertNotRegex(journal, r"Failed with result|status=\d+/\w+|dumped core", journal)  # both ended as they should, twice
        self.assertIn("uri:hallmark:operator:admin", self.machine.run("cat", "/etc/hallmark/hallmark.toml").stdout)

        self.machine.run("dpkg", "--purge", *names)
        self.machine.run("dpkg", "--purge", *names)
        left = set(self.machine.shell("find /etc/hallmark /etc/systemd/system /var/lib/systemd -name '*hallmark*' -o "
                                      "-path '/etc/hallmark/*' -type f").split())
        own = {"/etc/hallmark", "/etc/hallmark/pin.cred"}
        self.assertEqual({path for path in left - own if not path.startswith("/etc/hallmark/tls/")}, set())
        # The ledger and the token's keys are no configuration.
        self.machine.shell("test -s /var/lib/hallmark/hallmark.db; ls /var/lib/hallmark/ledger/segments/* "
                           "/var/lib/hallmark/softhsm/*/*")


if __name__ == "__main__":
    unittest.main()
