"""milter.toml: `dkim-milter --check` names the file, the line, the key, what is wrong and what was expected. And where it listens."""

import json
import os
import pathlib
import re
import socket
import stat
import subprocess
import unittest

import deployment
import dkim_milter
from config_test import LINE, NO_TOML, WORKS, add, section
from milter_case import AUTHENTICATED, message
from milter_client import Mail, MilterConnection, packet
from waiting import wait_for

TEXT = """\
[milter]
listen = ["inet:127.0.0.1:0", "unix:{folder}/check.sock"]

[signerd]
servers = ["127.0.0.1:8461", "[::1]:8461", "signer.example:8461"]
server_name = "localhost"
ca = "tls/server-ca.pem"
certificate = "tls/relay1.pem"
private_key = "tls/relay1.key"

[outbound]
networks = ["192.0.2.0/24"]

[on]
unavailable = "tempfail"

[[partner]]
name = "acme"
users = ["*@acme.example"]

[metrics]
listen = "127.0.0.1:0"

[log]
level = "info"
"""

PARTNER = '[[partner]]\nname = "{}"\n'


def partners(rules):
    """[[partner]] tables, in order, behind the one that is there."""
    return add("".join(PARTNER.format(name) + "".join(f"{key} = {json.dumps(values)}\n" for key, values in rule.items())
                       for name, rule in rules.items()))


# name: (change, key that the error names, text that stands on that line of the file, what is in the error)
BROKEN = {
    "unknown table": (add("[miter]\nlisten = 1"), "miter", "[miter]", "unknown"),
    "unknown key": (section("milter", "lisen", '["inet:127.0.0.1:1"]'), "milter.lisen", "lisen", "unknown"),
    "unknown key of a partner": (section("partner", "user", '["x"]'), "partner[0].user", "user =", "unknown"),
    "no address": (section("milter", "listen", None), "milter.listen", "[milter]", "missing"),
    "no addresses": (section("milter", "listen", "[]"), "milter.listen", "listen = []", "empty"),
    "a string": (section("milter", "listen", '"inet:127.0.0.1:1"'), "milter.listen", "listen", "string"),
    "a host name": (section("milter", "listen", '["inet:localhost:8891"]'), "milter.listen", "listen", "inet:localhost:8891"),
    "no port": (section("milter", "listen", '["inet:127.0.0.1"]'), "milter.listen", "listen", "127.0.0.1"),
    "a port that is too large": (section("milter", "listen", '["inet:127.0.0.1:65536"]'), "milter.listen", "listen", "65536"),
    "Sendmail's order": (section("milter", "listen", '["inet:8891@127.0.0.1"]'), "milter.listen", "listen", "8891@"),
    "a relative socket": (section("milter", "listen", '["unix:milter.sock"]'), "milter.listen", "listen", "unix:milter.sock"),
    "a socket's path that is too long": (section("milter", "listen", f'["unix:/{"x" * 120}"]'), "milter.listen", "listen", "too long"),
    "no mode": (section("milter", "socket_mode", '"rw"'), "milter.socket_mode", "socket_mode", "rw"),
    "a mode of nines": (section("milter", "socket_mode", '"0669"'), "milter.socket_mode", "socket_mode", "0669"),
    "a mode with more": (section("milter", "socket_mode", '"4755"'), "milter.socket_mode", "socket_mode", "4755"),
    "a mode that is a number": (section("milter", "socket_mode", "660"), "milter.socket_mode", "socket_mode", "whole number"),
    "no connections": (section("milter", "connections", "0"), "milter.connections", "connections", "0"),
    "no time": (section("milter", "idle_seconds", "0"), "milter.idle_seconds", "idle_seconds", "0"),
    "threads by the thousand": (section("milter", "threads", "1000"), "milter.threads", "threads", "1000"),
    "no servers": (section("signerd", "servers", None), "signerd.servers", "[signerd]", "missing"),
    "a server without a port": (section("signerd", "servers", '["127.0.0.1"]'), "signerd.servers", "servers", "127.0.0.1"),
    "a server as a URL": (section("signerd", "servers", '["https://signer:8461"]'), "signerd.servers", "servers", "https://"),
    "a certificate that is not there": (section("signerd", "certificate", '"tls/none.pem"'), "signerd.certificate", "certificate", "none.pem"),
    "a canonicalization": (section("signerd", "body_canonicalization", '"nofws"'), "signerd.body_canonicalization", "body_", "nofws"),
    "a time in words": (section("signerd", "timeout_ms", '"20 s"'), "signerd.timeout_ms", "timeout_ms", "string"),
    "a time of nothing": (section("signerd", "timeout_ms", "0"), "signerd.timeout_ms", "timeout_ms", "0"),
    "a network with host bits in words": (section("outbound", "networks", '["example.com"]'), "outbound.networks", "networks", "example.com"),
    "a network that is too long": (section("outbound", "networks", '["192.0.2.0/33"]'), "outbound.networks", "networks", "192.0.2.0/33"),
    "a flag in words": (section("outbound", "authenticated", '"yes"'), "outbound.authenticated", "authenticated", "string"),
    "a port in words": (section("outbound", "daemon_ports", '["submission"]'), "outbound.daemon_ports", "daemon_ports", "submission"),
    "a port as a number": (section("outbound", "daemon_ports", "[587]"), "outbound.daemon_ports", "daemon_ports", "whole number"),
    "a pattern with * within": (section("partner", "users", '["a*@acme.example"]'), "partner[0].users", "users", "a*@acme.example"),
    "a subject with * within": (section("outbound", "certificates", '["relay-*.example"]'), "outbound.certificates", "certificates", "relay-*.example"),
    "a choice that there is not": (section("on", "unavailable", '"drop"'), "on.unavailable", "unavailable", "drop"),
    "a key that is no choice": (section("on", "limited", '"accept"'), "on.limited", "limited", "unknown"),
    "a partner without a name": (section("partner", "name", None), "partner[0].name", "[[partner]]", "missing"),
    "a partner of nobody": (add(PARTNER.format("beta")), "partner[1].name", "name = \"beta\"", "beta"),
    "a user of one whose partner has all": (partners({"everyone": {"users": ["*"]}, "bob": {"users": ["bob@beta.example"]}}), "partner[2].users",
                                            'users = ["bob@', '"everyone"'),
    "a user of a domain that a partner has": (partners({"bob": {"users": ["carol", "Bob@acme.example"]}}), "partner[1].users", '"Bob@', '"acme"'),
    "a pattern within a pattern": (partners({"bob": {"users": ["*.bob@acme.example"]}}), "partner[1].users", '"*.bob@', '"acme"'),
    "a certificate twice": (partners({"one": {"certificates": ["relay-*"]}, "two": {"certificates": ["relay-2*"]}}), "partner[2].certificates",
                            '"relay-2*"', '"one"'),
    "a port twice": (partners({"one": {"daemon_ports": ["465", "2587"]}, "two": {"daemon_ports": ["2587"]}}), "partner[2].daemon_ports",
                     '["2587"]', '"one"'),
    "a service twice": (partners({"one": {"daemon_names": ["ONE"]}, "two": {"daemon_names": ["TWO", "ONE"]}}), "partner[2].daemon_names",
                        '"TWO"', '"one"'),
    "metrics for all the world": (section("metrics", "listen", '"0.0.0.0:9462"'), "metrics.listen", "listen = \"0.0", "0.0.0.0"),
    "metrics without a port": (section("metrics", "listen", '"127.0.0.1"'), "metrics.listen", "listen = ", '"127.0.0.1"'),
    "metrics on two ports": (section("metrics", "listen", '"127.0.0.1:9462,9463"'), "metrics.listen", "listen = ", "9462,9463"),
    "metrics on a port too high": (section("metrics", "listen", '"localhost:65536"'), "metrics.listen", "listen = ", "65536"),
    "unknown level": (section("log", "level", '"loud"'), "log.level", "level", "loud"),
}


def run(*arguments, cwd="/"):
    return subprocess.run([deployment.BIN / "dkim-milter", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def listens(path):
    """Whether a process takes connections at a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class MilterSettingsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.hallmark.add_domain("example.com")
        cls.config = cls.hallmark.folder / "check.toml"
        cls.text = TEXT.replace("{folder}", str(cls.hallmark.folder))

    def check(self, text, cwd="/"):
        self.config.write_bytes(text.encode())
        return run("--config", self.config, "--check", cwd=cwd)

    def test_broken_configurations(self):
        for name, (change, key, on_line, said) in BROKEN.items():
            with self.subTest(name):
                text = change(self.text)
                self.assertNotEqual(text, self.text)
                checked = self.check(text)
                output = checked.stderr + checked.stdout
                self.assertEqual(checked.returncode, 1, output)
                found = [match for match in LINE.finditer(output) if match["key"] == key]
                self.assertTrue(found, f"no line names {key}:\n{output}")
                self.assertEqual(str(self.config), found[0]["file"])
                self.assertIn(said, found[0].group())
                self.assertIn(on_line, text.splitlines()[int(found[0]["line"]) - 1], output)

    def test_mistakes_in_the_form(self):
        for name in ("open string", "no value", "key twice", "YAML"):
            with self.subTest(name):
                checked = self.check(NO_TOML[name][0](self.text))
                self.assertEqual(checked.returncode, 1)
                self.assertRegex(checked.stderr, re.escape(str(self.config)) + r":\d+: .*expected")

    def test_every_mistake_at_once(self):
        text = self.text
        for change in (section("milter", "threads", '"two"'), section("on", "refused", '"drop"'), section("outbound", "networks", '["x"]')):
            text = change(text)
        output = self.check(text).stderr
        self.assertEqual({match["key"] for match in LINE.finditer(output)}, {"milter.threads", "on.refused", "outbound.networks"}, output)

    def test_files_that_do_not_fit(self):
        for key, value, said in (("private_key", "tls/server.key", "server.key"), ("certificate", "policy.toml", "policy.toml"),
                                 ("ca", "policy.toml", "policy.toml")):
            with self.subTest(key):
                checked = self.check(section("signerd", key, f'"{value}"')(self.text))
                self.assertEqual(checked.returncode, 1, checked.stdout)
                self.assertIn(said, checked.stderr)

    def test_good_ones(self):
        for name, change in WORKS.items():
            with self.subTest(name):
                checked = self.check(change(self.text))
                self.assertEqual((checked.returncode, checked.stderr), (0, ""))
                self.assertEqual(checked.stdout, f"{self.config}: OK\n")
        # Rules that overlap, narrower ones first, and more than one of the same partner.
        overlapping = partners({"bob": {"users": ["bob@*", "*.bob@beta.example"]}, "acme": {"users": ["carol@acme.example"], "daemon_names": ["one"]},
                                "other": {"daemon_names": ["ONE"], "certificates": ["*"]}, "all": {"users": ["*"]}})
        self.assertEqual(self.check(overlapping(self.text)).stderr, "")
        for cwd in ("/", self.hallmark.folder, "/usr"):
            self.assertEqual(self.check(self.text, cwd).returncode, 0)
        with self.subTest("what dkimctl init wrote"):
            self.assertEqual(run("--config", self.hallmark.folder / "milter.toml", "--check").returncode, 0)
        with self.subTest("all that there is"):
            text = self.text
            for table, key, value in (("milter", "listen", '["inet:0.0.0.0:0", "inet:[::1]:0", "unix:/run/x"]'), ("milter", "socket_mode", '"0666"'),
                                      ("milter", "socket_group", '"postfix"'), ("milter", "threads", "2"), ("milter", "connections", "5"),
                                      ("milter", "idle_seconds", "60"), ("signerd", "timeout_ms", "5000"), ("signerd", "send_message", "true"),
                                      ("signerd", "body_canonicalization", '"simple"'), ("outbound", "networks", "[]"),
                                      ("outbound", "daemon_ports", "[]"), ("outbound", "certificates", '["*", "a*", "*a", "*a*"]'),
                                      ("on", "refused", '"accept"'), ("on", "unconfigured", '"reject"'), ("partner", "daemon_ports", '["25"]')):
                text = section(table, key, value)(text)
            self.assertEqual(self.check(text).stderr, "")

    def test_exit_codes(self):
        for arguments, status in ((("--help",), 0), (("--version",), 0), (("--nonsense",), 2), (("--config",), 2), (("--check", "more"), 2),
                                  (("--config", "/nonexistent/milter.toml", "--check"), 1), (("--config", "/", "--check"), 1)):
            with self.subTest(arguments):
                finished = run(*arguments)
                self.assertEqual(finished.returncode, status, finished.stderr)
                self.assertTrue(finished.stdout or finished.stderr)
        self.assertIn("/nonexistent/milter.toml", run("--config", "/nonexistent/milter.toml").stderr)

    # Where it listens.

    def start_fails(self, listen, said, more=""):
        self.config.write_text(section("milter", "listen", f'["{listen}"]{more}')(self.text))
        finished = run("--config", self.config)
        self.assertEqual(finished.returncode, 1, finished.stderr)
        self.assertRegex(finished.stderr, said)
        self.assertNotIn("ready:", finished.stderr)

    def test_addresses_that_cannot_be_listened_on(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.start_fails(f"inet:127.0.0.1:{taken.getsockname()[1]}", "cannot listen on inet:127.0.0.1:.*in use")
        self.start_fails("inet:192.0.2.1:0", "cannot listen on inet:192.0.2.1:0: .*assign")
        folder = self.hallmark.folder
        self.start_fails(f"unix:{folder}/none/x.sock", "cannot listen on unix:.*No such file")
        (folder / "file").write_text("precious")
        self.start_fails(f"unix:{folder}/file", "no socket")
        self.assertEqual((folder / "file").read_text(), "precious")
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(str(folder / "taken.sock"))
            taken.listen()
            self.start_fails(f"unix:{folder}/taken.sock", "another process")
        self.start_fails(f"unix:{folder}/group.sock", "no group nobody-has-this", '\nsocket_group = "nobody-has-this"')

    def test_the_socket(self):
        path = self.hallmark.folder / "own.sock"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
        table = {"socket_mode": "0606", "socket_group": "mail"}
        milter = dkim_milter.DkimMilter(self.hallmark, tables={"milter": table}, listen=[f"unix:{path}", "inet:127.0.0.1:0", "inet:[::1]:0"])
        self.addCleanup(milter.close)
        status = os.stat(path)
        self.assertEqual((stat.S_IMODE(status.st_mode), pathlib.Path(path).group()), (0o606, "mail"))
        self.assertEqual(len(milter.addresses), 3)
        for address in milter.addresses:
            self.assertNotRegex(address, ":0$")
            with MilterConnection(address) as mta:
                mta.negotiate()
                self.assertEqual(len(mta.submit(Mail(message(), macros=AUTHENTICATED)).inserted), 2)
        self.assertEqual(milter.stop(), 0)
        self.assertFalse(path.exists())

    def test_one_that_ends_leaves_the_socket_of_the_next_alone(self):
        path = self.hallmark.folder / "next.sock"
        old = dkim_milter.DkimMilter(self.hallmark, listen=[f"unix:{path}"])
        self.addCleanup(old.close)
        with MilterConnection(old.address) as under_way:
            under_way.negotiate()
            mail = Mail(message("under-way"), macros=AUTHENTICATED)
            for command, payload in under_way.commands(mail)[:-1]:
                under_way.say(command, payload)
            old.process.terminate()
            wait_for(lambda: not listens(path), "the end of its listening")
            new = dkim_milter.DkimMilter(self.hallmark, listen=[f"unix:{path}"])
            self.addCleanup(new.close)
            under_way.write(packet(*under_way.commands(mail)[-1]))
            self.assertEqual(len(under_way.end(mail).inserted), 2)
        self.assertEqual(old.stop(), 0)
        with MilterConnection(new.address) as mta:
            mta.negotiate()
            self.assertEqual(len(mta.submit(Mail(message("next"), macros=AUTHENTICATED)).inserted), 2)
        self.assertEqual(new.stop(), 0)
        self.assertFalse(path.exists())


if __name__ == "__main__":
    unittest.main()
