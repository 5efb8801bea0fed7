"""Which mail dkim-milter has signed, for whom, and what becomes of mail that is to be signed and is not."""

import collections
import ipaddress
import subprocess
import unittest

import mail_way
import tcp_proxy
from milter_case import AUTHENTICATED, MilterCase, message, messages_counted, scrape
from milter_client import ACCEPT, CONNECT, CONTINUE, EOM, HELO, MAIL, REPLYCODE, Mail
from waiting import wait_for

POLICY = """
[[partner]]
name = "own"
author_domains = ["example.com", "simple.example", "nobody.example"]
signing_domains = ["*"]

[[partner]]
name = "acme"
author_domains = ["acme.example"]
signing_domains = ["acme.example"]

[[partner]]
name = "slow"
author_domains = ["example.com"]
signing_domains = ["example.com"]

[partner.quota]
rate_per_second = 1
burst = 1

[[partner]]
name = "few"
author_domains = ["example.com"]
signing_domains = ["example.com"]

[partner.quota]
recipients_per_message = 2

[[relay]]
name = "relay1"
identity = "dns:relay1.localdomain"
partners = ["own", "acme", "slow", "few"]
"""

OUTBOUND = {"networks": ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"], "certificates": ["relay-*", "*/CN=acme", "exact.example"],
            "daemon_names": ["ORIGINATING"], "daemon_ports": ["587", "465"], "inbound_daemon_names": ["INBOUND"]}
PARTNERS = [{"name": "acme", "users": ["*@acme.example", "acme-*"], "certificates": ["relay-acme"]},
            {"name": "acme", "daemon_ports": ["465"]}, {"name": "slow", "users": ["*slow*"], "daemon_names": ["SLOW"]},
            {"name": "few", "users": ["few-*"]}, {"name": "nobody", "users": ["*"]}]


def stage(command, **macros):
    """Macros of one command; double underscores stand for braces."""
    return {command: {f"{{{name}}}": value for name, value in macros.items()}}


Case = collections.namedtuple("Case", "client macros signed old", defaults=(None,))  # old: otherwise, for an MTA without symbol lists
INSIDE, OUTSIDE = ("4", "192.0.2.17"), ("4", "203.0.113.5")
CASES = {
    "nobody we know": Case(OUTSIDE, {}, False),
    "authenticated": Case(OUTSIDE, stage(MAIL, auth_authen="bob", auth_type="PLAIN"), True),
    "authenticated as nothing": Case(OUTSIDE, stage(MAIL, auth_authen="", auth_type="PLAIN"), False),
    "authenticated, name without braces": Case(OUTSIDE, {MAIL: {"auth_authen": "bob"}}, True),
    "an author that is told and not proven": Case(OUTSIDE, stage(MAIL, auth_author="alice@example.com", mail_addr="alice@example.com"), False),
    "a network": Case(INSIDE, {}, True),
    "the end of a network": Case(("4", "192.0.2.255"), {}, True),
    "beside a network": Case(("4", "192.0.3.0"), {}, False),
    "one address": Case(("4", "198.51.100.7"), {}, True),
    "beside one address": Case(("4", "198.51.100.6"), {}, False),
    "IPv6": Case(("6", "2001:db8:ffff::1"), {}, True),
    "IPv6 as Sendmail writes it": Case(("6", "IPv6:2001:db8::1"), {}, True),
    "beside the IPv6 network": Case(("6", "2001:db9::1"), {}, False),
    "IPv4 in IPv6": Case(("6", "::ffff:192.0.2.1"), {}, True),
    "IPv4 in IPv6, outside": Case(("6", "::ffff:203.0.113.1"), {}, False),
    "loopback, which is not among them": Case(("4", "127.0.0.1"), {}, False),
    "a Unix socket, without loopback": Case(("L", "/run/client"), {}, False),
    "an unknown family": Case(("U", ""), {}, False),
    "no address at all": Case(("4", "unknown"), {}, False),
    "an address with more": Case(("4", "192.0.2.17 "), {}, False),
    "certificate": Case(OUTSIDE, stage(HELO, cert_subject="relay-7"), True, False),
    "certificate with MAIL": Case(OUTSIDE, stage(MAIL, cert_subject="relay-7"), True, False),
    "certificate that the MTA verified": Case(OUTSIDE, stage(MAIL, cert_subject="/C=DE/CN=acme", verify="OK"), True),
    "certificate that it did not": Case(OUTSIDE, stage(MAIL, cert_subject="/C=DE/CN=acme", verify="FAIL"), False),
    "no certificate": Case(OUTSIDE, stage(MAIL, cert_subject="relay-7", verify="NONE"), False),
    "another certificate": Case(OUTSIDE, stage(HELO, cert_subject="my-relay-7"), False),
    "a certificate that contains one": Case(OUTSIDE, stage(HELO, cert_subject="exact.example.org"), False),
    "daemon name": Case(OUTSIDE, stage(CONNECT, daemon_name="ORIGINATING"), True),
    "daemon name in lower case": Case(OUTSIDE, stage(CONNECT, daemon_name="originating"), False),
    "daemon port": Case(OUTSIDE, stage(CONNECT, daemon_port="587", daemon_name="smtpd"), True),
    "another port": Case(OUTSIDE, stage(CONNECT, daemon_port="25"), False),
    "inbound, whatever else holds": Case(INSIDE, stage(CONNECT, daemon_name="INBOUND", daemon_port="587") | stage(MAIL, auth_authen="bob"), False),
}


class OutboundTest(MilterCase):
    POLICY = staticmethod(lambda _: POLICY)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hallmark.add_domain("acme.example")
        cls.keys |= mail_way.keys_of(cls.hallmark.key_lines(["acme.example"]))

    def test_what_is_signed(self):
        milter = self.start_milter(tables={"outbound": OUTBOUND})
        for name, case in CASES.items():
            for version in (6, 2):
                signed = case.old if version == 2 and case.old is not None else case.signed
                with self.subTest(name, version=version):
                    with self.connect(milter.address, version=version) as mta:
                        answer = mta.submit(Mail(message("case"), macros=case.macros, client=case.client))
                        if signed:
                            self.assert_signed(answer)
                        else:
                            self.assertEqual((answer.verdict, answer.command), (ACCEPT, MAIL))
        signed = sum(case.signed + (case.signed if case.old is None else case.old) for case in CASES.values())
        self.assertEqual(messages_counted(milter), {"signed": signed, "left_alone": 2 * len(CASES) - signed})

    def test_without_a_table_loopback_and_logins_are_ours(self):
        milter = self.start_milter(tables={"outbound": {"networks": ["127.0.0.0/8", "::1/128"], "authenticated": False}})
        ours = [("4", "127.0.0.1"), ("4", "127.1.2.3"), ("6", "::1"), ("L", "/run/client")]
        for client in [*ours, INSIDE, ("6", "::2")]:
            with self.connect(milter.address) as mta:
                answer = mta.submit(Mail(message("table"), macros=AUTHENTICATED, client=client))
                self.assertEqual(answer.verdict, CONTINUE if client in ours else ACCEPT, client)

    def test_what_comes_from_this_host_and_from_another_before(self):
        trace = b"Received: from mx.example ([203.0.113.9]) by relay.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        loopback, unix = ("4", "127.0.0.1"), ("L", "/run/client")
        milter, all_of_it = self.start_milter(tables={"outbound": {"networks": ["127.0.0.0/8", "192.0.2.0/24"]}}), self.start_milter(
            tables={"outbound": {"reinjected": True}})
        for version in (6, 2):
            for client, macros, signed in ((loopback, {}, False), (unix, {}, False), (INSIDE, {}, True), (loopback, AUTHENTICATED, True)):
                with self.subTest(client, version=version), self.connect(milter.address, version=version) as mta:
                    answer = mta.submit(Mail(trace + message("again"), client=client, macros=macros))
                    if signed:
                        self.assert_signed(answer)
                    else:
                        self.assertEqual((answer.verdict, answer.command, answer.inserted), (ACCEPT, EOM, []))
                    self.assert_signed(mta.submit(Mail(message("own"), client=loopback), connect=True))
            with self.connect(all_of_it.address, version=version) as mta:
                self.assert_signed(mta.submit(Mail(trace + message("again"), client=loopback)))
        self.assertEqual(messages_counted(milter), {"signed": 12, "left_alone": 4})
        self.assert_says(milter, "Received")

    def test_what_comes_from_an_address_of_this_host_and_from_another_before(self):
        """A filter that hands mail back to a name of this host does not come over loopback."""
        addresses = [ipaddress.ip_address(text) for text in subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()]
        if not addresses:
            self.skipTest("this machine has no address but loopback's")
        trace = b"Received: from mx.example ([203.0.113.9]) by relay.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        milter = self.start_milter(tables={"outbound": {"networks": ["0.0.0.0/0", "::/0"]}})
        another = "192.0.2.254" if addresses[0] != ipaddress.ip_address("192.0.2.254") else "192.0.2.253"
        for address in addresses:
            with self.subTest(address), self.connect(milter.address) as mta:
                client = (str(address.version), str(address))
                answer = mta.submit(Mail(trace + message("back"), client=client))
                self.assertEqual((answer.verdict, answer.command, answer.inserted), (ACCEPT, EOM, []))
                self.assert_signed(mta.submit(Mail(message("own"), client=client), connect=True))
                self.assert_signed(mta.submit(Mail(trace + message("lan"), client=("4", another)), connect=True))

    def test_warnings_are_told_and_counted(self):
        milter = self.start_milter()
        long_line = b"X-Long: " + b"x" * 1200 + b"\r\n" + message("long")
        with self.connect(milter.address) as mta:
            for number in range(3):
                self.assert_signed(mta.submit(Mail(long_line, macros=AUTHENTICATED), connect=number == 0))
        self.assertEqual(scrape(milter)['hallmark_milter_warnings_total{code="LONG_LINE"}'], 3)
        self.assert_says(milter, "LONG_LINE")

    def test_for_whom(self):
        milter = self.start_milter(tables={"outbound": OUTBOUND, "on": {"refused": "reject"}}, partners=PARTNERS)

        def send(domain, macros):
            with self.connect(milter.address) as mta:
                return mta.submit(Mail(message("whom", domain=domain), macros=macros, client=INSIDE))

        own = [{}, stage(CONNECT, daemon_port="587"), stage(HELO, cert_subject="relay-7")]
        acme = [stage(MAIL, auth_authen="bob@ACME.example"), stage(MAIL, auth_authen="acme-7"), stage(MAIL, cert_subject="relay-acme"),
                stage(CONNECT, daemon_port="465")]
        for macros in own:
            self.assert_signed(send("example.com", macros))
            self.assertRegex(send("acme.example", macros).text, r"^550 5\.7\.1 .*AUTHOR_NOT_ALLOWED")
        for macros in acme:
            self.assert_signed(send("acme.example", macros), "acme.example")
            # Whoever is acme is acme alone: another's author gets no signature.
            answer = send("example.com", macros)
            self.assertEqual((answer.verdict, answer.inserted), (REPLYCODE, []))
            self.assertRegex(answer.text, r"^550 5\.7\.1 .*AUTHOR_NOT_ALLOWED")
        # Patterns hold for the whole name, and the first rule that holds is the one.
        for user in ("bob@acme.example.org", "xacme-7", "bob@notacme.example", "carol"):
            self.assertRegex(send("acme.example", stage(MAIL, auth_authen=user)).text, "PARTNER_NOT_ALLOWED", user)
        self.assert_signed(send("acme.example", stage(MAIL, auth_authen="acme-slow")), "acme.example")

    def test_what_the_metrics_say(self):
        milter = self.start_milter(tables={"outbound": OUTBOUND})
        for number in range(5):
            with self.connect(milter.addresses[number % 2]) as mta:
                for domain, client in (("example.com", INSIDE), ("nobody.example", INSIDE), ("example.com", OUTSIDE)):
                    mta.submit(Mail(message("metrics", domain=domain), client=client))
        values = scrape(milter)
        self.assertEqual(messages_counted(milter), {"signed": 5, "unsigned": 5, "left_alone": 5})
        self.assertEqual(values["hallmark_milter_connections_total"], 5)
        self.assertEqual(values["hallmark_milter_connections_refused_total"], 0)
        self.assertEqual(values["hallmark_milter_protocol_errors_total"], 0)
        self.assertEqual(values['hallmark_milter_not_signed_total{why="unconfigured"}'], 5)
        self.assertEqual(values["hallmark_milter_signing_seconds_count"], 10)
        self.assertGreater(values["hallmark_milter_signing_seconds_sum"], 0)
        ready = {name: value for name, value in values.items() if name.startswith("hallmark_milter_signerd_ready")}
        self.assertEqual(ready, {f'hallmark_milter_signerd_ready{{server="{self.hallmark.signing_address}"}}': 1})

    def test_too_many_are_deferred_whatever_is_configured(self):
        milter = self.start_milter(tables={"on": {"refused": "accept", "unavailable": "accept"}}, partners=PARTNERS)
        mail = Mail(message("many"), macros=stage(MAIL, auth_authen="slow-1"))
        with self.connect(milter.address) as mta:
            answers = [mta.submit(mail, connect=number == 0) for number in range(10)]
        self.assert_signed(answers[0])
        deferred = [answer for answer in answers if answer.verdict == REPLYCODE]
        self.assertTrue(deferred)
        for answer in deferred:
            self.assertRegex(answer.text, r"^451 4\.7\.1 .*RATE_EXCEEDED")
        self.assertEqual(scrape(milter)['hallmark_milter_not_signed_total{why="limited"}'], len(deferred))


    def test_too_many_recipients_of_one_message_are_refused_for_good(self):
        milter = self.start_milter(partners=PARTNERS)
        recipients = tuple(b"<r%d@example.org>" % number for number in range(3))
        with self.connect(milter.address) as mta:
            answer = mta.submit(Mail(message("three"), recipients=recipients, macros=stage(MAIL, auth_authen="few-1")))
        self.assertRegex(answer.text, r"^550 5\.7\.1 .*RECIPIENTS_EXCEEDED")
        with self.connect(milter.address) as mta:
            self.assert_signed(mta.submit(Mail(message("two"), recipients=recipients[:2], macros=stage(MAIL, auth_authen="few-1"))))


class ChoicesTest(MilterCase):
    """The [on] table."""
    POLICY = staticmethod(lambda _: POLICY)

    def submit(self, milter, mail):
        with self.connect(milter.address) as mta:
            answer = mta.submit(mail)
            self.assertEqual(answer.inserted, [])
            # The connection goes on.
            self.assertEqual(mta.submit(Mail(message("not-ours"), client=OUTSIDE), connect=True).verdict, ACCEPT)
            return answer.verdict, answer.text[:9]

    def test_refused_and_unconfigured(self):
        refused, unconfigured = message("refused", domain="stranger.example"), message("unconfigured", domain="nobody.example")
        broken = b"From: a@example.com\r\nFrom: b@example.com\r\n\r\n"
        unsigned = (CONTINUE, "")
        expected = {"tempfail": ((REPLYCODE, "451 4.7.1"),) * 2 + ((REPLYCODE, "451 4.6.0"),), "accept": (unsigned,) * 3,
                    "reject": ((REPLYCODE, "550 5.7.1"),) * 2 + ((REPLYCODE, "550 5.6.0"),)}
        verdicts = {"tempfail": "tempfailed", "accept": "unsigned", "reject": "rejected"}
        for choice, answers in expected.items():
            with self.subTest(choice):
                milter = self.start_milter(tables={"on": {"refused": choice, "unconfigured": choice}})
                found = tuple(self.submit(milter, Mail(text)) for text in (refused, unconfigured, broken))
                self.assertEqual(found, answers)
                self.assertEqual(messages_counted(milter), {verdicts[choice]: 3, "left_alone": 3})
                counted = scrape(milter)
                self.assertEqual(counted['hallmark_milter_not_signed_total{why="refused"}'], 2)
                self.assertEqual(counted['hallmark_milter_not_signed_total{why="unconfigured"}'], 1)
        with self.subTest("by default"):
            milter = self.start_milter()
            self.assertEqual(tuple(self.submit(milter, Mail(text)) for text in (refused, unconfigured, broken)),
                             (expected["reject"][0], unsigned, expected["reject"][2]))

    def test_signerd_cannot_be_reached(self):
        expected = {"tempfail": (REPLYCODE, "451 4.3.0"), "accept": (CONTINUE, ""), "reject": (REPLYCODE, "550 5.3.0"),
                    None: (REPLYCODE, "451 4.3.0")}
        # Nobody listens on port 1. All wait at the same time.
        milters = {choice: self.start_milter(servers=["127.0.0.1:1"], tables={"on": {"unavailable": choice} if choice else {}})
                   for choice in expected}
        mtas = {choice: self.connect(milter.address) for choice, milter in milters.items()}
        mail = Mail(message("unreachable"))
        for mta in mtas.values():
            for command, payload in mta.commands(mail):
                if command == EOM:
                    mta.write(b"\0\0\0\1E")
                else:
                    mta.say(command, payload)
        for choice, mta in mtas.items():
            answer = mta.end(mail)
            self.assertEqual((answer.verdict, answer.text[:9]), expected[choice], choice)
            self.assertEqual(answer.inserted, [])
            # What an MTA passes on says nothing of how we are set up.
            self.assertNotIn("127.0.0.1", answer.text)
            self.assertEqual(scrape(milters[choice])['hallmark_milter_signerd_ready{server="127.0.0.1:1"}'], 0)
            self.assert_says(milters[choice], "UNREACHABLE")

    def test_an_outage_is_told_once_and_not_for_each_message(self):
        proxy = self.enterContext(tcp_proxy.TcpProxy("127.0.0.1:1"))
        milter = self.start_milter(servers=[proxy.address], tables={"signerd": {"timeout_ms": 100}})
        with self.connect(milter.address) as mta:
            for number in range(50):
                answer = mta.submit(Mail(message("deferred"), macros=AUTHENTICATED), connect=number == 0)
                self.assertEqual((answer.verdict, answer.text[:9]), (REPLYCODE, "451 4.3.0"))
        self.assertEqual(scrape(milter)['hallmark_milter_not_signed_total{why="unavailable"}'], 50)
        self.assert_says(milter, "cannot be signed")
        proxy.target = self.hallmark.signing_address

        def signed():
            with self.connect(milter.address) as mta:
                return mta.submit(Mail(message("again"), macros=AUTHENTICATED)).inserted
        wait_for(signed, "messages are signed again")
        self.assert_says(milter, "can be signed again")
        lines = [line for line in milter.log_text().splitlines() if "signed" in line]
        self.assertLessEqual(len(lines), 3, lines)
        self.assertRegex(lines[-1], r"can be signed again; [1-9]\d+ more could not since")


if __name__ == "__main__":
    unittest.main()
