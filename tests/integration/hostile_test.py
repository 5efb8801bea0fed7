"""Hostile messages and requests: each is refused with its reason, and the daemon lives on."""

import contextlib
import os
import queue
import signal
import unittest

import grpc

import deployment
import dkim_milter
import dkim_sign_test
import mail_way
import messages
import milter_case
import milter_client

from google.rpc import error_details_pb2
from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2
from waiting import wait_for

FROM = b"From: a@example.com\r\n"
END = b"\r\nbody\r\n"


def _from(value):
    return b"From: " + value + b"\r\nSubject: x\r\n" + END


# name: (message, reason)
REFUSED = {
    # No header, or what is none.
    "nothing": (b"", "FROM_MISSING"),
    "blank line only": (b"\r\n", "FROM_MISSING"),
    "body only": (b"\r\njust text\r\n", "FROM_MISSING"),
    "text without colon": (b"just text\r\n", "HEADER_MALFORMED"),
    "NULs": (b"\0" * 1000, "HEADER_MALFORMED"),
    "all octets": (bytes(range(256)), "HEADER_MALFORMED"),
    "TLS record": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200, "HEADER_MALFORMED"),
    "HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HEADER_MALFORMED"),
    "SMTP commands": (b"MAIL FROM:<a@example.com>\r\nDATA\r\n", "HEADER_MALFORMED"),
    "JSON": (b'{"From": "a@example.com"}\r\n\r\n', "FROM_MISSING"),
    # Malformed fields.
    "line without colon": (FROM + b"no colon here\r\n" + END, "HEADER_MALFORMED"),
    "line without colon first": (b"no colon here\r\n" + FROM + END, "HEADER_MALFORMED"),
    "mbox line": (b"From a@example.com Mon Jan  5 09:30:00 2026\r\n" + FROM + END, "HEADER_MALFORMED"),
    "starts with a fold": (b" folded\r\n" + FROM + END, "HEADER_MALFORMED"),
    "starts with a tab": (b"\tfolded: x\r\n" + FROM + END, "HEADER_MALFORMED"),
    "empty name": (FROM + b": x\r\n" + END, "HEADER_MALFORMED"),
    "blank name": (FROM + b" \r\n" + b":x\r\n" + END, "HEADER_MALFORMED"),
    "space in name": (FROM + b"Sub ject: x\r\n" + END, "HEADER_MALFORMED"),
    "NUL in name": (FROM + b"Sub\0ject: x\r\n" + END, "HEADER_MALFORMED"),
    "control in name": (FROM + b"Sub\x07ject: x\r\n" + END, "HEADER_MALFORMED"),
    "DEL in name": (FROM + b"Sub\x7fject: x\r\n" + END, "HEADER_MALFORMED"),
    "8-bit name": (FROM + "Betr\u00e9f: x\r\n".encode() + END, "HEADER_MALFORMED"),
    "bare CR hides a line": (FROM + b"Subject: x\rno colon\r\n" + END, "HEADER_MALFORMED"),
    "bare LF hides a line": (FROM + b"Subject: x\nno colon\r\n" + END, "HEADER_MALFORMED"),
    "bare CR ends the header": (FROM + b"Subject: x\r\r\nhidden: x\r\n" + END, "HEADER_MALFORMED"),
    "bare CR as the blank line": (FROM + b"\rhidden\r\n" + END, "HEADER_MALFORMED"),
    "all lines end in bare CR": (b"From: alice@example.com\rSubject: x\r\rHello.\r", "HEADER_MALFORMED"),
    "quoted-printable header": (FROM + b"=46rom: x\r\n=\r\n" + END, "HEADER_MALFORMED"),
    # From.
    "no From": (b"To: b@example.org\r\nSubject: x\r\n" + END, "FROM_MISSING"),
    "From only in the body": (b"Subject: x\r\n\r\n" + FROM, "FROM_MISSING"),
    "only Sender": (b"Sender: a@example.com\r\n" + END, "FROM_MISSING"),
    "only Resent-From": (b"Resent-From: a@example.com\r\n" + END, "FROM_MISSING"),
    "X-From": (b"X-From: a@example.com\r\n" + END, "FROM_MISSING"),
    "two Froms": (FROM + FROM + END, "FROM_REPEATED"),
    "two Froms, other case": (FROM + b"fRoM: b@example.com\r\n" + END, "FROM_REPEATED"),
    "two Froms, space before the colon": (FROM + b"From : b@example.com\r\n" + END, "FROM_REPEATED"),
    "two Froms, by bare LF": (b"Subject: x\nFrom: evil@example.net\r\n" + FROM + END, "FROM_REPEATED"),
    "two Froms, by bare CR": (b"Subject: x\rFrom: evil@example.net\r\n" + FROM + END, "FROM_REPEATED"),
    "a hundred Froms": (FROM * 100 + END, "FROM_REPEATED"),
    "empty From": (_from(b""), "FROM_UNUSABLE"),
    "blank From": (_from(b" \t "), "FROM_UNUSABLE"),
    "folded blank From": (_from(b"\r\n \r\n "), "FROM_UNUSABLE"),
    "From without address": (_from(b"Alice"), "FROM_UNUSABLE"),
    "null address": (_from(b"<>"), "FROM_UNUSABLE"),
    "no domain": (_from(b"alice@"), "FROM_UNUSABLE"),
    "no domain, in brackets": (_from(b"<alice@>"), "FROM_UNUSABLE"),
    "only @": (_from(b"@"), "FROM_UNUSABLE"),
    "empty group": (_from(b"undisclosed-recipients:;"), "FROM_UNUSABLE"),
    "address literal": (_from(b"a@[192.0.2.1]"), "FROM_UNUSABLE"),
    "two domains": (_from(b"a@example.com, b@example.net"), "FROM_UNUSABLE"),
    "two domains, one in a group": (_from(b"a@example.com, g: b@example.net;"), "FROM_UNUSABLE"),
    "two addresses without a comma": (_from(b"a@example.net b@example.com"), "FROM_UNUSABLE"),
    "an address beside the brackets": (_from(b"<a@example.com> b@example.net"), "FROM_UNUSABLE"),
    "open quote": (_from(b"\"a@example.com"), "FROM_UNUSABLE"),
    "open comment": (_from(b"a@example.com (comment"), "FROM_UNUSABLE"),
    "open bracket": (_from(b"Alice <a@example.com"), "FROM_UNUSABLE"),
    "domain only in a comment": (_from(b"alice (a@example.com)"), "FROM_UNUSABLE"),
    "domain only in quotes": (_from(b"\"a@example.com\""), "FROM_UNUSABLE"),
    "space in the domain": (_from(b"a@exa mple.com"), "FROM_UNUSABLE"),
    "semicolon in the domain": (_from(b"a@example.com;d=example.net"), "FROM_UNUSABLE"),
    "NUL in the domain": (_from(b"a@example.com\0.net"), "FROM_UNUSABLE"),
    "slash in the domain": (_from(b"a@../../etc"), "FROM_UNUSABLE"),
    "empty label": (_from(b"a@example..com"), "FROM_UNUSABLE"),
    "leading dot": (_from(b"a@.example.com"), "FROM_UNUSABLE"),
    "leading hyphen": (_from(b"a@-example.com"), "FROM_UNUSABLE"),
    "label of 64 octets": (_from(b"a@" + b"x" * 64 + b".com"), "FROM_UNUSABLE"),
    "domain of 300 octets": (_from(b"a@" + b".".join([b"x" * 59] * 5)), "FROM_UNUSABLE"),
    "broken UTF-8 in the domain": (_from(b"a@ex\xff\xfeample.com"), "FROM_UNUSABLE"),
    "encoded word as address": (_from(b"=?utf-8?q?a=40example=2Ecom?="), "FROM_UNUSABLE"),
    "10,000 comments": (_from(b"(" * 10_000 + b"a@example.com"), "FROM_UNUSABLE"),
    # Size.
    "header over 1 MiB": (FROM + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(1100)) + END, "HEADER_TOO_LARGE"),
    "one field over 1 MiB": (FROM + b"X: " + b"y" * (1 << 20) + b"\r\n" + END, "HEADER_TOO_LARGE"),
    "10,001 fields": (FROM + b"X: y\r\n" * 10_001 + END, "HEADER_TOO_LARGE"),
    "endless header": (b"y" * (2 << 20), "HEADER_TOO_LARGE"),
}

# What looks hostile, and is a message all the same.
SIGNED = {
    "nested comments": _from(b"Alice (a (b (c) \\) d)) <a@example.com>"),
    "@ in a quoted local part": _from(b"\"evil@example.net\"@example.com"),
    "escaped quote": _from(b"\"a\\\" <x@example.net>\" <a@example.com>"),
    "domain in upper case": _from(b"a@EXAMPLE.COM"),
    "white space before the colon": b"From : a@example.com\r\n" + END,
    "tab before the colon": b"From\t: a@example.com\r\n" + END,
    "address as the display name": _from(b"a@example.com <a@example.com>"),
    "route": _from(b"<@example.net:a@example.com>"),
    "8-bit name of the author": _from("J\u00f6rg <a@example.com>".encode()),
    "Latin-1 name of the author": _from(b"J\xf6rg <a@example.com>"),
    "NUL in a value": FROM + b"Subject: a\0b\r\n" + END,
    "NUL in the body": FROM + b"\r\n" + b"\0" * 4096,
    "no body": b"From: a@example.com",
    "colons only": FROM + b"X:::::\r\n" + END,
    "9,000 fields": FROM + b"X: y\r\n" * 9_000 + END,
    "tag-list in a value": FROM + b"Subject: ; d=example.net; b=x\r\n" + END,
    "field of 300 kB": FROM + b"X: " + b"y " * 150_000 + b"\r\n" + END,
    "8 MB without a line end": FROM + b"\r\n" + b"z" * (8 << 20),
    "a million blank lines": FROM + b"\r\n" + b"\r\n" * 1_000_000,
    "a million spaces": FROM + b"\r\n" + b" " * 1_000_000 + b"x\r\n",
}

# (options, reason)
OPTIONS = (
    ({"signing_domain": "example.com\r\nX: y"}, "INVALID_ARGUMENT"), ({"signing_domain": "example.com; s=x"}, "INVALID_ARGUMENT"),
    ({"signing_domain": "exa\0mple.com"}, "INVALID_ARGUMENT"), ({"signing_domain": "x" * 300}, "INVALID_ARGUMENT"),
    ({"signing_domain": "."}, "INVALID_ARGUMENT"), ({"signing_domain": "a b"}, "INVALID_ARGUMENT"),
    ({"signing_domain": "example.net"}, "DOMAIN_NOT_CONFIGURED"), ({"signing_domain": "com"}, "DOMAIN_NOT_CONFIGURED"),
    ({"signing_domain": "empty.example"}, "NOT_ALIGNED"), ({"partner": "nobody"}, "PARTNER_NOT_ALLOWED"), ({"request_id": "x" * 129}, "INVALID_ARGUMENT"),
    ({"request_id": "a\nb"}, "INVALID_ARGUMENT"), ({"request_id": "\u00fc"}, "INVALID_ARGUMENT"),
    ({"envelope_recipients": ["a@example.org"] * 10_001}, "INVALID_ARGUMENT"),
)


class HostileTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.hallmark.add_domain("example.com")
        cls.hallmark.add_domain("empty.example", algorithms=())
        cls.stub = cls.hallmark.signing()
        cls.pid = cls.hallmark.process.pid

    def tearDown(self):
        self.assertTrue(self.hallmark.running(), self.hallmark.log_text()[-2000:])
        self.assertEqual(len(self.sign(messages.MESSAGE).signatures), 2)

    def sign(self, message, **options):
        return self.stub.Sign(signing_pb2.SignRequest(message=message, options=signing_pb2.SignOptions(**options)), timeout=60)

    def assert_refused(self, error, reason, code=grpc.StatusCode.INVALID_ARGUMENT):
        info = deployment.error_info(error) or error_details_pb2.ErrorInfo()
        self.assertEqual((error.code(), info.reason, info.domain), (code, reason, "hallmark"), error.details())
        self.assertTrue(error.details())

    def test_table_is_large_enough(self):
        self.assertGreaterEqual(len(REFUSED), 60)

    def test_hostile_messages_are_refused(self):
        for name, (message, reason) in REFUSED.items():
            with self.subTest(name):
                self.assert_refused(self.hallmark.call_error(self.sign, message), reason)

    def test_in_chunks_they_are_refused_alike(self):
        for name, (message, reason) in REFUSED.items():
            with self.subTest(name):
                size = max(1, len(message) // 40)
                chunks = (signing_pb2.MessageChunk(data=message[at:at + size]) for at in range(0, max(1, len(message)), size))
                self.assert_refused(self.hallmark.call_error(self.stub.SignLarge, chunks, timeout=60), reason)

    def test_as_a_header_they_are_refused_alike(self):
        for name, (message, reason) in REFUSED.items():
            header = message[:message.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in message else message
            request = signing_pb2.SignDigestRequest(header=header, body_hash=bytes(32),
                                                    body_canonicalization=signing_pb2.CANONICALIZATION_RELAXED)
            if message.startswith(b"\r\n"):
                continue  # A header block that is only the blank line: "blank line only" has it.
            with self.subTest(name):
                self.assert_refused(self.hallmark.call_error(self.stub.SignDigest, request, timeout=60), reason)

    def test_odd_messages_are_signed(self):
        for name, message in SIGNED.items():
            with self.subTest(name):
                answer = self.sign(message)
                self.assertEqual((answer.signing_domain, len(answer.signatures)), ("example.com", 2))

    def test_bad_options_are_refused(self):
        for options, reason in OPTIONS:
            with self.subTest(reason, options=str(options)[:60]):
                error = self.hallmark.call_error(self.sign, messages.MESSAGE, **options)
                self.assertEqual(deployment.error_reason(error), reason, error.details())

    def test_domain_without_key(self):
        error = self.hallmark.call_error(self.sign, messages.MESSAGE.replace(b"example.com", b"empty.example"))
        self.assert_refused(error, "NO_ACTIVE_KEY", grpc.StatusCode.FAILED_PRECONDITION)

    def test_oversize(self):
        """What is a little too large is answered by signerd; more is refused below it, and its stream with it."""
        self.assert_refused(self.hallmark.call_error(self.sign, FROM + b"\r\n" + b"z" * (64 << 20)), "MESSAGE_TOO_LARGE")
        error = self.hallmark.call_error(self.sign, FROM + b"\r\n" + b"z" * (70 << 20))
        self.assertEqual((error.code(), deployment.error_info(error)), (grpc.StatusCode.RESOURCE_EXHAUSTED, None))
        self.assertIn("larger than max", error.details())

    def test_oversize_on_a_stream(self):
        def requests(octets):
            for name, message in (("a", messages.MESSAGE), ("b", FROM + b"\r\n" + b"z" * octets), ("c", messages.MESSAGE)):
                yield signing_pb2.SignRequest(message=message, options=signing_pb2.SignOptions(request_id=f"{name}-{octets}"))

        answers = {answer.request_id[0]: answer for answer in self.stub.SignStream(requests(64 << 20), timeout=60)}
        self.assertEqual({name: len(answer.response.signatures) for name, answer in answers.items()}, {"a": 2, "b": 0, "c": 2})
        self.assertEqual(deployment.status_detail(answers["b"].error, error_details_pb2.ErrorInfo()).reason, "MESSAGE_TOO_LARGE")
        error = self.hallmark.call_error(lambda: list(self.stub.SignStream(requests(70 << 20), timeout=60)))
        self.assertEqual((error.code(), deployment.error_info(error)), (grpc.StatusCode.RESOURCE_EXHAUSTED, None))

    def test_bad_digests_are_refused(self):
        good = {"header": FROM, "body_hash": bytes(32), "body_canonicalization": signing_pb2.CANONICALIZATION_RELAXED}
        for change in ({"body_hash": b""}, {"body_hash": bytes(31)}, {"body_hash": bytes(33)},
                       {"body_canonicalization": signing_pb2.CANONICALIZATION_UNSPECIFIED}, {"body_canonicalization": 99},
                       {"body_length": 2**64 - 1}, {"body_facts": signing_pb2.BodyFacts(octets=2**64 - 1)},
                       {"body_facts": signing_pb2.BodyFacts(octets=5, bare_lf=6)}, {"body_facts": signing_pb2.BodyFacts(bare_cr=1)},
                       {"body_facts": signing_pb2.BodyFacts(octets=5, longest_line=2**63)}):
            with self.subTest(change):
                request = signing_pb2.SignDigestRequest(**{**good, **change})
                self.assert_refused(self.hallmark.call_error(self.stub.SignDigest, request, timeout=30), "INVALID_ARGUMENT")
        self.assertEqual(len(self.stub.SignDigest(signing_pb2.SignDigestRequest(**good), timeout=30).signatures), 2)

    def test_bad_chunks_are_refused(self):
        options = signing_pb2.SignOptions(request_id="x")
        self.assert_refused(self.hallmark.call_error(self.stub.SignLarge, iter(()), timeout=30), "INVALID_ARGUMENT")
        twice = [signing_pb2.MessageChunk(options=options, data=FROM), signing_pb2.MessageChunk(options=options, data=END)]
        self.assert_refused(self.hallmark.call_error(self.stub.SignLarge, iter(twice), timeout=30), "INVALID_ARGUMENT")

    def test_stream_needs_request_ids(self):
        request = signing_pb2.SignRequest(message=messages.MESSAGE)
        [answer] = self.stub.SignStream(iter([request]), timeout=30)
        self.assertEqual(stream_refusal(answer), ("INVALID_ARGUMENT", "request_id: required on a stream, to tell the answers apart"))

    def test_a_request_id_that_is_in_flight_on_the_stream(self):
        """It is refused as long as the first of its name has no answer, which stays without harm."""
        sent = queue.SimpleQueue()
        answers = self.stub.SignStream(iter(sent.get, None), timeout=120)
        request = signing_pb2.SignRequest(message=messages.MESSAGE, options=signing_pb2.SignOptions(request_id="same"))
        with self.token_held():
            sent.put(request)
            sent.put(request)
            refused = next(answers)
        self.assertEqual(stream_refusal(refused), ("INVALID_ARGUMENT", "request_id: same is in flight on this stream already"))
        first = next(answers)
        sent.put(request)
        again = next(answers)
        sent.put(None)
        self.assertEqual(list(answers), [])
        self.assertEqual(len(first.response.signatures), 2)
        self.assertEqual([answer.request_id for answer in (refused, first, again)], ["same"] * 3)
        self.assertEqual(again.response.signatures, first.response.signatures, "a retry gets the same answer")

    @contextlib.contextmanager
    def token_held(self):
        """Nothing is signed meanwhile."""
        pids = self.hallmark.tokend_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):  # signerd ended it, since it took so long
                    os.kill(pid, signal.SIGCONT)


def stream_refusal(answer):
    return deployment.status_detail(answer.error, error_details_pb2.ErrorInfo()).reason, answer.error.message


class SmallLimitTest(unittest.TestCase):
    def setUp(self):
        self.hallmark = hallmark = self.enterContext(deployment.Deployment(start=False))
        hallmark.edit_config(lambda text: text.replace("[signing]\n", "[signing]\nmessage_octets = 65536\n", 1))
        hallmark.start()
        hallmark.add_domain("example.com")

    def test_one_message_that_is_too_large_costs_no_other(self):
        hallmark = self.hallmark
        inbox = hallmark.folder / "inbox"
        inbox.mkdir()
        for name, lines in (("small", 1), ("over", 2000), ("large", 60_000)):  # 80 octets each
            (inbox / f"{name}.eml").write_bytes(messages.MESSAGE + (b"x" * 78 + b"\r\n") * lines)
        finished = hallmark.dkimctl("sign", inbox, "--mode", "stream", "--out", hallmark.folder / "signed", status=1)
        self.assertIn("over.eml: MESSAGE_TOO_LARGE", finished.stderr)
        self.assertEqual(sorted(path.name for path in (hallmark.folder / "signed").iterdir()), ["large.eml", "small.eml"])
        finished = hallmark.dkimctl("sign", inbox / "large.eml", status=1)
        self.assertIn("large.eml: MESSAGE_TOO_LARGE", finished.stderr)

    def test_relays_that_send_whole_messages_go_by_the_least_that_a_server_takes(self):
        keys = mail_way.keys_of(self.hallmark.key_lines(["example.com"]))
        over = messages.MESSAGE + (b"x" * 78 + b"\r\n") * 2000
        config = dkim_sign_test.write_config(self.hallmark)
        config.write_text(config.read_text() + "send_message = true\n")
        finished = dkim_sign_test.run(config, message=over)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        with dkim_milter.DkimMilter(self.hallmark, tables={"signerd": {"send_message": True}}) as milter, \
                milter_client.MilterConnection(milter.address) as mta:
            mta.negotiate()
            answer = mta.submit(milter_client.Mail(over, macros=milter_case.AUTHENTICATED, chunk=60_000))
        for signed in (finished.stdout, answer.message):
            self.assertEqual([passed for *_, passed in mail_way.own_signatures(signed, keys)], [True, True], answer.text)


class GivenUpTest(unittest.TestCase):
    def test_given_up_calls_leave_nothing_behind(self):
        hallmark = deployment.Deployment(start=False)
        self.addCleanup(hallmark.close)
        faults = hallmark.use_faulty_module("")
        hallmark.start()
        hallmark.add_domain("example.com")
        admin, stub = hallmark.admin(), hallmark.signing()

        def use_faults(rules):
            following = faults.with_suffix(".next")
            following.write_text(rules)
            following.rename(faults)

        def in_flight():
            return admin.GetStatus(admin_pb2.GetStatusRequest()).messages_in_flight

        use_faults("C_Sign * delay 2000\n")  # a minute's work and more, should signerd do it all the same
        requests = [signing_pb2.SignRequest(message=messages.MESSAGE, options=signing_pb2.SignOptions(request_id=f"given-up-{number}"))
                    for number in range(100)]
        calls = [stub.Sign.future(request, timeout=600) for request in requests[::2]]
        calls += [stub.SignStream(iter([request]), timeout=600) for request in requests[1::2]]
        wait_for(lambda: in_flight() > 80, lambda: f"they are taken; there are {in_flight()}")
        for call in calls:
            call.cancel()
        wait_for(lambda: in_flight() == 0, lambda: f"none is in flight any more; there are {in_flight()}")
        use_faults("")
        self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)
        self.assertTrue(hallmark.running(), hallmark.log_text()[-2000:])


if __name__ == "__main__":
    unittest.main()
