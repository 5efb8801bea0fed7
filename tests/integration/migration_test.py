"""Moving here from OpenDKIM, rspamd and key files: the same messages, signed before and after, by the same keys."""

import base64
import fcntl
import gzip
import hashlib
import http.client
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import time
import unittest

import dkim

import deployment
import ledger_files
import messages
import paths
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2, migration_pb2, migration_pb2_grpc

OPENDKIM, RSPAMD = "/usr/sbin/opendkim", "/usr/bin/rspamd"
EXAMPLES = pathlib.Path("/usr/share/doc/opendkim/examples")
START_SECONDS = 30
EVERY_FIELD = """From Sender Reply-To Subject Date Message-ID To Cc MIME-Version Content-Type Content-Transfer-Encoding Content-ID
                 Content-Description Resent-Date Resent-From Resent-Sender Resent-To Resent-Cc Resent-Message-ID In-Reply-To
                 References List-Id List-Help List-Unsubscribe List-Unsubscribe-Post List-Subscribe List-Post List-Owner
                 List-Archive Auto-Submitted Organization Feedback-ID Openpgp Autocrypt Comments Keywords Received X-Mailer""".split()
VALUES = {"From": "Joe <joe@{domain}>", "Date": "Fri, 11 Jul 2003 21:00:37 -0700", "Resent-Date": "Fri, 11 Jul 2003 22:00:00 -0700",
          "MIME-Version": "1.0", "Content-Type": "text/plain; charset=utf-8", "Content-Transfer-Encoding": "8bit"}


def message(domain, fields=("From", "To", "Subject", "Date", "Message-ID"), body=b"Hello\r\n\r\n  two  blanks \r\n\r\n\r\n"):
    header = "".join(f"{name}: {VALUES.get(name, '<x@example.com>').format(domain=domain)}\r\n" for name in fields)
    return header.encode() + b"\r\n" + body


def messages_of(domain):
    """Messages in which something differs that profiles may treat in another way."""
    usual = message(domain)
    return [usual, message(domain, EVERY_FIELD), message(domain, ("From", "To")),
            message(domain, ("Received", "Received", "From", "To", "To", "Subject", "Cc", "Received")),
            message(domain, body=b"")]


def corpus(domain):
    """Messages of the corpus that have one plain From, as if from `domain`."""
    found = []
    for name in ("synthetic/folded-everything.eml", "synthetic/trailing-ws-lines.eml", "synthetic/wsp-runs.eml",
                 "ruby-mail/emails/plain_emails/mix_caps_content_type.eml", "mime4j/benchmark/src/main/resources/long-headers.msg"):
        octets = re.sub(rb"\AFrom .*\r\n", b"", messages.wire((paths.CORPUS / name).read_bytes()))  # without an mbox separator
        header, blank, body = octets.partition(b"\r\n\r\n")
        header = re.sub(rb"(?im)^from:.*(?:\r\n[ \t].*)*", b"From: joe@" + domain.encode(), header)
        header = re.sub(rb"(?im)^dkim-signature:.*(?:\r\n[ \t].*)*\r\n", b"", header)
        found.append(header + blank + body)
    return found


def tags_of(field):
    return {name.strip().decode(): b"".join(value.split()).decode()
            for name, _, value in (part.partition(b"=") for part in field.split(b":", 1)[1].split(b";") if part.strip())}


def signed_fields(field):
    """The fields of h= as often as each is named, in any order."""
    return sorted(tags_of(field)["h"].lower().split(":"))


def generate(path, *arguments):
    subprocess.run(["openssl", arguments[0], "-out", str(path), *arguments[1:]], check=True, capture_output=True)
    path.chmod(0o600)
    return path


def rsa(path, bits=2048):
    return generate(path, "genrsa", "-traditional", str(bits))


def ed25519(path):
    return generate(path, "genpkey", "-algorithm", "ed25519")


def seed(key, path):
    """Writes the seed of an Ed25519 key in base64."""
    der = subprocess.run(["openssl", "pkey", "-in", str(key), "-outform", "DER"], check=True, capture_output=True).stdout
    path.write_text(base64.b64encode(der[-32:]).decode() + "\n")
    return path


def record_of(key):
    """The TXT record of a private key's file."""
    der = subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    kind, data = ("ed25519", der[-32:]) if len(der) < 64 else ("rsa", der)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(data).decode()}".encode()


class Case(unittest.TestCase):
    def setUp(self):
        # OpenDKIM refuses keys below a folder that all may write.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-migration-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self):
        self.hallmark = deployment.Deployment()
        self.addCleanup(self.hallmark.close)
        return self.hallmark

    def imported(self, *arguments, status=0):
        return self.hallmark.dkimctl_json("import", *map(str, arguments), status=status)

    def keys(self):
        """The imported keys. A domain that signs with one gets successors at once, which are not among them."""
        keys = self.hallmark.admin().ListKeys(admin_pb2.ListKeysRequest()).keys
        return {(key.selector, key.domain): key for key in keys if key.exposed}

    def by_hallmark(self, octets):
        answer = self.hallmark.sign(octets)
        return [messages.wire(signature.header_field) for signature in answer.signatures]

    def verifies(self, field, octets, records):
        tags = tags_of(field)
        name = f"{tags['s']}._domainkey.{tags['d']}."
        passed = dkim.DKIM(field + octets).verify(dnsfunc=lambda asked, timeout=5: records.get(asked.decode()))
        self.assertTrue(passed, f"{name}: {field.decode()}")

    def same(self, old, new, octets, records, present_only=False):
        """Both signatures verify, by the same key, over the same fields in the same form."""
        old_tags, new_tags = tags_of(old), tags_of(new)
        for tag in ("d", "s", "a", "bh"):
            self.assertEqual(old_tags[tag], new_tags[tag], tag)
        self.assertEqual(old_tags["c"], new_tags["c"])
        pick = (lambda fields: sorted(set(fields))) if present_only else (lambda fields: fields)
        self.assertEqual(pick(signed_fields(old)), pick(signed_fields(new)))
        self.verifies(old, octets, records)
        self.verifies(new, octets, records)


class PemTest(Case):
    def test_every_form_of_a_key(self):
        self.start()
        seed(ed25519(self.folder / "e1"), self.folder / "e2")
        rsa(self.folder / "r1")
        subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", self.folder / "r1", "-out", self.folder / "r2"], check=True)
        subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", self.folder / "r1", "-out", self.folder / "r3"],
                       check=True)
        rsa(self.folder / "r4", 4096)
        octets = message("example.com")
        records = {}
        for name in ("r1", "r2", "r3", "r4", "e1", "e2"):
            before = (self.folder / name).read_bytes()
            answer = self.imported("pem", self.folder / name, "--domain", "example.com", "--selector", name, "--activate", "--unpublished")
            self.assertEqual([key["result"] for key in answer["keys"]], ["imported, active"])
            self.assertEqual((self.folder / name).read_bytes(), before)
            file = self.folder / ("e1" if name == "e2" else name)
            records[f"{name}._domainkey.example.com."] = record_of(file)
        fields = self.by_hallmark(octets)
        self.assertEqual({tags_of(field)["s"] for field in fields}, {"r1", "r2", "r3", "r4", "e1", "e2"})
        for field in fields:
            self.verifies(field, octets, records)
        self.assertEqual({selector for selector, _ in self.keys()}, {"r1", "r2", "r3", "r4", "e1", "e2"})

    def test_ed25519_alone_is_warned_of(self):
        self.start()
        for name, key in (("e", ed25519(self.folder / "e")), ("r", rsa(self.folder / "r"))):
            done = self.hallmark.dkimctl("import", "pem", key, "--domain", "example.com", "--selector", name, "--activate", "--unpublished")
            self.assertEqual("WARNING: example.com is signed with Ed25519 alone" in done.stderr, name == "e", done.stderr)

    def test_dry_run_changes_nothing_and_a_second_run_neither(self):
        self.start()
        key = rsa(self.folder / "key")
        arguments = ("pem", key, "--domain", "example.com", "--selector", "old")
        answer = self.imported(*arguments, "--dry-run")
        self.assertTrue(answer["dry_run"])
        self.assertEqual(answer["keys"][0]["result"], "would be imported")
        self.assertEqual(self.keys(), {})
        self.assertEqual(list(self.hallmark.admin().ListDomains(admin_pb2.ListDomainsRequest()).domains), [])
        self.assertEqual(self.imported(*arguments)["keys"][0]["result"], "imported, generated")
        before = self.keys()
        self.assertEqual(before["old", "example.com"].state, admin_pb2.KEY_STATE_GENERATED)
        self.assertEqual(self.imported(*arguments)["keys"][0]["result"], "there already, generated")
        self.assertEqual(self.keys(), before)
        other = self.imported("pem", rsa(self.folder / "other"), "--domain", "example.com", "--selector", "old", status=1)
        self.assertIn("another key", other["keys"][0]["result"])
        self.assertEqual(self.keys(), before)

    def test_the_policy_that_is_needed(self):
        """Where the policy does not let the domain be sent, the one that does is written, and nothing else of it changes."""
        with deployment.Deployment(start=False) as hallmark:
            self.hallmark = hallmark
            hallmark.edit_policy(lambda text: re.sub(r'^(author|signing)_domains = \["\*"\]', r'\1_domains = ["example.net"]', text,
                                                     count=2, flags=re.MULTILINE))
            hallmark.start()
            file = self.folder / "policy.toml"
            before = hallmark.dkimctl("export").stdout
            self.imported("pem", rsa(self.folder / "key"), "--domain", "example.com", "--selector", "old", "--activate",
                          "--unpublished", "--policy-out", file)
            octets = message("example.com")
            self.assertEqual(deployment.error_reason(hallmark.call_error(hallmark.sign, octets)), "AUTHOR_NOT_ALLOWED")
            hallmark.dkimctl_with_approval("apply", "-f", str(file))
            [field] = self.by_hallmark(octets)
            self.assertEqual(tags_of(field)["s"], "old")
            self.assertEqual(before, hallmark.dkimctl("export").stdout.replace(', "example.com"', "").replace('"example.com", ', ""))
            self.assertEqual(self.imported("pem", self.folder / "key", "--domain", "example.com", "--selector", "old")["policy"], "")

    def test_an_encrypted_key_asks_on_the_terminal(self):
        self.start()
        key, encrypted = rsa(self.folder / "key"), self.folder / "encrypted"
        subprocess.run(["openssl", "pkcs8", "-topk8", "-in", key, "-out", encrypted, "-passout", "pass:open sesame"], check=True)
        control_c = "\x03"
        for typed, status in ((control_c, -signal.SIGINT), ("wrong\n", 1), ("open sesame\n", 0)):
            said, code = self.at_terminal(typed, "import", "pem", encrypted, "--domain", "example.com", "--selector", "old")
            self.assertEqual(code, status, said)
            self.assertIn(f"Pass phrase of the private key in {encrypted}: ", said)
            self.assertNotIn(typed.strip(), said.replace("is missing or wrong", ""), "what is typed is not shown")
        self.assertIn(("old", "example.com"), self.keys())

    def at_terminal(self, typed, *arguments):
        """Runs dkimctl on a terminal of its own, and types something when it asks. What the terminal shows, and the exit code.
        The terminal must then be as it was."""
        command = [deployment.BIN / "dkimctl", "--dir", self.hallmark.folder, *arguments]
        ours, theirs = pty.openpty()
        before = termios.tcgetattr(theirs)
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                              preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as run:
            said, asked = "", False
            while run.poll() is None or select.select([ours], [], [], 0)[0]:
                if not select.select([ours], [], [], 0.1)[0]:
                    continue
                said += os.read(ours, 4096).decode(errors="replace")
                if "private key in" in said and said.endswith(": ") and not asked:
                    os.write(ours, typed.encode())
                    asked = True
        self.assertEqual(termios.tcgetattr(theirs), before)
        os.close(ours)
        os.close(theirs)
        return said, run.returncode

    def test_what_is_no_key_is_refused_by_its_name(self):
        self.start()
        key = rsa(self.folder / "key")
        public = self.folder / "public"
        subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
        elliptic = generate(self.folder / "p256", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        (self.folder / "text").write_text("From: nobody\n")
        encrypted = self.folder / "encrypted"
        subprocess.run(["openssl", "pkcs8", "-topk8", "-in", key, "-out", encrypted, "-passout", "pass:secret"], check=True)
        for file, words in ((public, "public key"), (elliptic, "RSA and Ed25519 only"), (self.folder / "text", "no private key"),
                            (rsa(self.folder / "small", 1024), "too few"), (encrypted, "pass phrase"), (self.folder / "none", "cannot open")):
            with self.subTest(file.name):
                answer = self.imported("pem", file, "--domain", "example.com", "--selector", "old", status=1)
                self.assertIn(words, answer["keys"][0]["result"])
        self.assertEqual(self.keys(), {})

    def test_secrets_reach_neither_ledger_nor_log(self):
        hallmark = self.start()
        key = rsa(self.folder / "key")
        self.imported("pem", key, "--domain", "example.com", "--selector", "old")
        records = ledger_files.records(hallmark.folder / "state/ledger")
        acts = [record.admin_act for record in records if record.HasField("admin_act") and record.admin_act.method == "ImportKey"]
        self.assertTrue(acts)
        for act in acts:
            self.assertIn('"selector"', act.request)
            self.assertNotIn("wrapped_key", act.request)
            self.assertNotIn("wrapped_secret", act.request)
        self.assertNotIn("PRIVATE KEY", hallmark.log_text())

    def test_a_broken_import_leaves_nothing(self):
        hallmark = self.start()
        hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name="example.com"))
        stub = migration_pb2_grpc.MigrationServiceStub(hallmark.officer().channel())
        begun = stub.BeginImport(migration_pb2.BeginImportRequest())
        self.assertEqual(begun.wrapping_key, stub.BeginImport(migration_pb2.BeginImportRequest(token=begun.token)).wrapping_key)
        der = subprocess.run(["openssl", "pkey", "-in", rsa(self.folder / "key"), "-pubout", "-outform", "DER"], check=True,
                             capture_output=True).stdout
        request = migration_pb2.ImportKeyRequest(domain="example.com", selector="old", token=begun.token, public_key=der,
                                                 wrapping_key_sha256=b"0" * 32, wrapped_secret=b"1" * 384, wrapped_key=b"2" * 1224)
        stale = hallmark.call_error(stub.ImportKey, request)
        self.assertEqual(deployment.error_reason(stale), "STATE_CONFLICT", stale.details())
        request.wrapping_key_sha256 = hashlib.sha256(begun.wrapping_key).digest()
        broken = hallmark.call_error(stub.ImportKey, request)
        self.assertIn(deployment.error_reason(broken), ("INVALID_ARGUMENT", "TOKEN_REFUSED"), broken.details())
        self.assertEqual(self.keys(), {})
        hallmark.add_domain("example.net")
        self.assertEqual(len(hallmark.sign(messages.MESSAGE.replace(b"example.com", b"example.net")).signatures), 2)


class OpenDkimTest(Case):
    def sign(self, conf, octets):
        """The DKIM-Signature fields that OpenDKIM makes for a message."""
        file = self.folder / "message.eml"
        file.write_bytes(octets)
        done = subprocess.run([OPENDKIM, "-x", conf, "-t", file, "-vv"], capture_output=True, check=False)
        values = re.findall(rb"### INSHEADER: idx=\d+ hname='DKIM-Signature' hvalue='(.*?)'(?=\n)", done.stdout + done.stderr, re.DOTALL)
        return [b"DKIM-Signature: " + value.replace(b"\n", b"\r\n") + b"\r\n" for value in values]

    def write(self, name, text):
        (self.folder / name).write_text(text.replace("DIR", str(self.folder)))
        return self.folder / name

    def compare(self, conf, domains, records):
        for domain in domains:
            for octets in messages_of(domain) + corpus(domain):
                old, new = self.sign(conf, octets), self.by_hallmark(octets)
                self.assertEqual([tags_of(field)["s"] for field in old], [tags_of(field)["s"] for field in new], octets)
                for before, after in zip(old, new):
                    self.same(before, after, octets, records)

    def write_shipped(self, more):
        """Debian's opendkim.conf with `more`, as one who may not change users takes it."""
        shipped = pathlib.Path("/etc/opendkim.conf").read_text()
        text = re.sub(r"^#(Domain|Selector|KeyFile)\t.*$", "", shipped, flags=re.MULTILINE)
        text = re.sub(r"^(UserID|UMask|Socket|PidFile|TrustAnchorFile)\b.*$", "", text, flags=re.MULTILINE)
        return self.write("opendkim.conf", text + "Mode s\nRequireSafeKeys no\n" + more)

    def test_one_key_and_the_shipped_settings(self):
        """Debian's opendkim.conf with its three lines filled in."""
        key = rsa(self.folder / "key")
        conf = self.write_shipped(f"Domain example.com\nSelector 2020\nKeyFile {key}\n")
        self.start()
        answer = self.imported("opendkim", conf, "--activate", "--unpublished")
        self.assertEqual([(key["selector"], key["result"]) for key in answer["keys"]], [("2020", "imported, active")])
        self.compare(conf, ["example.com"], {"2020._domainkey.example.com.": record_of(key)})
        again = self.imported("opendkim", conf, "--activate", "--unpublished")
        self.assertEqual({entry["result"] for entry in again["made"]}, {"there already"})
        self.assertEqual([key["result"] for key in again["keys"]], ["there already, active"])

    def test_tables_and_field_lists(self):
        for name in ("a", "b", "c", "unused"):
            rsa(self.folder / name)
        self.write("KeyTable", "# keys\nka example.com:one:DIR/a\nkb example.org:two:DIR/b\nkc example.net:three:DIR/c\n"
                   "ku example.com:never:DIR/unused\n")
        self.write("SigningTable", "*@example.com ka\n*@example.org kb\n*@*.example.org kb\nboss@example.net kc\n*@example.com ku\n"
                   "*@example.net kc\n*@stranger.example ka\nsales-*@example.com ka\n")
        self.write("TrustedHosts", "127.0.0.1\n10.1.0.0/16\nmail.example.com\n")
        text = """\
Mode s
RequireSafeKeys no
Canonicalization simple/relaxed
KeyTable DIR/KeyTable
SigningTable refile:DIR/SigningTable
InternalHosts DIR/TrustedHosts
ExternalIgnoreList DIR/TrustedHosts
SignHeaders *,+X-Mailer,+Message-ID,-Reply-To
OmitHeaders *,+References
OversignHeaders From,Subject
SignatureTTL 86400
LogWhy yes
"""
        conf = self.write("plain.conf", text)
        scripted = self.write("opendkim.conf", text + "SetupPolicyScript DIR/setup.lua\n")
        self.start()
        answer = self.imported("opendkim", scripted, "--activate", "--unpublished")
        states = {(key.selector, key.domain): key.state for key in self.keys().values()}
        self.assertEqual(states, {("one", "example.com"): admin_pb2.KEY_STATE_ACTIVE, ("two", "example.org"): admin_pb2.KEY_STATE_ACTIVE,
                                  ("three", "example.net"): admin_pb2.KEY_STATE_ACTIVE, ("never", "example.com"): admin_pb2.KEY_STATE_GENERATED})
        notes = {(note["kind"], note["place"].removeprefix(str(self.folder) + "/")): note["text"] for note in answer["notes"]}
        self.assertIn("by address", notes.pop(("not carried over", "SigningTable:4")).replace("by domain, not ", ""))
        self.assertIn("no effect", notes.pop(("differs", "SigningTable:5")))
        self.assertIn("alignment", notes.pop(("not carried over", "SigningTable:7")))
        self.assertIn("pattern", notes.pop(("not carried over", "SigningTable:8")))
        self.assertIn("Lua", notes.pop(("not carried over", "opendkim.conf:13")))
        self.assertEqual(answer["senders"], ["127.0.0.1", "10.1.0.0/16", "mail.example.com"])
        text = self.hallmark.dkimctl("import", "opendkim", str(scripted), "--dry-run").stdout
        self.assertIn('    identity = "dns:mail.example.com"\n', text)
        self.assertIn("[[relay]]  # one for each in 10.1.0.0/16\n", text)
        self.assertLessEqual(max(map(len, text.replace(str(self.folder), "").splitlines())), 80)
        records = {f"{selector}._domainkey.{domain}.": record_of(self.folder / file)
                   for selector, domain, file in (("one", "example.com", "a"), ("two", "example.org", "b"), ("three", "example.net", "c"))}
        self.compare(conf, ["example.com", "example.org", "mail.example.org", "example.net"], records)

    def test_several_signatures_and_the_shipped_settings(self):
        """Two RSA keys: Debian's OpenDKIM makes no Ed25519 signature."""
        for name in ("a", "b"):
            rsa(self.folder / name)
        self.write("KeyTable", "ka example.com:one:DIR/a\nkb example.com:two:DIR/b\n")
        self.write("SigningTable", "*@example.com ka\n*@example.com kb\n")
        conf = self.write_shipped("MultipleSignatures yes\nKeyTable file:DIR/KeyTable\nSigningTable refile:DIR/SigningTable\n")
        self.start()
        answer = self.imported("opendkim", conf, "--activate", "--unpublished")
        self.assertEqual({(key["selector"], key["result"]) for key in answer["keys"]}, {(name, "imported, active") for name in ("one", "two")})
        self.assertEqual(len(self.sign(conf, message("example.com"))), 2)
        self.compare(conf, ["example.com"], {f"{selector}._domainkey.example.com.": record_of(self.folder / file)
                                             for selector, file in (("one", "a"), ("two", "b"))})

    def test_several_signatures_and_ed25519(self):
        rsa(self.folder / "a")
        ed25519(self.folder / "e")
        self.write("KeyTable", "ka example.com:one:DIR/a\nke example.com:two:DIR/e\n")
        self.write("SigningTable", "example.com ka\n*@example.com ke\n")
        conf = self.write("opendkim.conf", "Mode s\nRequireSafeKeys no\nMultipleSignatures yes\nKeyTable file:DIR/KeyTable\n"
                          "SigningTable refile:DIR/SigningTable\n")
        self.start()
        answer = self.imported("opendkim", conf, "--dry-run")
        self.assertIn("pattern", " ".join(note["text"] for note in answer["notes"]))
        self.assertEqual(self.keys(), {})

    def shipped_example(self, name):
        """One of the examples that OpenDKIM comes with, as the opendkim.conf of another host."""
        shipped = next((path for path in (EXAMPLES / name, EXAMPLES / f"{name}.gz") if path.exists()), None)
        if shipped is None:
            self.skipTest(f"OpenDKIM's {name} is not installed")
        octets = shipped.read_bytes()
        (self.folder / "etc").mkdir()
        self.conf = self.folder / "etc/opendkim.conf"
        self.conf.write_bytes(gzip.decompress(octets) if shipped.suffix == ".gz" else octets)

    def line_of(self, name):
        """Where the example has this setting."""
        [number] = [number for number, line in enumerate(self.conf.read_text().splitlines(), 1) if line.split()[:1] == [name]]
        return f"{self.conf}:{number}"

    def assert_told(self, domain, selector, key_file):
        """What a dry run says of an example: first as it is, then with its key where it says."""
        self.start()
        key = self.folder / key_file.lstrip("/")
        arguments = ("opendkim", self.conf, "--root", self.folder, "--dry-run")
        answer = self.imported(*arguments, status=1)
        self.assertEqual([one["result"] for one in answer["keys"]], [f"not imported: {key}: cannot open: No such file or directory"])
        key.parent.mkdir(parents=True)
        rsa(key)
        self.assertEqual(self.imported(*arguments), {
            "dry_run": True,
            "made": [{"what": what, "result": "would be made"} for what in ("profile opendkim", f"domain {domain}")],
            "keys": [{"domain": domain, "selector": selector, "algorithm": "rsa2048", "source": str(key), "result": "would be imported",
                      "good": True}],
            "notes": [{"kind": "not carried over", "place": self.line_of("Socket"),
                       "text": "Socket: relays call Hallmark's gRPC API instead of the milter's socket"}],
            "senders": ["127.0.0.1"], "policy": "", "policy_file": "", "problem": ""})
        self.assertEqual(list(self.hallmark.admin().ListDomains(admin_pb2.ListDomainsRequest()).domains), [])

    def test_the_shipped_sample(self):
        """Every setting there is, most of them commented out."""
        self.shipped_example("opendkim.conf.sample")
        self.assert_told("example.com", "my-selector-name", "/var/db/dkim/example.private")

    def test_the_shipped_simple_example(self):
        self.shipped_example("opendkim.conf.simple")
        self.assert_told("localhost", "default", "/var/db/dkim/localhost.private")

    def test_the_shipped_example_that_only_verifies(self):
        self.shipped_example("opendkim.conf.simple-verify")
        self.start()
        done = self.hallmark.dkimctl("import", "opendkim", str(self.conf), "--dry-run", status=1)
        self.assertIn(f'{self.line_of("Mode")}: Mode is "v": this OpenDKIM signs nothing', done.stderr)

    def test_files_that_are_none(self):
        self.start()
        os.mkfifo(self.folder / "pipe")
        (self.folder / "nul").write_bytes(b"a\0b\n")
        with open(self.folder / "huge", "wb") as file:
            file.truncate(1 << 40)
        for name, words in (("pipe", "not a regular file"), ("nul", "NUL"), ("huge", "huge"), ("absent", "absent"), (".", "regular file")):
            with self.subTest(name):
                conf = self.write("opendkim.conf", f"KeyTable DIR/{name}\nSigningTable refile:DIR/{name}\n")
                done = self.hallmark.dkimctl("import", "opendkim", str(conf), status=1)
                self.assertIn(words, done.stderr)
        conf = self.write("opendkim.conf", "Domain example.com\nSelector s\nKeyFile DIR/pipe\n")
        self.assertIn("not a regular file", self.imported("opendkim", conf, status=1)["keys"][0]["result"])
        self.assertEqual(self.keys(), {})

    def test_a_copy_of_another_host(self):
        """The configuration names /etc/...; --root says where its copy is."""
        (self.folder / "etc/dkim").mkdir(parents=True)
        key = rsa(self.folder / "etc/dkim/key")
        conf = self.write("etc/opendkim.conf", "Domain example.com\nSelector s1\nKeyFile /etc/dkim/key\nInclude /etc/more.conf\n")
        self.write("etc/more.conf", "SubDomains yes\n")
        self.start()
        answer = self.imported("opendkim", conf, "--root", self.folder, "--activate", "--unpublished")
        self.assertEqual(answer["keys"][0]["result"], "imported, active")
        self.assertIn(("also read", "/etc/more.conf"), [(note["kind"], note["text"]) for note in answer["notes"]])
        octets = message("sub.example.com")
        [field] = self.by_hallmark(octets)
        self.assertEqual(tags_of(field)["d"], "example.com")
        self.verifies(field, octets, {"s1._domainkey.example.com.": record_of(key)})


class RspamdTest(Case):
    def start_rspamd(self, signing):
        """rspamd with dkim_signing alone, on a Unix socket below the folder."""
        self.socket = self.folder / "socket"
        rules, domains = self.folder / "no_rules.lua", self.folder / "tld.dat"
        rules.write_text("require 'global_functions' ()\nconfig['regexp'] = {}\nrspamd_maps = {}\n")
        domains.write_text("com\norg\nnet\n")
        config = self.folder / "rspamd.conf"
        config.write_text(f"""\
options {{
  pidfile = "{self.folder}/pid"; control_socket = "{self.folder}/control mode=0600"; cache_file = "{self.folder}/cache";
  history_file = "{self.folder}/history"; hs_cache_dir = "{self.folder}"; tempdir = "{self.folder}"; url_tld = "{domains}";
  filters = "dkim"; disable_hyperscan = true;
}}
lang_detection {{ languages = []; }}
logging {{ type = "console"; level = "warning"; }}
worker "normal" {{ bind_socket = "{self.socket} mode=0600"; count = 1; }}
modules {{ path = "/usr/share/rspamd/plugins/dkim_signing.lua"; }}
lua = "{rules}";
dkim_signing {{
{signing}
}}
""")
        log = open(self.folder / "rspamd.log", "wb")
        self.addCleanup(log.close)
        # With SIGTERM its workers end too.
        process = subprocess.Popen([RSPAMD, "-f", "-i", "-c", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                   start_new_session=True, preexec_fn=lambda: deployment.die_with_parent(signal.SIGTERM))
        self.addCleanup(self.stop_rspamd, process)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.socket)) == 0:
                    return
            self.assertIsNone(process.poll(), (self.folder / "rspamd.log").read_text())
            self.assertLess(time.monotonic(), deadline, "rspamd did not start")
            time.sleep(0.05)

    @staticmethod
    def stop_rspamd(process):
        process.terminate()  # its workers end with it
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: nobody else is in it
            process.wait()

    def sign(self, octets, domain):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        connection.request("POST", "/checkv2", octets, {"IP": "127.0.0.1", "From": f"joe@{domain}", "Rcpt": "x@example.edu"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        values = answer.get("dkim-signature") or []
        return [b"DKIM-Signature: " + value.encode() + b"\r\n" for value in ([values] if isinstance(values, str) else values)]

    def compare(self, domains, records):
        for domain in domains:
            for octets in messages_of(domain) + corpus(domain):
                if octets.count(b"\nTo: ") > 1:
                    continue  # what rspamd 3.4 signs over a field that comes twice, dkimpy does not verify
                old, new = self.sign(octets, domain), self.by_hallmark(octets)
                self.assertEqual(sorted(tags_of(field)["s"] for field in old), sorted(tags_of(field)["s"] for field in new), octets)
                for before in old:
                    [after] = [field for field in new if tags_of(field)["s"] == tags_of(before)["s"]]
                    # Fields marked (x) are named once more by rspamd where they occur; the set of names is the same.
                    self.same(before, after, octets, records, present_only=True)

    def test_domains_selectors_and_files(self):
        folder = self.folder / "keys"
        folder.mkdir()
        rsa(folder / "example.org.dkim.key")
        rsa(folder / "one")
        seed(ed25519(folder / "two.pem"), folder / "two")  # the one form of Ed25519 that rspamd 3.4 reads
        rsa(folder / "example.net.special.key")
        maps = self.folder / "selectors.map"
        maps.write_text("# by domain\nexample.net special\n")
        signing = f"""\
  path = "{folder}/$domain.$selector.key";
  selector_map = "{maps}";
  allow_username_mismatch = true;
  domain {{
    example.com {{
      selectors [
        {{ path = "{folder}/one"; selector = "one"; }},
        {{ path = "{folder}/two"; selector = "two"; }}
      ]
    }}
  }}
"""
        self.start_rspamd(signing)
        (self.folder / "local.d").mkdir()
        (self.folder / "local.d/dkim_signing.conf").write_text(signing)
        self.start()
        answer = self.imported("rspamd", self.folder, "--activate", "--unpublished")
        self.assertEqual({(key["selector"], key["domain"], key["result"]) for key in answer["keys"]},
                         {("one", "example.com", "imported, active"), ("two", "example.com", "imported, active"),
                          ("dkim", "example.org", "imported, active"), ("special", "example.net", "imported, active")})
        self.assertIn("not carried over", {note["kind"] for note in answer["notes"]})
        records = {f"{selector}._domainkey.{domain}.": record_of(folder / file)
                   for selector, domain, file in (("one", "example.com", "one"), ("two", "example.com", "two.pem"),
                                                  ("dkim", "example.org", "example.org.dkim.key"),
                                                  ("special", "example.net", "example.net.special.key"))}
        self.compare(["example.com", "example.org", "mail.example.org", "example.net"], records)

    def test_the_shipped_configuration(self):
        """/etc/rspamd as the package has it, and one key where it looks for them."""
        copy = self.folder / "copy"
        shutil.copytree("/etc/rspamd", copy / "etc/rspamd")
        (copy / "var/lib/rspamd/dkim").mkdir(parents=True)
        rsa(copy / "var/lib/rspamd/dkim/example.com.dkim.key")
        self.start()
        answer = self.imported("rspamd", copy / "etc/rspamd", "--root", copy, "--dry-run")
        self.assertEqual([(key["selector"], key["domain"], key["result"]) for key in answer["keys"]],
                         [("dkim", "example.com", "would be imported")])

    def test_the_shipped_example_of_several_signatures(self):
        """The example in the package's own file, without the signs that make it a comment: an RSA and an Ed25519 key of one domain."""
        copy = self.folder / "copy"
        keys = copy / "var/lib/rspamd/dkim"
        shutil.copytree("/etc/rspamd", copy / "etc/rspamd")
        keys.mkdir(parents=True)
        rsa(keys / "example.key")
        seed(ed25519(self.folder / "eddsa.pem"), keys / "eddsa.key")  # the one form of Ed25519 that rspamd 3.4 reads
        shipped = copy / "etc/rspamd/modules.d/dkim_signing.conf"
        before, title, example = shipped.read_text().partition("  # Domain specific settings\n")
        shipped.write_text(before + title + re.sub(r"^  #", "  ", example, flags=re.MULTILINE))
        signing = re.search(r"^dkim_signing \{\n(.*)^\}", shipped.read_text(), re.MULTILINE | re.DOTALL).group(1)
        self.start_rspamd(signing.replace("/var/lib/rspamd", str(copy / "var/lib/rspamd")))
        self.start()
        answer = self.imported("rspamd", copy / "etc/rspamd", "--root", copy, "--activate", "--unpublished")
        self.assertEqual({(key["selector"], key["domain"], key["result"]) for key in answer["keys"]},
                         {(selector, "example.com", "imported, active") for selector in ("ds", "eddsa")})
        self.assertEqual(len(self.sign(message("example.com"), "example.com")), 2)
        self.compare(["example.com"], {"ds._domainkey.example.com.": record_of(keys / "example.key"),
                                       "eddsa._domainkey.example.com.": record_of(self.folder / "eddsa.pem")})


class TokenTest(Case):
    def test_a_token_without_unwrap(self):
        with deployment.Deployment(start=False) as hallmark:
            self.hallmark = hallmark
            hallmark.use_faulty_module("C_UnwrapKey * return 0x54\n")
            hallmark.start()
            octets = message("example.com")
            for name, file in (("r", rsa(self.folder / "r")), ("e", ed25519(self.folder / "e"))):
                answer = self.imported("pem", file, "--domain", "example.com", "--selector", name, "--activate", "--unpublished")
                self.assertEqual(answer["keys"][0]["result"], "imported, active")
            fields = self.by_hallmark(octets)
            records = {f"{name}._domainkey.example.com.": record_of(self.folder / name) for name in "re"}
            self.assertEqual(len(fields), 2)
            for field in fields:
                self.verifies(field, octets, records)

    def objects(self):
        """The labels of all key objects in the token."""
        config = self.hallmark.config.read_text()
        module = re.search(r'FAULTY_PKCS11_MODULE = "([^"]+)"', config).group(1)
        run = subprocess.run(["pkcs11-tool", "--module", module, "--token-label", re.search(r"token=([^;?\"]+)", config).group(1), "--login",
                              "--pin", self.hallmark.pin_file().read_text().strip(), "--list-objects"], check=True, capture_output=True, text=True,
                             env={**os.environ, "SOFTHSM2_CONF": str(self.hallmark.folder / "softhsm/softhsm2.conf")})
        return re.findall(r"label: +(\S+)", run.stdout)

    def test_what_an_import_that_is_cut_short_leaves(self):
        name = "old._domainkey.example.com"
        key = rsa(self.folder / "key")
        arguments = ("pem", key, "--domain", "example.com", "--selector", "old")
        with deployment.Deployment(start=False) as hallmark:
            self.hallmark = hallmark
            faults = hallmark.use_faulty_module("")

            def change(rules):
                following = faults.with_suffix(".next")
                following.write_text(rules)
                following.rename(faults)

            def history():
                return hallmark.dkimctl("key", "history", "example.com").stdout

            hallmark.start()
            hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name="example.com"))
            wait_for(lambda: hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens[0].state == admin_pb2.TOKEN_STATE_READY,
                     "the first login, which would end the rule")
            # tokend ends: with the next one what is in the token goes.
            change("C_Sign * crash of CKM_RSA_PKCS until C_Login\n")
            self.assertNotIn("left in token", str(self.imported(*arguments, status=1)))
            self.assertNotIn(name, self.objects())
            self.assertNotIn("RECORDED", history())
            # signerd ends: the next import finds it.
            change("C_Sign * hang of CKM_RSA_PKCS until C_Login\n")
            cut = threading.Thread(target=hallmark.dkimctl, args=("import", *arguments), kwargs={"status": None})
            cut.start()
            wait_for(lambda: "hang" in faults.with_name(faults.name + ".log").read_text(), "the key is not tried")
            hallmark.kill()
            cut.join()
            hallmark.start(enroll=False)
            hallmark.officer().log_in()
            self.assertEqual(self.objects().count(name), 2, "both objects of the pair")
            self.assertIn("RECORDED", history())
            self.assertEqual(self.imported(*arguments)["keys"][0]["result"], "imported, generated")
            self.assertEqual(self.objects().count(name), 2)
            self.assertNotIn("RECORDED", history())


if __name__ == "__main__":
    unittest.main()
