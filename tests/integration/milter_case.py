"""What the tests of the milter protocol share: a deployment, dkim-milters beside it, and messages that are signed or are not."""

import os
import pathlib
import re
import unittest
import urllib.request

import deployment
import dkim_milter
import mail_way
from hallmark.admin.v1 import admin_pb2
from milter_client import ACCEPT, CONTINUE, MAIL, Mail, MilterConnection
from waiting import wait_for

AUTHENTICATED = {MAIL: {"{auth_authen}": "alice"}}


def message(name="lunch", body=b"At noon?\r\n", domain="example.com"):
    """A message that no other of the test is like."""
    return (f"From: Alice <alice@{domain}>\r\nTo: Bob <bob@example.org>\r\nSubject: Lunch\r\n\tat {name}\r\n"
            f"Message-ID: <{name}@{domain}>\r\n\r\n").encode() + body


class MilterCase(unittest.TestCase):
    """Signs for example.com, and for simple.example with a profile of simple canonicalization."""
    POLICY = None  # a change of policy.toml
    CONFIG = None  # a change of hallmark.toml

    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment(start=False)
        cls.addClassCleanup(cls.hallmark.close)
        if cls.POLICY:
            cls.hallmark.edit_policy(cls.POLICY)
        if cls.CONFIG:
            cls.hallmark.edit_config(cls.CONFIG)
        cls.hallmark.start()
        cls.hallmark.add_domain("example.com")
        cls.hallmark.admin().CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(
            profile=admin_pb2.SigningProfile(name="simple", header_canonicalization="simple")))
        cls.hallmark.add_domain("simple.example", profile="simple")
        cls.keys = mail_way.keys_of(cls.hallmark.key_lines(["example.com", "simple.example"]))

    def start_milter(self, cleanup=None, **options):
        """A dkim-milter on a TCP port and a Unix socket."""
        number = len(list(self.hallmark.folder.glob("milter-*.sock")))
        options.setdefault("listen", ("inet:127.0.0.1:0", f"unix:{self.hallmark.folder}/milter-{number}.sock"))
        milter = dkim_milter.DkimMilter(self.hallmark, **options)
        (cleanup or self.addCleanup)(milter.close)
        return milter

    def connect(self, address, **negotiation):
        """A connection that has negotiated; closed with the test."""
        mta = MilterConnection(address)
        self.addCleanup(mta.close)
        mta.negotiate(**negotiation)
        return mta

    def assert_signed(self, answer, domain="example.com"):
        """The message passes with its domain's two signatures on top, and all there are verify."""
        self.assertEqual((answer.verdict, answer.text), (CONTINUE, ""))
        self.assertEqual([name for _, name, _ in answer.inserted], [b"DKIM-Signature"] * 2)
        self.assertTrue(answer.message.lower().startswith(b"dkim-signature:"), answer.message)
        found = mail_way.own_signatures(answer.message, self.keys)
        self.assertEqual([(name, passed) for name, _, passed in found], [(domain, True)] * 2, answer.message)

    def assert_unsigned(self, answer):
        """The message passes as it is."""
        self.assertIn(answer.verdict, (ACCEPT, CONTINUE), answer)
        self.assertEqual(answer.inserted, [])

    def assert_says(self, milter, text):
        """Its log has it; lines come a moment later."""
        wait_for(lambda: text in milter.log_text(), lambda: f"{text!r} is in the log:\n{milter.log_text()}")

    def assert_signs(self, address):
        """Signs on a connection of its own, closed afterwards."""
        with MilterConnection(address) as mta:
            mta.negotiate()
            self.assert_signed(mta.submit(Mail(message("again"), macros=AUTHENTICATED)))


def scrape(milter):
    """{'name{label="value"}': value} of the milter's metrics."""
    address = re.findall(r"metrics on (\S+)", milter.log_text())[-1]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def messages_counted(milter):
    """{verdict: number} of the messages that were counted, without those that are 0."""
    pattern = re.compile(r'hallmark_milter_messages_total\{verdict="(\w+)"\}')
    return {pattern.match(name).group(1): int(value) for name, value in scrape(milter).items() if pattern.match(name) and value}


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def threads(process):
    return len(os.listdir(f"/proc/{process.pid}/task"))


def resident_kb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
