"""Broken configurations: `signerd --check` names the file, the line, the key, what is wrong and what was expected."""

import re
import subprocess
import unittest

import deployment
import pki

LINE = re.compile(r"^(?P<file>\S+):(?P<line>\d+): (?P<key>\S+): (?P<problem>.+); expected (?P<expected>.+)$", re.MULTILINE)


def sub(pattern, replacement):
    """A change of the configuration's text."""
    def change(text):
        changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
        if not count:
            raise AssertionError(f"{pattern} does not occur in:\n{text}")
        return changed
    return change


def section(name, key, value):
    """Sets `key = value` in [name] or the first [[name]]; None removes it."""
    def change(text):
        start = re.search(rf"^\[+{name}\]+$", text, re.MULTILINE).end()
        stop = re.search(r"^\[", text[start:], re.MULTILINE)
        stop = start + stop.start() if stop else len(text)
        body = re.sub(rf"^{key} *=.*\n", "", text[start:stop], flags=re.MULTILINE)
        line = "" if value is None else f"\n{key} = {value}"
        return text[:start] + line + body + text[stop:]
    return change


def add(extra):
    return lambda text: text.rstrip("\n") + "\n" + extra + "\n"


def token_uri(change):
    def replace(text):
        return re.sub(r'^uri = "(.*)"$', lambda match: f'uri = "{change(match.group(1))}"', text, flags=re.MULTILINE)
    return replace


TOKEN = '[[token]]\nname = "{}"\nmodule = "/usr/lib/softhsm/libsofthsm2.so"\nuri = "pkcs11:token=x?pin-source=file:/dev/null"\n'

WEBHOOK = '[watch.webhook]\nurl = "https://hook.example/"\nsecret_file = "{}"'

PUBLISHER = '[[dns.publisher]]\nname = "{}"\nserver = "127.0.0.1:53"\n'

# name: (change, key that the error names, text that stands on that line of the file, what is in the error)
BROKEN = {
    "unknown table": (add("[sining]\nlisten = \"127.0.0.1:1\""), "sining", "[sining]", "unknown"),
    "unknown key": (section("signing", "lisen", '"127.0.0.1:0"'), "signing.lisen", "lisen", "unknown"),
    "unknown key in a list": (add(TOKEN.format("t2") + "modul = \"x\""), "token[1].modul", "modul = \"x\"", "unknown"),
    "missing key": (section("signing", "certificate", None), "signing.certificate", "[signing]", "missing"),
    "missing table": (sub(r"^\[state\]\n.*\n", ""), "state", "", "missing"),
    "no token": (lambda text: re.sub(r"\[\[token\]\]\n(?:[^\[\n].*\n|\n)*", "", text), "token", "", "missing"),
    "relays, as they were": (add('[[relay]]\nname = "r"\nidentity = "dns:r.example"\ndomains = ["*"]'), "relay", "[[relay]]", "policy"),
    "number for a string": (section("signing", "listen", "8461"), "signing.listen", "listen = 8461", "whole number"),
    "string for a number": (section("token", "sessions", '"4"'), "token[0].sessions", 'sessions = "4"', "string"),
    "string for a list": (section("admin", "first_officers", '"uri:x"'), "admin.first_officers", "first_officers", "string"),
    "empty list": (section("admin", "first_officers", "[]"), "admin.first_officers", "first_officers", "empty"),
    "number in a list": (section("admin", "first_officers", "[1]"), "admin.first_officers", "first_officers", "whole number"),
    "empty string": (section("signing", "certificate", '""'), "signing.certificate", "certificate", "empty"),
    "single table for a list": (sub(r"^\[\[token\]\]$", "[token]"), "token", "[token]", "table"),
    "listen without port": (section("signing", "listen", '"127.0.0.1"'), "signing.listen", "listen", "127.0.0.1"),
    "listen on a port too high": (section("signing", "listen", '"127.0.0.1:70000"'), "signing.listen", "listen", "70000"),
    "metrics for others": (add('[metrics]\nlisten = "127.example.com:9461"'), "metrics.listen", 'listen = "127.example', "127.example.com"),
    "webhook in clear": (add('[watch.webhook]\nurl = "http://127.example.com/"\nsecret_file = "dkimctl.toml"'), "watch.webhook.url", "url",
                         "another machine"),
    "webhook secret that others can read": (add(WEBHOOK.format("dkimctl.toml")), "watch.webhook.secret_file", "secret_file", "other users"),
    "webhook secret without a first line": (add(WEBHOOK.format("empty.secret")), "watch.webhook.secret_file", "secret_file", "first line is empty"),
    "webhook CA that is none": (add(WEBHOOK.format("tls/relay1.key") + '\nca = "dkimctl.toml"'), "watch.webhook.ca", "ca = ", "not a PEM certificate"),
    "webhook CA that is damaged": (add(WEBHOOK.format("tls/relay1.key") + '\nca = "damaged.pem"'), "watch.webhook.ca", "ca = ", "certificate 2"),
    "listen on no number": (section("admin", "listen", '"127.0.0.1:http"'), "admin.listen", "listen", "http"),
    "missing certificate file": (section("signing", "certificate", '"tls/none.pem"'), "signing.certificate", "certificate", "none.pem"),
    "missing key file": (section("admin", "private_key", '"tls/none.key"'), "admin.private_key", "private_key", "none.key"),
    "certificate that is none": (section("signing", "certificate", '"hallmark.toml"'), "signing.certificate", "certificate", "certificate"),
    "missing revocation lists": (sub(r"^\[signing\]$", '[signing]\nclient_crl = "tls/none.crl"'), "signing.client_crl", "client_crl", "none.crl"),
    "revocation lists that are none": (sub(r"^\[signing\]$", '[signing]\nclient_crl = "hallmark.toml"'), "signing.client_crl", "client_crl",
                                       "not a PEM certificate revocation list"),
    "revocation list of another CA": (sub(r"^\[admin\]$", '[admin]\nclient_crl = "stranger.crl"'), "admin.client_crl", "client_crl",
                                      "no client CA of this listener"),
    "key of another certificate": (section("signing", "private_key", '"tls/relay1.key"'), "signing.private_key", "private_key", ""),
    "negative limit": (section("signing", "message_octets", "-1"), "signing.message_octets", "message_octets", "-1"),
    "PIN in the URI": (token_uri(lambda uri: uri.split("?")[0] + "?pin-value=1234"), "token[0].uri", "uri", "pin-"),
    "no pin-source": (token_uri(lambda uri: uri.split("?")[0]), "token[0].uri", "uri", "pin-source"),
    "URI of another kind": (token_uri(lambda uri: "https://example.com/"), "token[0].uri", "uri", "pkcs11:"),
    "URI with a broken escape": (token_uri(lambda uri: "pkcs11:token=%zz?pin-source=file:/dev/null"), "token[0].uri", "uri", ""),
    "backup for nobody": (add("[backup]\nrecipients = []"), "backup.recipients", "recipients", "empty"),
    "missing module": (section("token", "module", '"/usr/lib/none.so"'), "token[0].module", "module", "none.so"),
    "token's name that is not ASCII": (section("token", "name", '"t\u00f6ken"'), "token[0].name", "name = ", "printable ASCII"),
    "token's name with a control character": (section("token", "name", r'"a\u0007b"'), "token[0].name", "name = ", "printable ASCII"),
    "token's name that is too long": (section("token", "name", f'"{"t" * 57}"'), "token[0].name", "name = ", "at most 56"),
    "no sessions": (section("token", "sessions", "0"), "token[0].sessions", "sessions", "found 0"),
    "checkpoints in no token": (add('[ledger]\ntoken = "none"'), "ledger.token", 'token = "none"', "none"),
    "two tokens of a name": (add(TOKEN.format("softhsm")), "token[1].name", 'name = "softhsm"', "softhsm"),
    "identity of no kind": (section("admin", "first_officers", '["r2.example"]'), "admin.first_officers", "first_officers", "dns:"),
    "number for the policy": (section("state", "initial_policy", "1"), "state.initial_policy", "initial_policy = 1", "whole number"),
    "rotation without RSA": (add('[initial_rotation]\nalgorithms = ["ed25519"]'), "initial_rotation.algorithms", "algorithms = ",
                             "an RSA key is needed"),
    "resolver by name": (add('[dns]\nresolver = "dns.example.com"'), "dns.resolver", "resolver", "dns.example.com"),
    "trust anchor that is none": (add('[dns]\ntrust_anchor = "hallmark.toml"'), "dns.trust_anchor", "trust_anchor", "DS or DNSKEY"),
    "publisher without a server": (add('[[dns.publisher]]\nname = "primary"'), "dns.publisher[0].server", "[[dns.publisher]]", "missing"),
    "publisher of the name that is built in": (add(PUBLISHER.format("manual")), "dns.publisher[0].name", "name", "manual"),
    "two publishers of a name": (add(PUBLISHER.format("p") + PUBLISHER.format("p")), "dns.publisher[1].name", "name", "used twice"),
    "publisher by name": (add('[[dns.publisher]]\nname = "p"\nserver = "ns1.example.com"'), "dns.publisher[0].server", "server", "ns1.example.com"),
    "TSIG key without a secret": (add(PUBLISHER.format("p") + 'key = "k"'), "dns.publisher[0].key", "key", "no secret_file"),
    "TSIG secret that others can read": (add(PUBLISHER.format("p") + 'secret_file = "hallmark.toml"'), "dns.publisher[0].secret_file",
                                         "secret_file", "other users"),
    "TSIG secret that is not there": (add(PUBLISHER.format("p") + 'secret_file = "none.key"'), "dns.publisher[0].secret_file",
                                      "secret_file", "none.key"),
    "unknown level": (section("log", "level", '"loud"'), "log.level", "level", "loud"),
    "environment of numbers": (section("token", "environment", "{ A = 1 }"), "token[0].environment", "environment", "whole number"),
}

# name: (change, line) for what is no TOML at all.
NO_TOML = {
    "open string": (add('[x]\ny = "z'), "y ="),
    "no value": (add("[x]\ny ="), "y ="),
    "key twice": (sub(r'^(listen = .*)$', r"\1\n\1"), "listen"),
    "table twice": (add('[signing]\nlisten = "x"'), "[signing]"),
    "YAML": (lambda text: "signing:\n  listen: x\n", "signing:"),
}

WORKS = {
    "as it is": lambda text: text,
    "BOM": lambda text: "\ufeff" + text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "tabs": lambda text: text.replace(" = ", "\t=\t"),
    "trailing blanks": lambda text: text.replace("\n", " \t\n"),
    "no final line end": lambda text: text.rstrip("\n"),
    "comments": lambda text: "# first\n" + text.replace("\n", " # why\n"),
}


class ConfigTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment(start=False)
        cls.addClassCleanup(cls.hallmark.close)
        cls.text = cls.hallmark.config.read_text()
        (cls.hallmark.folder / "empty.secret").touch(mode=0o600)
        (cls.hallmark.folder / "empty.secret").write_text("\nsecret\n")
        authority = cls.hallmark.read("tls/server-ca.pem")
        (cls.hallmark.folder / "damaged.pem").write_bytes(authority + authority.replace(b"M", b"!"))
        stranger = pki.Authority("Stranger")
        (cls.hallmark.folder / "stranger.crl").write_bytes(stranger.crl([]))
        cls.hallmark.trust(stranger.pem)

    def check(self, text, cwd="/", arguments=()):
        self.hallmark.config.write_bytes(text.encode())
        return subprocess.run([deployment.BIN / "signerd", "--config", self.hallmark.config, "--check", *arguments], capture_output=True,
                              text=True, timeout=60, check=False, cwd=cwd)

    def test_table_is_large_enough(self):
        self.assertGreaterEqual(len(BROKEN) + len(NO_TOML), 20)

    def test_broken_configurations(self):
        for name, (change, key, on_line, said) in BROKEN.items():
            with self.subTest(name):
                text = change(self.text)
                self.assertNotEqual(text, self.text)
                run = self.check(text)
                output = run.stderr + run.stdout
                self.assertEqual(run.returncode, 1, output)
                found = [match for match in LINE.finditer(output) if match["key"] == key]
                self.assertTrue(found, f"no line names {key}:\n{output}")
                self.assertIn(str(self.hallmark.config), found[0]["file"])
                self.assertIn(said, found[0].group())
                line = text.splitlines()[int(found[0]["line"]) - 1]
                self.assertIn(on_line, line, output)

    def test_mistakes_in_the_form(self):
        for name, (change, on_line) in NO_TOML.items():
            with self.subTest(name):
                text = change(self.text)
                run = self.check(text)
                output = run.stderr + run.stdout
                self.assertEqual(run.returncode, 1, output)
                match = re.search(re.escape(str(self.hallmark.config)) + r":(\d+): .*expected", output)
                self.assertTrue(match, output)
                near = text.splitlines()[max(0, int(match.group(1)) - 2):int(match.group(1))]
                self.assertTrue(any(on_line in line for line in near), output)

    def test_every_mistake_at_once(self):
        text = section("signing", "listen", "1")(section("log", "level", '"loud"')(add("[more]\nx = 1")(self.text)))
        output = self.check(text).stderr
        self.assertLessEqual({"signing.listen", "log.level", "more"}, {match["key"] for match in LINE.finditer(output)}, output)

    def test_secrets_are_not_repeated(self):
        text = token_uri(lambda uri: uri.split("?")[0] + "?pin-value=73195042")(self.text)
        run = self.check(text)
        self.assertNotIn("73195042", run.stdout + run.stderr)

    def test_odd_forms_work(self):
        for name, change in WORKS.items():
            with self.subTest(name):
                run = self.check(change(self.text))
                self.assertEqual(run.returncode, 0, run.stderr)

    def test_relative_paths_are_relative_to_the_file(self):
        for cwd in ("/", self.hallmark.folder, "/usr"):
            with self.subTest(cwd):
                self.assertEqual(self.check(self.text, cwd).returncode, 0)

    def test_publisher_with_its_key(self):
        secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        key = self.hallmark.folder / "tsig.key"
        anchor = self.hallmark.folder / "anchor.zone"
        anchor.write_text(f"; the root's\n. IN DS 20326 8 2 {'E0' * 32}\n")
        text = add('[dns]\nresolver = "127.0.0.1:5353"\ntrust_anchor = "anchor.zone"\n' + PUBLISHER.format("primary") +
                   'algorithm = "hmac-sha256"\nkey = "writer"\nsecret_file = "tsig.key"')(self.text)
        for form, code, said in ((secret, 0, ""), (f'key "writer" {{\n algorithm hmac-sha256;\n secret "{secret}";\n}};\n', 0, ""),
                                 (f"# hmac-sha256:writer:{secret}\nkey:\n  - id: writer\n", 0, ""),
                                 (f'key "other" {{ algorithm hmac-sha256; secret "{secret}"; }};', 1, '"other"'),
                                 (secret[:12], 1, "only 9 octets"), (secret[:-3], 1, "no base64")):
            with self.subTest(form):
                key.touch(mode=0o600)
                key.write_text(form)
                run = self.check(text)
                self.assertEqual(run.returncode, code, run.stderr)
                self.assertIn(said, run.stderr)
                self.assertNotIn(secret[:12], run.stderr)

    def test_an_appliance_cannot_do_without_test_signatures(self):
        text = section("health", "test_signature_seconds", "0")(self.text)
        self.assertEqual(self.check(text).returncode, 0)
        run = self.check(text, arguments=["--appliance"])
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"hallmark\.toml:\d+: health\.test_signature_seconds: found 0: .* update .*; expected .* from 1 to 3600")
        self.assertEqual(self.check(self.text, arguments=["--appliance"]).returncode, 0)

    def test_file_that_is_not_there(self):
        run = subprocess.run([deployment.BIN / "signerd", "--config", "/nonexistent/hallmark.toml", "--check"],
                             capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("/nonexistent/hallmark.toml", run.stderr)

    def test_initial_policy_is_checked_where_it_is_there(self):
        policy = self.hallmark.folder / "policy.toml"
        text = policy.read_text()
        self.addCleanup(policy.write_text, text)
        policy.write_text(text.replace('partners = ["own"]', 'partners = ["acme"]'))
        run = self.check(self.text)
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"policy\.toml:\d+: relay\[0\]\.partners: .*acme")
        # What the start would refuse, too.
        another = '[[relay]]\nname = "relay2"\nidentity = "dns:RELAY1.localdomain"\npartners = ["own"]\n'
        many = ", ".join(f'"a{number}@example.com"' for number in range(1001))
        for wrong, said in ((text + another, r"relay\[1\]\.identity: .* is used twice"),
                            (text.replace("[[relay]]", "not_before = 1970-01-01\n[[relay]]", 1), r"partner\[0\]\.not_before: found 1970"),
                            (text.replace("[[relay]]", f"addresses = [{many}]\n[[relay]]", 1), r"partner\[0\]\.addresses: found 1001")):
            with self.subTest(said):
                policy.write_text(wrong)
                run = self.check(self.text)
                self.assertEqual(run.returncode, 1)
                self.assertRegex(run.stderr, r"policy\.toml:\d+: " + said)
        policy.unlink()
        self.assertEqual(self.check(self.text).returncode, 0)

    def test_a_good_revocation_list(self):
        text = sub(r"^\[signing\]$", '[signing]\nclient_crl = "stranger.crl"')(self.text)
        self.assertEqual(self.check(text).returncode, 0)

    def test_wrong_usage(self):
        for arguments in (("--config",), ("--nonsense",), ("--check", "more")):
            with self.subTest(arguments):
                run = subprocess.run([deployment.BIN / "signerd", *arguments], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(run.returncode, 2, run.stderr)


if __name__ == "__main__":
    unittest.main()
