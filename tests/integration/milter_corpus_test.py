"""Every message of tests/corpus that Postfix takes: signed by dkim-milter on its way through Postfix, it verifies in the Maildir,
and at a second Postfix, whose OpenDKIM says so in Authentication-Results. In relaxed/relaxed and in simple/simple."""

import re
import tomllib
import unittest

import corpus_run
import deployment
import dkim_milter
import mail_way
import messages
import opendkim
import paths

from hallmark.admin.v1 import admin_pb2

ALGORITHMS = 2
SENDER = "sender@relay.example"
PAIRS = ("relaxed/relaxed", "simple/simple")
# More hops and longer fields than Postfix takes by default.
SETTINGS = {"hopcount_limit": "200", "header_size_limit": "1000000"}


class CorpusWay:
    """A deployment, a MailWay, and a milter and a service of the relay for each pair. Author domains are made when a message
    of theirs is refused for want of them."""

    def __init__(self, enter):
        self.hallmark = enter(deployment.Deployment())
        self.key_lines, self._domains, self._profile = [], [], ""
        milters = {pair: enter(dkim_milter.DkimMilter(self.hallmark, tables={
            "signerd": {"body_canonicalization": pair.partition("/")[2]}, "on": {"unconfigured": "reject"},
            "outbound": {"reinjected": True}})) for pair in PAIRS}
        services = {pair: {"smtpd_milters": milter.address} for pair, milter in milters.items()}
        self.way = enter(mail_way.MailWay("", [], services, SETTINGS, receiver_settings=SETTINGS))

    def use_pair(self, pair):
        """From now on every domain signs with this canonicalization pair."""
        header, body = pair.split("/")
        self._profile = pair.replace("/", "-")
        self.hallmark.admin().CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(profile=admin_pb2.SigningProfile(
            name=self._profile, header_canonicalization=header, body_canonicalization=body)))
        for domain in self._domains:
            self.hallmark.admin().UpdateDomain(admin_pb2.UpdateDomainRequest(name=domain, profile=self._profile))

    def send(self, pair, recipients, message):
        """The last answer of Postfix to the message."""
        while True:
            code, text = self.way.relay.send(SENDER, recipients, message, pair, options=["BODY=8BITMIME"])
            unknown = re.search(r"DOMAIN_NOT_CONFIGURED: .* author domain (\S+)", text)
            if not unknown:
                return code, text
            if unknown.group(1) in self._domains:
                raise AssertionError(f"the domain was made, and still the message was refused: {text}")
            self._add(unknown.group(1))

    def _add(self, domain):
        self.hallmark.add_domain(domain, self._profile)
        self._domains.append(domain)
        lines = self.hallmark.key_lines([domain])
        self.key_lines += lines
        self.way.verifier.add_keys(lines)


class Run:
    """Sends messages through the way in one pair.

    refused      {path: reason}, of those that Postfix did not take
    local        {path: octets}, as in the relay's Maildir
    remote       {path: octets}, as in the receiver's
    """

    def __init__(self, corpus_way, pair, found):
        self.refused, numbers = {}, {}
        relay, receiver = corpus_way.way.relay, corpus_way.way.receiver
        relay.maildir.clear()
        receiver.maildir.clear()
        corpus_way.use_pair(pair)
        for number, (path, message) in enumerate(found.items()):
            recipients = [f"m{number}@local.example", f"m{number}@remote.example"]
            code, text = corpus_way.send(pair, recipients, messages.wire(message))
            if code < 400:
                numbers[f"m{number}"] = path
            else:
                reason = re.search(r"not signed: ([A-Z_]+)", text)
                self.refused[path] = reason.group(1) if reason else f"{code} {text}"
        self.local, self.remote = ({numbers[mail.recipient.partition("@")[0]]: mail.message for mail in maildir.wait(len(numbers))}
                                   for maildir in (relay.maildir, receiver.maildir))


# Its To field has 135 kB. Postfix writes it anew, and then shows a milter less of it than goes out.
CUT_BY_POSTFIX = {"mimekit/messages/stack-overflow.txt": "FIELD_CUT"}


class MilterCorpusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.found = corpus_run.find_messages(paths.CORPUS)
        cls.way = CorpusWay(cls.enterClassContext)
        cls.runs = {pair: Run(cls.way, pair, cls.found) for pair in PAIRS}
        cls.keys = mail_way.keys_of(cls.way.key_lines)

    def test_refuses_what_has_no_author_to_sign_for(self):
        # Fewer than signerd by itself: Postfix adds a From field, and a blank line before the first line that is no field.
        expected = {path: reason for path, reason in tomllib.loads((paths.CORPUS / "expected.toml").read_text())["refused"].items()
                    if reason in ("FROM_REPEATED", "FROM_UNUSABLE")} | CUT_BY_POSTFIX
        for pair, run in self.runs.items():
            with self.subTest(pair):
                self.assertEqual({path: expected.get(path) for path in run.refused}, run.refused)
                self.assertEqual(set(run.local), set(self.found) - set(run.refused))
                self.assertEqual(set(run.remote), set(run.local))
                self.assertGreaterEqual(len(run.local), 90)

    def assert_passes(self, judge):
        """judge(run) gives {path: results of our two signatures}."""
        for pair, run in self.runs.items():
            with self.subTest(pair):
                failed = {path for path, results in judge(run).items() if results != ["pass"] * ALGORITHMS}
                self.assertEqual(failed, set())

    def test_dkimpy_accepts_what_is_in_the_maildir(self):
        self.assert_passes(lambda run: {path: ["pass" if good else "fail" for _, _, good in mail_way.own_signatures(message, self.keys)]
                                        for path, message in run.local.items()})

    def test_opendkim_says_pass_at_the_next_server(self):
        # Old signatures stand below ours; OpenDKIM finds no key for them.
        self.assert_passes(lambda run: {path: opendkim.results(message)[:ALGORITHMS] for path, message in run.remote.items()})


if __name__ == "__main__":
    unittest.main()
