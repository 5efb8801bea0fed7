"""Certificates: revocation at once and by CRL, files that change under a running daemon, and warnings before they expire."""

import contextlib
import datetime
import hashlib
import re
import sqlite3
import ssl
import unittest

import hpack

import deployment
import messages
import metrics_test
import pki
import raw_http2
from waiting import wait_for

from hallmark.admin.v1 import certificates_pb2, certificates_pb2_grpc
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc


def fingerprint(pem):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()


class CertificatesTest(unittest.TestCase):
    def setUp(self):
        self.hallmark = hallmark = deployment.Deployment(start=False)
        self.addCleanup(hallmark.close)
        # CAs of the test's own beside those that dkimctl made.
        self.authority, self.officers = pki.Authority(), pki.Authority("Operators")
        for name, authority in (("relay-ca", self.authority), ("admin-ca", self.officers)):
            with open(hallmark.folder / f"tls/{name}.pem", "ab") as bundle:
                bundle.write(authority.pem)

    def add_crl(self, listener, authority):
        file = self.hallmark.folder / f"{listener}.crl"
        file.write_bytes(authority.crl([]))
        self.hallmark.edit_config(lambda text: text.replace(f"[{listener}]", f'[{listener}]\nclient_crl = "{file.name}"'))
        return file

    def start(self):
        self.hallmark.start()
        self.hallmark.add_domain("example.com", algorithms=deployment.KEY_ALGORITHMS[1:])

    def relay(self, certificate):
        """Signs on one connection that stays open."""
        stub = signing_pb2_grpc.SigningServiceStub(self.hallmark.channel(self.hallmark.signing_address, *certificate))
        return lambda: stub.Sign(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=20)

    def operator(self, certificate=None):
        if certificate is None:
            return self.hallmark.officer().certificates()
        return certificates_pb2_grpc.CertificateServiceStub(self.hallmark.channel(self.hallmark.admin_address, *certificate))

    def files(self, listener="signing"):
        answer = self.operator().ListCertificates(certificates_pb2.ListCertificatesRequest(), timeout=20)
        return next(files for files in answer.files if files.listener == listener)

    def wait(self, condition, what):
        wait_for(condition, lambda: f"{what}\n{self.hallmark.log_text()}")

    def assert_revoked(self, call):
        error = self.hallmark.call_error(call)
        self.assertEqual((error.code().name, deployment.error_reason(error)), ("PERMISSION_DENIED", "CERTIFICATE_REVOKED"))

    def is_revoked(self, call):
        try:
            call()
        except deployment.grpc.RpcError as error:
            return deployment.error_reason(error) == "CERTIFICATE_REVOKED"
        return False

    def test_by_fingerprint_on_open_connections_and_across_a_restart(self):
        self.start()
        lost, kept = (self.authority.issue(dns=["relay1.localdomain"]) for _ in range(2))
        lost_call, kept_call = self.relay(lost), self.relay(kept)
        lost_call()
        kept_call()
        file = self.hallmark.folder / "lost.pem"
        file.write_bytes(lost[0])
        # Nobody at a terminal said yes.
        self.hallmark.dkimctl("certificate", "revoke", file, status=1)
        lost_call()
        revoked = self.hallmark.dkimctl_json("certificate", "revoke", file, "--yes", "--reason", "stolen")
        self.assertEqual(revoked["fingerprint"], fingerprint(lost[0]))
        self.assert_revoked(lost_call)
        kept_call()
        again = self.hallmark.dkimctl("certificate", "revoke", fingerprint(lost[0]), "--yes", status=1)
        self.assertIn("ALREADY_EXISTS", again.stderr)

        self.hallmark.process.kill()
        self.hallmark.process.wait()
        self.hallmark.stop()
        self.hallmark.start()
        self.assert_revoked(self.relay(lost))
        listed = self.hallmark.dkimctl_json("certificate", "list")["revoked"]
        self.assertEqual([(entry["fingerprint"], entry["reason"]) for entry in listed], [(fingerprint(lost[0]), "stolen")])
        colons = ":".join(re.findall("..", fingerprint(lost[0]).upper()))
        self.hallmark.dkimctl_with_approval("certificate", "unrevoke", colons, "--yes")
        self.relay(lost)()

    def test_what_is_recorded_and_not_in_force_is_with_the_next_try(self):
        """A snapshot cannot be built from a database that is damaged."""
        self.start()
        certificate = self.authority.issue(dns=["relay1.localdomain"])
        call = self.relay(certificate)
        request = certificates_pb2.RevokeCertificateRequest(pem=certificate[0].decode())
        def profile_of_the_domain(name):
            with contextlib.closing(sqlite3.connect(self.hallmark.folder / "state/hallmark.db", timeout=20)) as database, database:
                database.execute("UPDATE domain SET profile = ? WHERE name = 'example.com'", (name,))
        def refusal():
            return deployment.error_reason(self.hallmark.call_error(self.operator().RevokeCertificate, request, timeout=20))
        profile_of_the_domain("no such")
        self.assertEqual(refusal(), "STORAGE_FAILED")
        call()
        profile_of_the_domain("default")
        self.assertEqual(refusal(), "ALREADY_EXISTS")
        self.assert_revoked(call)

        profile_of_the_domain("no such")
        self.assertIn("STORAGE_FAILED", self.hallmark.dkimctl("partner", "suspend", "own", status=1).stderr)
        self.hallmark.sign(messages.MESSAGE)
        profile_of_the_domain("default")
        self.hallmark.dkimctl("partner", "suspend", "own")
        error = self.hallmark.call_error(self.hallmark.sign, messages.MESSAGE)
        self.assertEqual(deployment.error_reason(error), "PARTNER_SUSPENDED")

    def test_operator_by_fingerprint(self):
        self.start()
        identity = re.search(r'first_officers = \["(dns|uri):([^"]+)"', self.hallmark.config.read_text())
        names = {"dns": [identity[2]]} if identity[1] == "dns" else {"uris": [identity[2]]}
        certificate = self.officers.issue(**names)
        stub = self.operator(certificate)
        def call():
            return stub.ListCertificates(certificates_pb2.ListCertificatesRequest(), timeout=20)
        # A new certificate of the same operator, which has no session yet.
        self.assertEqual(deployment.error_reason(self.hallmark.call_error(call)), "LOGIN_REQUIRED")
        self.operator().RevokeCertificate(certificates_pb2.RevokeCertificateRequest(pem=certificate[0].decode()), timeout=20)
        self.assert_revoked(call)

    def test_what_is_no_certificate(self):
        self.start()
        chain = self.hallmark.read("tls/relay-ca.pem") + self.authority.pem
        for request in ({"fingerprint": "12"}, {"fingerprint": "z" * 64}, {"pem": "garbage"}, {"pem": chain.decode()}, {},
                        {"fingerprint": "0" * 64, "reason": "x" * 201}, {"fingerprint": "0" * 64, "reason": "a\nb"}):
            with self.subTest(request):
                error = self.hallmark.call_error(self.operator().RevokeCertificate,
                                                 certificates_pb2.RevokeCertificateRequest(**request), timeout=20)
                self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")
        self.hallmark.dkimctl("certificate", "revoke", self.hallmark.folder / "tls/relay1.key", "--yes", status=1)
        self.hallmark.dkimctl("certificate", "unrevoke", "0" * 64, "--yes", status=1)
        self.assertEqual(self.hallmark.dkimctl_json("certificate", "list")["revoked"], [])

    def test_a_ca_is_not_revoked_by_its_fingerprint(self):
        """It would refuse nobody, and whoever did it would think that all below it are refused."""
        self.start()
        below = pki.Authority("Sent by clients", issuer=self.authority)
        for number, pem in enumerate((self.authority.pem, below.pem)):
            file = self.hallmark.folder / f"ca{number}.pem"
            file.write_bytes(pem)
            run = self.hallmark.dkimctl("certificate", "revoke", file, "--yes", status=1)
            self.assertIn("client_crl", run.stderr)
        run = self.hallmark.dkimctl("certificate", "revoke", fingerprint(self.officers.pem), "--yes", status=1)
        self.assertIn("client_ca of [admin]", run.stderr)
        self.assertEqual(self.hallmark.dkimctl_json("certificate", "list")["revoked"], [])
        # A client may show such a certificate as its own, where it stands in client_ca itself.
        own = self.relay(self.authority.itself())
        self.assertEqual(deployment.error_reason(self.hallmark.call_error(own)), "CALLER_UNKNOWN")
        self.hallmark.dkimctl("certificate", "revoke", fingerprint(self.authority.pem), "--yes")
        self.assert_revoked(own)

    def test_a_clients_own_in_client_ca_is_revoked_before_it_has_called(self):
        own, other = (pki.self_signed(["relay1.localdomain"]) for _ in range(2))
        with open(self.hallmark.folder / "tls/relay-ca.pem", "ab") as bundle:
            bundle.write(own[0] + other[0])
        self.start()
        self.relay(other)()
        self.hallmark.dkimctl("certificate", "revoke", fingerprint(own[0]), "--yes")
        self.assert_revoked(self.relay(own))
        self.relay(other)()

    def test_crl_file(self):
        crl = self.add_crl("signing", self.authority)
        self.start()
        first, second = (self.authority.issue(dns=["relay1.localdomain"]) for _ in range(2))
        first_call, second_call = self.relay(first), self.relay(second)
        first_call()
        second_call()
        crl.write_bytes(self.authority.crl([first[0]]))
        self.wait(lambda: self.is_revoked(first_call), "the revocation on an open connection")
        second_call()

        stranger, now = pki.Authority(), datetime.datetime.utcnow()
        bad = {
            "garbage": b"garbage", "half a list": self.authority.crl([second[0]])[:200],
            "foreign": pki.Authority("Stranger").crl([second[0]]),
            "same name, another key": stranger.crl([second[0]]),
            "an old one put back": self.authority.crl([], days_old=2),
            "expired": self.authority.crl([second[0]], until=now - datetime.timedelta(hours=1)),
            "good, then garbage": self.authority.crl([second[0]]) + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        }
        for name, content in bad.items():
            with self.subTest(name):
                crl.write_bytes(content)
                self.wait(lambda: self.files().crl_problem, "the problem in the status")
                self.assert_revoked(first_call)
                second_call()
                crl.write_bytes(self.authority.crl([first[0]]))
                self.wait(lambda: not self.files().crl_problem, "the end of the problem")
        crl.unlink()
        self.wait(lambda: self.files().crl_problem, "the problem in the status")
        self.assert_revoked(first_call)
        self.assertIn("signing.crl", self.hallmark.log_text())
        self.assertIn("signing.crl", self.hallmark.dkimctl("status").stdout)

        # Two lists in one file; and what a newer list does not name is let in again.
        other = pki.Authority("Other")
        self.hallmark.trust(other.pem)
        crl.write_bytes(self.authority.crl([second[0]]) + other.crl([]))
        self.wait(lambda: self.is_revoked(second_call), "the newer list")
        first_call()
        # That a list is not there any more forgives nobody whom it named.
        crl.write_bytes(other.crl([]))
        self.wait(lambda: self.files().crl_problem, "the problem in the status")
        self.assert_revoked(second_call)

    def test_client_ca_that_can_only_be_read_in_part(self):
        self.start()
        authorities = self.hallmark.folder / "tls/relay-ca.pem"
        good = authorities.read_bytes()
        authorities.write_bytes(good.replace(self.authority.pem, self.authority.pem.replace(b"M", b"!")))
        self.wait(lambda: "relay-ca.pem: certificate 2 " in self.files().problem, "the problem in the status")
        self.relay(self.authority.issue(dns=["relay1.localdomain"]))()
        authorities.write_bytes(good)
        self.wait(lambda: not self.files().problem, "the end of the problem")

    def test_list_of_a_ca_that_left_and_came_back(self):
        other = pki.Authority("Other")
        self.hallmark.trust(other.pem)
        crl = self.add_crl("signing", self.authority)
        certificate = self.authority.issue(dns=["relay1.localdomain"])
        crl.write_bytes(self.authority.crl([certificate[0]]) + other.crl([]))
        self.start()
        self.assert_revoked(self.relay(certificate))
        authorities = self.hallmark.folder / "tls/relay-ca.pem"
        both = authorities.read_bytes()
        authorities.write_bytes(both.replace(self.authority.pem, b""))
        crl.write_bytes(other.crl([]))
        self.wait(lambda: self.handshake_fails(self.relay(certificate)) and not self.files().crl_problem, "the handshake fails")
        authorities.write_bytes(both)
        self.wait(lambda: self.is_revoked(self.relay(certificate)), "it is revoked as before")

    def test_list_that_expires_stays_in_force(self):
        crl = self.add_crl("signing", self.authority)
        certificate = self.authority.issue(dns=["relay1.localdomain"])
        self.start()
        call = self.relay(certificate)
        for seconds in (20, 80, 320):  # one that is good for longer, where the machine is so slow that it was not seen in time
            until = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)
            crl.write_bytes(self.authority.crl([certificate[0]], until=until))
            wait_for(lambda: self.is_revoked(call) or datetime.datetime.utcnow() > until, "its revocation or its end", seconds + 60)
            if self.is_revoked(call):
                break
        wait_for(lambda: "expired" in self.files().crl_problem, "the expiry", seconds + 60)
        self.assert_revoked(call)

    def test_list_of_a_ca_that_was_renewed(self):
        """Certificates, lists and CA certificates name the CA in one encoding or the other."""
        renewed = pki.Authority(renews=self.authority)
        crl = self.add_crl("signing", self.authority)
        self.start()
        self.hallmark.trust(renewed.pem)
        old, new = (authority.issue(dns=["relay1.localdomain"]) for authority in (self.authority, renewed))
        old_call, new_call = self.relay(old), self.relay(new)
        self.wait(lambda: not self.files().problem, "the new CA certificate")
        old_call()
        wait_for(lambda: self.signs(new_call), "a certificate of the renewed CA lets in")
        for lists in (renewed, self.authority):
            with self.subTest("renewed" if lists is renewed else "before"):
                crl.write_bytes(lists.crl([old[0], new[0]]))
                self.wait(lambda: self.is_revoked(old_call) and self.is_revoked(new_call), "the revocation of both")
                crl.write_bytes(lists.crl([]))
                self.wait(lambda: self.signs(old_call) and self.signs(new_call), "the end of the revocation")

    def signs(self, call):
        try:
            call()
        except deployment.grpc.RpcError:
            return False
        return True

    def test_crl_that_revokes_a_ca(self):
        """One that the clients send, or one that only the server has, with those below it; and a CA beside them stays."""
        root = pki.Authority("Root", path_length=2)
        sent, kept = (pki.Authority(name, issuer=root, path_length=1) for name in ("Sent", "Kept"))
        below_sent, below_kept, good = (pki.Authority(f"Below {name}", issuer=above) for name, above in
                                        (("sent", sent), ("kept", kept), ("root", root)))
        for authority in (root, kept, below_kept):
            self.hallmark.trust(authority.pem)
        crl = self.add_crl("signing", root)
        self.start()
        def connect(leaf, *chain):
            certificate, key = leaf.issue(dns=["relay1.localdomain"])
            return self.relay((b"".join([certificate, *(authority.pem for authority in chain)]), key))
        ways = {"sent": [(sent, sent), (below_sent, below_sent, sent)], "kept": [(kept,), (below_kept,), (kept, kept)],
                "good": [(good, good)]}
        calls = {name: [connect(*way) for way in of] for name, of in ways.items()}
        for call in sum(calls.values(), []):
            call()
        for name, revoked in (("sent", sent), ("kept", kept)):
            with self.subTest(name):
                crl.write_bytes(root.crl([revoked.pem]))
                self.wait(lambda: all(map(self.is_revoked, calls[name])), "the revocation of all below it")
                for way in ways[name]:
                    self.assert_revoked(connect(*way))
                for call in sum((calls[other] for other in calls if other != name), []):
                    self.assertTrue(self.signs(call))
        # It has gone from the file, so that a new connection has to send it; the open ones are not forgiven.
        authorities = self.hallmark.folder / "tls/relay-ca.pem"
        for gone in (kept, below_kept):
            authorities.write_bytes(authorities.read_bytes().replace(gone.pem, b""))
        self.wait(lambda: self.handshake_fails(connect(kept)), "the handshake fails")
        for call in calls["kept"] + [connect(kept, kept), connect(below_kept, below_kept, kept)]:
            self.assert_revoked(call)
        crl.write_bytes(root.crl([]))
        self.wait(lambda: all(map(self.signs, calls["kept"])), "the end of the revocation")

    def test_crl_that_revokes_one_of_two_certificates_of_a_ca(self):
        root, other = pki.Authority("Root", path_length=1), pki.Authority("Other root", path_length=1)
        authority = pki.Authority("Issuing", issuer=root)
        crossed = pki.Authority("Issuing", renews=authority, issuer=other)
        for trusted in (root, other, authority, crossed):
            self.hallmark.trust(trusted.pem)
        crl = self.add_crl("signing", root)
        crl.write_bytes(root.crl([authority.pem]) + other.crl([]))
        self.start()
        certificate, key = authority.issue(dns=["relay1.localdomain"])
        calls = [self.relay((certificate + sent, key)) for sent in (b"", authority.pem, crossed.pem)]
        for call in calls:
            call()
        crl.write_bytes(root.crl([authority.pem]) + other.crl([crossed.pem]))
        self.wait(lambda: all(map(self.is_revoked, calls)), "the revocation of both")

    def test_whoever_sends_another_certificate_of_its_ca_is_judged_by_that(self):
        root, other = pki.Authority("Root", path_length=1), pki.Authority("Other root", path_length=1)
        authority = pki.Authority("Issuing", issuer=root)
        crossed = pki.Authority("Issuing", renews=authority, issuer=other)
        for trusted in (root, other):
            self.hallmark.trust(trusted.pem)
        crl = self.add_crl("signing", root)
        crl.write_bytes(root.crl([authority.pem]))
        self.start()
        certificate, key = authority.issue(dns=["relay1.localdomain"])
        for sent, good in ((authority, False), (crossed, True), (authority, False)):
            call = self.relay((certificate + sent.pem, key))
            if good:
                call()
            else:
                self.assert_revoked(call)

    def test_a_resumed_session_does_not_hide_the_ca(self):
        """It has the client's own certificate only, so that it is enough for who has shown the rest before."""
        root = pki.Authority("Root", path_length=1)
        sent = pki.Authority("Sent", issuer=root)
        self.hallmark.trust(root.pem)
        crl = self.add_crl("signing", root)
        self.start()
        certificate, key = sent.issue(dns=["relay1.localdomain"])
        certificate += sent.pem
        context = raw_http2.tls_context(self.hallmark.read("tls/server-ca.pem"), (certificate, key))
        with raw_http2.RawHttp2(self.hallmark.signing_address, context) as peer:
            peer.greet()
            peer.wait_for(lambda one: one.kind == raw_http2.SETTINGS)
            session = peer.session
        def resume():
            with raw_http2.RawHttp2(self.hallmark.signing_address, context, session=session) as again:
                self.assertTrue(again.resumed)
                request = signing_pb2.SignRequest(message=messages.MESSAGE).SerializeToString()
                again.greet()
                again.send(again.call_headers(1, "/hallmark.signing.v1.SigningService/Sign") +
                           raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, 1, raw_http2.grpc_message(request)))
                decoder, headers = hpack.Decoder(), {}
                while "grpc-status" not in headers:
                    frames = again.wait_for(lambda one: one.kind == raw_http2.HEADERS)
                    headers = dict(decoder.decode(frames[-1].payload))
                return headers["grpc-status"], headers.get("grpc-message", "")
        self.assertIn("without resuming", resume()[1])
        whole = self.relay((certificate, key))
        whole()
        self.assertEqual(resume()[0], "0")
        crl.write_bytes(root.crl([sent.pem]))
        self.wait(lambda: self.is_revoked(whole), "the revocation")
        self.assertIn("is revoked", resume()[1])

    def test_an_expired_list_does_not_hold_up_another_ca(self):
        other, now = pki.Authority("Other"), datetime.datetime.utcnow()
        self.hallmark.trust(other.pem)
        crl = self.add_crl("signing", self.authority)
        certificate, others = self.authority.issue(dns=["relay1.localdomain"]), other.issue(dns=["relay1.localdomain"])
        stale = self.authority.crl([certificate[0]], until=now - datetime.timedelta(minutes=1))
        crl.write_bytes(stale + other.crl([]))
        self.start()
        call, others_call = self.relay(certificate), self.relay(others)
        others_call()
        self.assert_revoked(call)
        self.assertIn("the list of CN=Test CA has expired", self.files().crl_problem)
        crl.write_bytes(stale + other.crl([others[0]]))
        self.wait(lambda: self.is_revoked(others_call), "the revocation by the list that is good")
        self.assert_revoked(call)
        crl.write_bytes(self.authority.crl([]) + other.crl([others[0]]))
        self.wait(lambda: not self.files().crl_problem, "the end of the problem")
        call()

    def test_a_certificate_that_expires_on_an_open_connection(self):
        self.start()
        call = self.relay(self.authority.issue(dns=["relay1.localdomain"], days=30 / 86400))
        call()
        reason = wait_for(lambda: self.reason(call), "its expiry", 120)
        self.assertEqual(reason, "CALLER_UNKNOWN")

    def handshake_fails(self, call):
        try:
            call()
        except deployment.grpc.RpcError as error:
            return error.code() == deployment.grpc.StatusCode.UNAVAILABLE and not deployment.error_reason(error)
        return False

    def reason(self, call):
        try:
            call()
        except deployment.grpc.RpcError as error:
            return deployment.error_reason(error)
        return ""

    def test_crl_of_operators(self):
        crl = self.add_crl("admin", self.officers)
        self.start()
        identity = re.search(r'first_officers = \["(dns|uri):([^"]+)"', self.hallmark.config.read_text())
        certificate = self.officers.issue(**({"dns": [identity[2]]} if identity[1] == "dns" else {"uris": [identity[2]]}))
        stub = self.operator(certificate)
        def call():
            return stub.ListCertificates(certificates_pb2.ListCertificatesRequest(), timeout=20)
        # A new certificate of the same operator, which has no session yet.
        self.assertEqual(deployment.error_reason(self.hallmark.call_error(call)), "LOGIN_REQUIRED")
        crl.write_bytes(self.officers.crl([certificate[0]]))
        self.wait(lambda: self.is_revoked(call), "the revocation")

    def test_start_needs_a_good_crl(self):
        crl = self.add_crl("signing", self.authority)
        crl.write_bytes(b"garbage")
        with self.assertRaises(AssertionError):
            self.hallmark.start()
        self.assertIn("signing.crl: not a PEM certificate revocation list", self.hallmark.log_text())

    def shown(self):
        """The certificate that the signing listener shows now."""
        host, port = self.hallmark.signing_address.rsplit(":", 1)
        return ssl.get_server_certificate((host, int(port)))

    def test_server_certificate_is_replaced_while_it_runs(self):
        self.start()
        folder, server = self.hallmark.folder / "tls", pki.Authority("New server CA")
        old = (self.hallmark.read("tls/server.pem"), self.hallmark.read("tls/server.key"))
        open_call = self.relay(self.authority.issue(dns=["relay1.localdomain"]))
        open_call()
        new = server.issue(dns=["localhost"], server=True)
        for name, content in {"garbage": b"garbage", "another key's": new[0], "half": old[0][:300], "empty": b""}.items():
            with self.subTest(name):
                (folder / "server.pem").write_bytes(content)
                self.wait(lambda: self.files().problem, "the problem in the status")
                self.assertEqual(ssl.PEM_cert_to_DER_cert(self.shown()), ssl.PEM_cert_to_DER_cert(old[0].decode()))
                self.relay(self.authority.issue(dns=["relay1.localdomain"]))()
                (folder / "server.pem").write_bytes(old[0])
                self.wait(lambda: not self.files().problem, "the end of the problem")
        self.assertIn("stays in force", self.hallmark.log_text())
        (folder / "server.pem").write_bytes(new[0])
        (folder / "server.key").write_bytes(new[1])
        self.wait(lambda: ssl.PEM_cert_to_DER_cert(self.shown()) == ssl.PEM_cert_to_DER_cert(new[0].decode()),
                  "the new certificate")
        open_call()

    def test_warning_before_they_expire(self):
        self.start()
        self.relay(self.authority.issue(dns=["relay1.localdomain"], days=7))()
        certificates = self.hallmark.dkimctl_json("certificate", "list")["certificates"]
        names = [entry["name"] for entry in certificates]
        self.assertEqual(names[0], "signing client dns:relay1.localdomain")
        for part in ("signing server ", "admin server ", "signing client CA ", "admin client CA ", "admin client "):
            self.assertTrue(any(name.startswith(part) for name in names), f"{part} is not in {names}")
        status = self.hallmark.dkimctl("status").stdout
        self.assertRegex(status, r"signing client\s+.*renew")
        self.assertLessEqual(max(map(len, status.splitlines())), 80)
        # The test's CAs end within the 30 days; the trial set-up's own do not.
        self.assertRegex(self.hallmark.log_text(), r"signing client CA CN=Test CA expires in \d+ days: renew it")
        self.assertNotRegex(self.hallmark.log_text(), r"signing server \S+ expires in")

    def test_a_revoked_one_is_not_to_be_renewed(self):
        crl = self.add_crl("signing", self.authority)
        metrics_test.add_metrics(self.hallmark)
        self.start()
        by_fingerprint, by_list, kept = (self.authority.issue(dns=["relay1.localdomain"]) for _ in range(3))
        for certificate in (by_fingerprint, by_list, kept):
            self.relay(certificate)()
        file = self.hallmark.folder / "lost.pem"
        file.write_bytes(by_fingerprint[0])
        self.hallmark.dkimctl("certificate", "revoke", file, "--yes")
        crl.write_bytes(self.authority.crl([by_list[0]]))
        self.wait(lambda: self.is_revoked(self.relay(by_list)), "the revocation")
        listed = {entry["fingerprint"]: entry.get("revoked", False)
                  for entry in self.hallmark.dkimctl_json("certificate", "list")["certificates"]}
        self.assertEqual([listed[fingerprint(one[0])] for one in (by_fingerprint, by_list, kept)], [True, True, False])
        told = " ".join(name for name in metrics_test.scrape(self.hallmark) if name.startswith("hallmark_certificate_expiry_seconds"))
        self.assertEqual([fingerprint(one[0])[:16] in told for one in (by_fingerprint, by_list, kept)], [False, False, True])


if __name__ == "__main__":
    unittest.main()
