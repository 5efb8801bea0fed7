"""Mail through Postfix and dkim-milter: what is signed and for whom, what is left alone, and mail of every kind."""

import pathlib
import re
import ssl
import tempfile
import unittest

import deployment
import dkim_milter
import mail_way
import messages
import opendkim
import pki
import postfix
import tcp_proxy
from dkim_milter import OUTSIDE
from mail_way import LOCAL, REMOTE
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2, ledger_pb2

POLICY = """
[[partner]]
name = "own"
author_domains = ["*"]
signing_domains = ["*"]
""" + "".join(f"""
[[partner]]
name = "{name}"
author_domains = ["example.com"]
signing_domains = ["example.com"]
""" for name in ("acme", "beta", "press", "news")) + """
[[relay]]
name = "relay1"
identity = "dns:relay1.localdomain"
partners = ["own", "acme", "beta", "press", "news"]
"""
DOMAINS = {"example.com": "", "example.net": "", "relay.example": "", "simple.example": "simple"}  # and their profiles
NOBODY = {"smtpd_recipient_restrictions": "check_recipient_access inline:{{nobody@remote.example = REJECT}}"}
USERS = {"alice@acme.example": "secret", "bob@other.example": "secret"}
SENDER = "alice@example.com"
BIG_BODY = (b"The quick brown fox jumps over the lazy dog, and then it does so once more.x\r\n") * (50_000_000 // 79)
# What a client may send: (fields, body), by a name that is a recipient too.
ODD = {
    "bare-cr": (b"", b"a\rb\r\nc\r\r\n"), "bare-cr-field": (b"Comments: one\rtwo\r\n", b"x\r\n"), "bare-lf": (b"", b"a\nb\r\n"),
    "blank-lines": (b"", b"\r\n\r\n\r\n"), "dots": (b"", b".\r\n.x\r\n..y\r\n"), "empty": (b"", b""), "from": (b"", b"From me\r\n"),
    "folds": (b"Keywords:\r\n \r\n x\r\nCc:\tcarol@example.org,\r\n\t<d@example.org>\r\n", b"x\r\n"),
    "long-field": (b"References: " + b"<aaaaaaaaaaaaaaaaaaaaaaaa@example.com> " * 60 + b"\r\n", b"x\r\n"),
    "long-line": (b"", b"x" * 5000 + b"\r\n"), "nul": (b"Comments: a\0b\r\n", b"a\0b\r\n"),
    "spaces": (b"Cc:   carol@example.org  \r\nReply-To:alice@simple.example\r\nMIME-Version :\t1.0\r\n", b"a  \t \r\n \r\n"),
}


def numbered(number, author="alice@example.com"):
    return (f"From: {author}\r\nTo: bob@example.org\r\nSubject: Number {number}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{number}@example.com>\r\n\r\nHello {number}\r\n").encode()


class MilterMailTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = cls.enterClassContext(deployment.Deployment(start=False))
        cls.hallmark.edit_policy(lambda _: POLICY)
        cls.hallmark.start()
        cls.hallmark.admin().CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(
            profile=admin_pb2.SigningProfile(name="simple", header_canonicalization="simple")))
        for domain, profile in DOMAINS.items():
            cls.hallmark.add_domain(domain, profile)
        cls.key_lines = cls.hallmark.key_lines(DOMAINS)
        cls.keys = mail_way.keys_of(cls.key_lines)
        cls.proxy = cls.enterClassContext(tcp_proxy.TcpProxy(cls.hallmark.signing_address))
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="hallmark-mail-")))
        cls.folder.chmod(0o755)
        ports = {"news": postfix.free_port()}
        cls.milter = cls.enterClassContext(dkim_milter.DkimMilter(
            cls.hallmark, [cls.proxy.address], cls.tables(ports["news"]), [
                {"name": "acme", "users": ["*@acme.example"]}, {"name": "beta", "certificates": ["relay.beta.example"]},
                {"name": "press", "daemon_names": ["PRESS"]}, {"name": "news", "daemon_ports": [str(ports["news"])]}],
            ["inet:127.0.0.1:0", f"unix:{cls.folder / 'milter.sock'}"]))
        strict = {choice: cls.enterClassContext(dkim_milter.DkimMilter(cls.hallmark, tables={"on": {"unconfigured": choice}}))
                  for choice in ("reject", "tempfail")}
        cls.authority = pki.Authority()
        cls.way = cls.enterClassContext(mail_way.MailWay(cls.milter.address, cls.key_lines, {
            "smtp": {}, "inbound": {"milter_macro_daemon_name": "INBOUND"}, "press": {"milter_macro_daemon_name": "PRESS"}, "news": {},
            "socket": {"smtpd_milters": cls.milter.addresses[1]}, "submission": {"smtpd_sasl_auth_enable": "yes"}, "tls": cls.tls_service(),
            **{choice: {"smtpd_milters": milter.address} for choice, milter in strict.items()}},
            {"internal_mail_filter_classes": "bounce"}, USERS, NOBODY, ports))

    @staticmethod
    def tables(news_port):
        return {"milter": {"socket_group": "postfix"}, "outbound": {"daemon_names": ["PRESS"], "daemon_ports": [str(news_port)], "certificates": ["*.beta.example"],
                             "inbound_daemon_names": ["INBOUND"]}}

    @classmethod
    def tls_service(cls):
        """A port that asks for certificates of cls.authority."""
        certificate, key = cls.authority.issue(dns=["localhost"], server=True)
        (cls.folder / "server.pem").write_bytes(key + certificate)
        (cls.folder / "ca.pem").write_bytes(cls.authority.pem)
        return {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": cls.folder / "server.pem", "smtpd_tls_ask_ccert": "yes",
                "smtpd_tls_CAfile": cls.folder / "ca.pem"}

    def setUp(self):
        self.way.relay.maildir.clear()
        self.way.receiver.maildir.clear()

    # What the tests do again and again.

    def send(self, message, sender=SENDER, recipients=(LOCAL,), code=250, **options):
        said, text = self.way.relay.send(sender, list(recipients), message, **options)
        self.assertEqual(said, code, text)
        return text

    def delivered(self):
        """The one message in the relay's Maildir."""
        mails = self.way.relay.maildir.wait(1)
        self.assertEqual(len(mails), 1)
        return mails[0].message

    def assert_signed(self, message, domain="example.com"):
        """One good signature of each algorithm, on top, and none besides."""
        self.assertEqual([(found, good) for found, _, good in mail_way.own_signatures(message, self.keys)], [(domain, True)] * 2)
        header = message.partition(b"\r\n\r\n")[0]
        self.assertEqual(len(re.findall(rb"^DKIM-Signature:", header, re.MULTILINE)), 2)

    def assert_left_alone(self, message):
        self.assertNotIn(b"DKIM-Signature", message)

    def assert_partner(self, number, partner):
        """Which partner the ledger has for the message of numbered(number)."""
        stub = self.hallmark.officer().ledger()
        search = ledger_pb2.SearchRecordsRequest(message_id=f"{number}@example.com")
        records = wait_for(lambda: stub.SearchRecords(search).records, "the ledger's record")
        self.assertEqual({record.record.signature.partner for record in records}, {partner})

    # What is signed.

    def test_own_network_is_signed_and_the_next_server_agrees(self):
        self.send(messages.MESSAGE, recipients=[LOCAL, REMOTE])
        message = self.delivered()
        self.assert_signed(message)
        self.assertEqual([field.partition(b":")[0] for field in re.split(rb"\r\n(?![ \t])", message)[:3]],
                         [b"DKIM-Signature", b"DKIM-Signature", b"Received"])
        self.assertEqual(opendkim.results(self.way.receiver.maildir.wait(1)[0].message), ["pass", "pass"])

    def test_unix_socket(self):
        self.send(messages.MESSAGE, service="socket")
        self.assert_signed(self.delivered())

    def test_outside_is_left_alone(self):
        self.send(messages.MESSAGE, source=OUTSIDE)
        self.assert_left_alone(self.delivered())

    def test_inbound_port_is_left_alone_even_in_the_own_network(self):
        self.send(messages.MESSAGE, service="inbound")
        self.assert_left_alone(self.delivered())

    def test_unconfigured_author_domain(self):
        message = numbered("unconfigured", "alice@elsewhere.example")
        for choice, code in (("reject", 550), ("tempfail", 451)):
            self.assertIn("elsewhere.example", self.send(message, service=choice, code=code))
        self.send(message)
        self.assert_left_alone(self.delivered())

    def test_refused_message_says_why(self):
        twice = b"From: mallory@example.net\r\n" + messages.MESSAGE
        self.assertIn("FROM_REPEATED", self.send(twice, code=550))
        self.assertEqual(self.way.relay.maildir.count(), 0)

    # For whom.

    def test_login_says_the_partner(self):
        for name, partner in (("alice@acme.example", "acme"), ("bob@other.example", "own")):
            with self.subTest(name):
                self.setUp()
                self.send(numbered(name), service="submission", source=OUTSIDE, user=(name, USERS[name]))
                self.assert_signed(self.delivered())
                self.assert_partner(name, partner)

    def client(self, authority, name):
        """An SSLContext with a client certificate."""
        certificate, key = authority.issue(name=name)
        path = self.folder / "client.pem"
        path.write_bytes(certificate + key)
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        context.check_hostname = False
        context.load_cert_chain(path)
        return context

    def test_client_certificate_says_the_partner(self):
        self.send(numbered("certificate"), service="tls", source=OUTSIDE, tls=self.client(self.authority, "relay.beta.example"))
        self.assert_signed(self.delivered())
        self.assert_partner("certificate", "beta")

    def test_certificate_that_nobody_vouches_for_is_none(self):
        self.send(numbered("forged"), service="tls", source=OUTSIDE, tls=self.client(pki.Authority(), "relay.beta.example"))
        self.assert_left_alone(self.delivered())

    def test_port_says_the_partner(self):
        for service in ("press", "news"):  # by the daemon's name, and by the port's number
            with self.subTest(service):
                self.setUp()
                self.send(numbered(service), service=service, source=OUTSIDE)
                self.assert_signed(self.delivered())
                self.assert_partner(service, service)

    # Mail of every kind.

    def test_mail_of_a_local_program(self):
        self.way.relay.submit(SENDER, LOCAL, messages.MESSAGE.replace(b"\r\n", b"\n"))
        self.assert_signed(self.delivered())

    def test_mail_from_elsewhere_that_a_local_program_hands_over(self):
        inbound = b"Received: from mx.example ([203.0.113.9])\n\tby filter.example; Mon, 23 Nov 2026 10:00:00 +0000\n" \
            + messages.MESSAGE.replace(b"\r\n", b"\n")
        self.way.relay.submit(SENDER, LOCAL, inbound)
        self.assert_left_alone(self.delivered())
        self.way.relay.maildir.clear()
        self.send(inbound.replace(b"\n", b"\r\n"))
        self.assert_left_alone(self.delivered())

    def test_empty_sender(self):
        self.send(messages.MESSAGE, sender="", source="127.0.0.1")
        self.assertEqual(self.way.relay.maildir.wait(1)[0].sender, "")
        self.assert_signed(self.delivered())

    def test_bounce_is_signed_by_its_from_domain(self):
        self.send(messages.MESSAGE, sender=LOCAL, recipients=["nobody@remote.example"])
        mail = self.way.relay.maildir.wait(1)[0]
        self.assertEqual(mail.sender, "")
        self.assertRegex(mail.message, rb"\r\nFrom: [^\r]*MAILER-DAEMON@relay\.example")
        self.assert_signed(mail.message, "relay.example")

    def test_many_messages_on_a_connection(self):
        with self.way.relay.connect() as smtp:
            smtp.ehlo()
            for number in range(10):
                author = ("alice@example.com", "carol@example.net", "dave@elsewhere.example")[number % 3]
                self.assertEqual(smtp.mail("given-up@example.com")[0], 250)
                self.assertEqual(smtp.rcpt("given-up@local.example")[0], 250)
                self.assertEqual(smtp.rset()[0], 250)
                self.assertEqual(postfix.transaction(smtp, author, [f"m{number}@local.example"], numbered(number, author))[0], 250)
        mails = self.way.relay.maildir.wait(10)
        self.assertEqual(len(mails), 10)
        for mail in mails:
            number = int(re.search(r"m(\d+)@", mail.recipient).group(1))
            with self.subTest(number):
                self.assertIn(b"Subject: Number %d\r\n" % number, mail.message)
                if number % 3 == 2:
                    self.assert_left_alone(mail.message)
                else:
                    self.assert_signed(mail.message, ("example.com", "example.net")[number % 3])

    def test_eight_bits(self):
        message = messages.MESSAGE.replace(b"At noon?", "Zu Mittag? Grüße, und £5.".encode())
        self.send(message, recipients=[LOCAL, REMOTE], options=["BODY=8BITMIME"])
        self.assert_signed(self.delivered())
        self.assertEqual(opendkim.results(self.way.receiver.maildir.wait(1)[0].message), ["pass", "pass"])

    def test_what_postfix_changes_after_signing_and_how_not(self):
        """As docs/relays.md has it: a next server that offers no 8BITMIME, and a line that is too long."""
        mime = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        eight_bits = mime + messages.MESSAGE.replace(b"At noon?", "Grüße".encode())
        long_line = messages.MESSAGE + b"x" * 2000 + b"\r\n"
        for kept, limit in (("yes", "0"), ("no", "998")):
            with self.subTest(kept=kept), mail_way.MailWay(
                    self.milter.address, self.key_lines, settings={"disable_mime_output_conversion": kept, "smtp_line_length_limit": limit},
                    receiver_settings={"smtpd_discard_ehlo_keywords": "8bitmime, smtputf8"}) as way:
                way.relay.send(SENDER, [REMOTE], eight_bits, options=["BODY=8BITMIME"])
                way.relay.send(SENDER, [REMOTE], long_line)
                found = [opendkim.results(mail.message) for mail in way.receiver.maildir.wait(2)]
                self.assertEqual(found, [["pass" if kept == "yes" else "fail"] * 2] * 2)

    def test_how_postfix_may_hide_where_a_client_is(self):
        """As docs/relays.md has it: deleted Received fields break no signature, but mail that comes back is not known as such any more."""
        subject_first = b"Subject: Lunch\r\n" + numbered("own").replace(b"Subject: Number own\r\n", b"")
        back = b"Received: from mx.example ([203.0.113.9]) by filter.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n" + numbered("back")
        ways = {"deleted": ("header_checks", "/^Received:/ IGNORE", True), "deleted on the way out": ("smtp_header_checks", "/^Received:/ IGNORE", False),
                "replaced": ("header_checks", r"/^Received: from client.*[[:space:]](by relay\.example .*)/ REPLACE Received: $1", False)}
        for name, (setting, rule, signed) in ways.items():
            rules = self.folder / name.replace(" ", "-")
            rules.write_text(rule + "\n")
            with self.subTest(name), mail_way.MailWay(self.milter.address, self.key_lines, settings={setting: f"regexp:{rules}"}) as way:
                for message in (subject_first, back):
                    way.relay.send(SENDER, [REMOTE], message)
                mails = {b"<back@" in mail.message: mail.message for mail in way.receiver.maildir.wait(2)}
                self.assertNotIn(b"client.example", mails[False])
                self.assertEqual({came_back: opendkim.results(message) for came_back, message in mails.items()},
                                 {False: ["pass", "pass"], True: ["pass", "pass"] if signed else ["none"]})

    def test_what_postfix_cuts(self):
        """As docs/relays.md has it: of a list of addresses that it writes anew it may show a milter less than it sends."""
        names = b",\r\n\t".join(b"u%05d" % number for number in range(6000))
        text = self.send(messages.MESSAGE.replace(b"Bob <bob@example.org>", names), code=550)
        self.assertIn("5.6.0 The message is not signed: FIELD_CUT: its To field", text)
        # What it cuts before it shows it goes out as it was signed.
        for message in (messages.MESSAGE.replace(b"Subject: ", b"Subject: " + (b"y" * 70 + b"\r\n\t") * 1400),
                        messages.MESSAGE.replace(b"Bob <bob@example.org>", b",\r\n\t".join(b"u%05d@example.org" % number for number in range(6000)))):
            self.setUp()
            self.send(message, recipients=[LOCAL, REMOTE])
            self.assert_signed(self.delivered())
            self.assertLess(len(self.delivered()), 65_000)
            self.assertEqual(opendkim.results(self.way.receiver.maildir.wait(1)[0].message), ["pass", "pass"])

    def test_smtputf8(self):
        message = messages.MESSAGE.replace(b"Alice <alice@example.com>", "Jörg Müller <jörg@example.com>".encode())
        message = message.replace(b"Lunch", "Mittag — 昼食".encode())
        with self.way.relay.connect() as smtp:
            smtp.ehlo()
            for line, code in (("MAIL FROM:<jörg@example.com> SMTPUTF8 BODY=8BITMIME", 250), (f"RCPT TO:<{LOCAL}>", 250),
                               (f"RCPT TO:<{REMOTE}>", 250)):
                smtp.send(line.encode() + b"\r\n")
                self.assertEqual(smtp.getreply()[0], code, line)
            self.assertEqual(smtp.data(message)[0], 250)
        self.assert_signed(self.delivered())
        self.assertEqual(opendkim.results(self.way.receiver.maildir.wait(1)[0].message), ["pass", "pass"])

    def test_odd_messages_in_simple_canonicalization(self):
        for name, (fields, body) in ODD.items():
            message = numbered(name, "alice@simple.example").partition(b"\r\n\r\n")[0] + b"\r\n" + fields + b"\r\n" + body
            self.send(message, recipients=[f"{name}@local.example", f"{name}@remote.example"])
        local, remote = ({mail.recipient.partition("@")[0]: mail.message for mail in maildir.wait(len(ODD))}
                         for maildir in (self.way.relay.maildir, self.way.receiver.maildir))
        self.assertEqual({name: [good for _, _, good in mail_way.own_signatures(message, self.keys)] for name, message in local.items()},
                         {name: [True, True] for name in ODD})
        self.assertEqual({name: opendkim.results(message) for name, message in remote.items()}, {name: ["pass", "pass"] for name in ODD})

    def test_large_message_costs_the_network_two_kilobytes(self):
        self.send(messages.MESSAGE)  # Connects.
        self.delivered()
        self.way.relay.maildir.clear()
        sent, received = self.proxy.sent, self.proxy.received
        self.send(messages.MESSAGE + BIG_BODY, recipients=[LOCAL, REMOTE])
        sent, received = self.proxy.sent - sent, self.proxy.received - received
        self.assert_signed(self.delivered())
        self.assertEqual(opendkim.results(self.way.receiver.maildir.wait(1)[0].message), ["pass", "pass"])
        print(f"a message of {len(BIG_BODY)} octets: {sent} to signerd, {received} from it")
        # 416 and 1344 as a rule; there is room for a frame or two of HTTP/2's own.
        self.assertLess(sent, 640)
        self.assertLess(received, 1700)


if __name__ == "__main__":
    unittest.main()
