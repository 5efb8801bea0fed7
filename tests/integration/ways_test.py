"""Sign, SignStream, SignLarge and SignDigest give the same body hashes, and signatures that verify."""

import hashlib
import pathlib
import re
import tempfile
import threading
import time
import unittest
import uuid

import grpc

import deployment
import ledger_files
import mail_way
import messages
import paths  # noqa: F401  (makes tests/verifiers importable)
import tcp_proxy
import verifiers

from google.rpc import error_details_pb2
from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc
from waiting import wait_for

HEAD = messages.MESSAGE[:messages.MESSAGE.index(b"\r\n\r\n") + 4]
BODIES = {
    "plain": b"At noon?\r\n", "empty": b"", "blank-lines": b"one\r\n\r\n\r\n", "white-space": b"a \t b \r\n \t\r\n\tc\r\n",
    "bare-LF": b"one\ntwo \nthree\n", "bare-CR": b"one\rtwo\r\r\nthree", "no-final-CRLF": b"one\r\ntwo", "dots": b"..\r\n.\r\n",
    "binary": bytes(range(256)) * 40, "long-line": b"x" * 70_000 + b" \r\n", "only-blank": b" \r\n\t\r\n\r\n",
}
FORMS = {"relaxed": signing_pb2.CANONICALIZATION_RELAXED, "simple": signing_pb2.CANONICALIZATION_SIMPLE}


def canonical_body(body, form):
    """RFC 6376, 3.4.3 and 3.4.4, over the body on the wire; shares no code with the daemon."""
    body = messages.wire(body) if body else b""
    if form == "relaxed":
        body = re.sub(rb"[ \t]+", b" ", body)
        body = re.sub(rb" (?=\r\n)", b"", body)
    body = re.sub(rb"(\r\n)+\Z", b"\r\n", body)
    if body in (b"", b"\r\n"):
        return b"" if form == "relaxed" else b"\r\n"
    return body


def facts(body):
    """What a relay that hashes says of a body; shares no code with the daemon."""
    return signing_pb2.BodyFacts(
        octets=len(body), bare_lf=len(re.findall(rb"(?<!\r)\n", body)), bare_cr=len(re.findall(rb"\r(?!\n)", body)),
        longest_line=max(map(len, re.split(rb"\r\n|\r|\n", body))), ends_without_crlf=bool(body) and body[-1:] not in (b"\r", b"\n"))


def digest_request(header, body, form="relaxed", told=True):
    digest = hashlib.sha256(canonical_body(body, form)).digest()
    return signing_pb2.SignDigestRequest(header=header, body_hash=digest, body_canonicalization=FORMS[form],
                                         body_facts=facts(body) if told else None)


class WaysTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.admin, cls.stub = cls.hallmark.admin(), cls.hallmark.signing()
        for form in FORMS:
            cls.admin.CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(profile=admin_pb2.SigningProfile(
                name=form, header_canonicalization=form, body_canonicalization=form)))
        cls.hallmark.add_domain("example.com")

    def use(self, form):
        self.admin.UpdateDomain(admin_pb2.UpdateDomainRequest(name="example.com", profile=form))

    def chunks(self, message, size):
        yield signing_pb2.MessageChunk(options=signing_pb2.SignOptions(request_id=f"large-{uuid.uuid4()}"), data=message[:size])
        for at in range(size, len(message), size):
            yield signing_pb2.MessageChunk(data=message[at:at + size])

    def test_a_long_upload_is_signed_with_the_keys_and_the_profile_of_its_end(self):
        """What was retired while it came signs nothing more; the body stays hashed as it was begun."""
        before = self.hallmark.add_domain("long.example", profile="relaxed")
        message = messages.MESSAGE.replace(b"@example.com", b"@long.example") + b"One more \t line.  \r\n" * 100
        sent, go_on = threading.Event(), threading.Event()

        def chunks():
            yield signing_pb2.MessageChunk(options=signing_pb2.SignOptions(), data=message[:400])
            sent.set()
            go_on.wait(60)
            yield signing_pb2.MessageChunk(data=message[400:])

        call = self.stub.SignLarge.future(chunks(), timeout=120)
        self.assertTrue(sent.wait(30))
        time.sleep(0.3)  # Decided sooner or later, it ends the same.
        after = set()
        for key in before:
            made = self.admin.GenerateKey(admin_pb2.GenerateKeyRequest(domain="long.example", algorithm=key.algorithm))
            self.admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain="long.example", selector=made.selector, unpublished=True))
            self.admin.RetireKey(admin_pb2.RetireKeyRequest(domain="long.example", selector=key.selector))
            after.add(made.selector)
        self.admin.UpdateDomain(admin_pb2.UpdateDomainRequest(name="long.example", profile="simple"))
        go_on.set()
        answer = call.result(60)
        self.assertEqual({signature.selector for signature in answer.signatures}, after)
        for signature in answer.signatures:
            self.assertIn(b"c=simple/relaxed", signature.header_field)
        found = mail_way.own_signatures(messages.signed(message, answer), mail_way.keys_of(self.hallmark.key_lines(["long.example"])))
        self.assertEqual([(name, passed) for name, _, passed in found], [("long.example", True)] * len(after))

    def test_an_upload_whose_header_ends_with_it_is_judged_by_what_holds_then(self):
        before = self.hallmark.add_domain("late.example", algorithms=[admin_pb2.KEY_ALGORITHM_RSA_2048])
        head = b"From: a@late.example\r\nSubject: no blank line"
        sent, go_on = threading.Event(), threading.Event()

        def chunks():
            yield signing_pb2.MessageChunk(options=signing_pb2.SignOptions(), data=head)
            sent.set()
            go_on.wait(60)
            yield signing_pb2.MessageChunk(data=b"\r\n")

        call = self.stub.SignLarge.future(chunks(), timeout=120)
        self.assertTrue(sent.wait(30))
        time.sleep(1)  # it has come there
        made = self.admin.GenerateKey(admin_pb2.GenerateKeyRequest(domain="late.example", algorithm=before[0].algorithm))
        self.admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain="late.example", selector=made.selector, unpublished=True))
        self.admin.RetireKey(admin_pb2.RetireKeyRequest(domain="late.example", selector=before[0].selector))
        go_on.set()
        self.assertEqual([signature.selector for signature in call.result(60).signatures], [made.selector])

    def stream(self, messages_by_id):
        """SignStream's answers by request_id."""
        # An id that is used again is a retry, or refused.
        ids = {f"{name}-{uuid.uuid4()}": name for name in messages_by_id}
        requests = [signing_pb2.SignRequest(message=messages_by_id[name], options=signing_pb2.SignOptions(request_id=one))
                    for one, name in ids.items()]
        answers = list(self.stub.SignStream(iter(requests), timeout=60))
        self.assertEqual(sorted(answer.request_id for answer in answers), sorted(ids))
        return {ids[answer.request_id]: answer for answer in answers}

    def assert_hashes(self, response, digest, way):
        self.assertEqual([signature.algorithm for signature in response.signatures], [deployment.RSA, deployment.ED25519], way)
        for signature in response.signatures:
            self.assertEqual(signature.body_hash.hex(), digest.hex(), way)

    def test_same_body_hash_every_way(self):
        for form, value in FORMS.items():
            self.use(form)
            streamed = self.stream({name: HEAD + body for name, body in BODIES.items()})
            for name, body in BODIES.items():
                digest = hashlib.sha256(canonical_body(body, form)).digest()
                with self.subTest(form, body=name):
                    self.assert_hashes(self.hallmark.sign(HEAD + body), digest, "Sign")
                    self.assert_hashes(streamed[name].response, digest, "SignStream")
                    for size in (1, 7, 65536):
                        message = HEAD + body[:4096] if size == 1 else HEAD + body
                        expected = hashlib.sha256(canonical_body(body[:4096], form)).digest() if size == 1 else digest
                        answer = self.stub.SignLarge(self.chunks(message, size), timeout=120)
                        self.assert_hashes(answer, expected, f"SignLarge by {size}")
                        self.assertTrue(answer.request_id.startswith("large-"))
                    request = signing_pb2.SignDigestRequest(header=HEAD, body_hash=digest, body_canonicalization=value)
                    self.assert_hashes(self.stub.SignDigest(request, timeout=30), digest, "SignDigest")

    def test_every_way_verifies(self):
        self.use("relaxed")
        message = HEAD + BODIES["white-space"]
        digest = hashlib.sha256(canonical_body(BODIES["white-space"], "relaxed")).digest()
        answers = {
            "sign": self.hallmark.sign(message), "stream": self.stream({"one": message})["one"].response,
            "large": self.stub.SignLarge(self.chunks(message, 7), timeout=30),
            "digest": self.stub.SignDigest(signing_pb2.SignDigestRequest(
                header=HEAD, body_hash=digest, body_canonicalization=FORMS["relaxed"]), timeout=30),
        }
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "messages").mkdir()
            for way, answer in answers.items():
                (folder / "messages" / f"{way}.eml").write_bytes(messages.signed(message, answer))
            (folder / "keys").write_text("".join(self.hallmark.key_lines(["example.com"])))
            findings = verifiers.run("dkimpy", folder / "messages", folder / "keys")
        self.assertEqual(sorted((finding["file"], finding["result"]) for finding in findings),
                         sorted((f"{way}.eml", "pass") for way in answers for _ in range(2)))

    def test_refused_message_does_not_end_the_stream(self):
        answers = self.stream({"good": messages.MESSAGE, "bad": b"To: nobody\r\n\r\nx\r\n", "later": messages.MESSAGE})
        self.assertEqual(len(answers["good"].response.signatures), 2)
        self.assertEqual(len(answers["later"].response.signatures), 2)
        info = deployment.status_detail(answers["bad"].error, error_details_pb2.ErrorInfo())
        self.assertEqual((info.reason, info.domain), ("FROM_MISSING", "hallmark"))

    def test_many_in_flight_on_one_stream(self):
        many = {f"m{number}": HEAD + b"body %d\r\n" % number for number in range(300)}
        for name, answer in self.stream(many).items():
            body = many[name][len(HEAD):]
            self.assert_hashes(answer.response, hashlib.sha256(canonical_body(body, "relaxed")).digest(), name)

    def test_line_ends_of_the_field_are_those_of_the_message(self):
        lf = messages.MESSAGE.replace(b"\r\n", b"\n")
        for signature in self.hallmark.sign(lf).signatures:
            self.assertNotIn(b"\r", signature.header_field)
            self.assertTrue(signature.header_field.endswith(b"\n"))
        for signature in self.hallmark.sign(messages.MESSAGE).signatures:
            self.assertEqual(signature.header_field.count(b"\n"), signature.header_field.count(b"\r\n"))
            self.assertTrue(signature.header_field.endswith(b"\r\n"))
            self.assertNotIn(b"\r\n\r\n", signature.header_field)

    def test_warnings(self):
        cases = {"LONG_LINE": HEAD[:-2] + b"References: " + b"<a@example.com>" * 90 + b"\r\n\r\nx\r\n",
                 "BARE_LF": HEAD + b"a\nb\r\n", "BARE_CR": HEAD + b"a\rb\r\n", "NO_FINAL_CRLF": HEAD + b"a",
                 "TIGHT_ADDRESS_LIST": HEAD[:-2] + b"Cc: a@example.com,b@example.com\r\n\r\nx\r\n"}
        for code, message in cases.items():
            with self.subTest(code):
                self.assertIn(code, [warning.code for warning in self.hallmark.sign(message).warnings])
        self.assertEqual(list(self.hallmark.sign(messages.MESSAGE).warnings), [])

    def test_a_relay_that_hashes_is_warned_as_others_are(self):
        self.use("relaxed")
        for name, body in BODIES.items():
            with self.subTest(name):
                told = self.stub.SignDigest(digest_request(HEAD, body), timeout=30).warnings
                self.assertEqual(list(told), list(self.hallmark.sign(HEAD + body).warnings))
                self.assertEqual(list(self.stub.SignDigest(digest_request(HEAD, body, told=False), timeout=30).warnings), [])

    def test_a_profile_refuses_bare_line_ends_every_way(self):
        self.admin.CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(profile=admin_pb2.SigningProfile(
            name="strict", line_endings=admin_pb2.LINE_ENDINGS_REFUSE)))
        self.hallmark.add_domain("strict.example", profile="strict")
        head = HEAD.replace(b"@example.com", b"@strict.example")

        def stream(head, body):
            answer = self.stream({"one": head + body})["one"]
            return answer.response.signatures or deployment.status_detail(answer.error, error_details_pb2.ErrorInfo()).reason

        def unary(call):
            def run(head, body):
                try:
                    return call(head, body).signatures
                except grpc.RpcError as error:
                    return deployment.error_reason(error)
            return run

        ways = {"Sign": unary(lambda head, body: self.hallmark.sign(head + body)), "SignStream": stream,
                "SignLarge": unary(lambda head, body: self.stub.SignLarge(self.chunks(head + body, 50), timeout=30)),
                "SignDigest": unary(lambda head, body: self.stub.SignDigest(digest_request(head, body), timeout=30))}
        for way, run in ways.items():
            with self.subTest(way):
                self.assertEqual(len(run(head, b"one\r\ntwo")), 2)
                for body in (b"one\ntwo\r\n", b"one\rtwo\r\n", b"one\r\n\n"):
                    self.assertEqual(run(head, body), "BARE_LINE_ENDING", body)
                self.assertEqual(run(head.replace(b"\r\n", b"\n"), b"one\r\n"), "BARE_LINE_ENDING")
        # A relay that keeps them to itself gets no way around the rule.
        error = self.hallmark.call_error(self.stub.SignDigest, digest_request(head, b"one\r\n", told=False), timeout=30)
        self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")
        self.assertIn("body_facts", error.details())


class BrokenUploadTest(unittest.TestCase):
    """An upload that breaks off is no message, however much of it has come."""

    UPLOADS = 10

    def setUp(self):
        self.hallmark = self.enterContext(deployment.Deployment())
        self.hallmark.add_domain("example.com")
        self.proxy = self.enterContext(tcp_proxy.TcpProxy(self.hallmark.signing_address))

    def status(self):
        return self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest())

    def begin(self, request_id):
        """An upload that stops after 2 MiB, of which signerd has read most: gRPC keeps far less of a stream under way."""
        sent, over = threading.Event(), threading.Event()
        self.addCleanup(over.set)

        def chunks():
            yield signing_pb2.MessageChunk(options=signing_pb2.SignOptions(request_id=request_id), data=HEAD)
            for _ in range(32):
                yield signing_pb2.MessageChunk(data=BODIES["plain"] * 6000)
            sent.set()
            over.wait(60)

        stub = signing_pb2_grpc.SigningServiceStub(self.hallmark.channel(self.proxy.address))
        call = stub.SignLarge.future(chunks(), timeout=120)
        self.assertTrue(sent.wait(60))
        return call

    def break_off(self, how):
        for number in range(self.UPLOADS):
            before = self.status()
            how(self.begin(f"broken-{number}"))
            wait_for(lambda: self.status().refused_message_count + self.status().signed_message_count >
                     before.refused_message_count + before.signed_message_count, "the upload is over")  # noqa: B023
        self.assertEqual(self.status().signed_message_count, 0)
        self.assertEqual([record for record in ledger_files.records(self.hallmark.folder / "state" / "ledger")
                          if record.HasField("signature")], [])
        # Its name is free for the whole message.
        for number in range(self.UPLOADS):
            self.assertEqual(len(self.hallmark.sign(messages.MESSAGE, request_id=f"broken-{number}").signatures), 2)

    def test_one_that_is_cancelled_is_not_signed(self):
        self.break_off(lambda call: call.cancel())

    def test_one_whose_client_is_gone_is_not_signed(self):
        self.break_off(lambda call: self.proxy.cut())

if __name__ == "__main__":
    unittest.main()
