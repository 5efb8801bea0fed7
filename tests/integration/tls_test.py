"""Who may connect: TLS 1.3 and known certificates only, each caller on its own listener, each relay for its domains."""

import socket
import ssl
import subprocess
import tempfile
import unittest

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import deployment
import messages
import pki
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2, admin_pb2_grpc
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc


def _standard_messages():
    """The few messages of the standard health and reflection services that this test needs, by full name."""
    def message(file, name, *fields):
        built = file.message_type.add(name=name)
        for number, label, kind, field, type_name in fields:
            built.field.add(name=field, number=number, label=label, type=kind, type_name=type_name or None)

    one, many = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL, descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    text, number, nested = (descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
                            descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE)
    health = descriptor_pb2.FileDescriptorProto(name="health.proto", package="grpc.health.v1", syntax="proto3")
    message(health, "HealthCheckRequest", (1, one, text, "service", ""))
    message(health, "HealthCheckResponse", (1, one, number, "status", ""))
    reflection = descriptor_pb2.FileDescriptorProto(name="reflection.proto", package="grpc.reflection.v1alpha", syntax="proto3")
    message(reflection, "ServerReflectionRequest", (7, one, text, "list_services", ""))
    message(reflection, "ServiceResponse", (1, one, text, "name", ""))
    message(reflection, "ListServiceResponse", (1, many, nested, "service", ".grpc.reflection.v1alpha.ServiceResponse"))
    message(reflection, "ServerReflectionResponse",
            (6, one, nested, "list_services_response", ".grpc.reflection.v1alpha.ListServiceResponse"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(health)
    pool.Add(reflection)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(name)) for name in (
        "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse",
        "grpc.reflection.v1alpha.ServerReflectionRequest", "grpc.reflection.v1alpha.ServerReflectionResponse")}


STANDARD = _standard_messages()
SERVING = 1


class TlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = hallmark = deployment.Deployment(start=False)
        cls.addClassCleanup(hallmark.close)
        # A second CA that the signing listener trusts, so that the test can make relays of its own.
        cls.authority = pki.Authority()
        hallmark.trust(cls.authority.pem)
        hallmark.edit_policy(lambda text: text + '\n[[partner]]\nname = "narrow"\nauthor_domains = [".example.net"]\n'
                                                 'signing_domains = ["example.net"]\n\n[[relay]]\nname = "narrow"\n'
                                                 'identity = "uri:hallmark:relay:narrow"\npartners = ["narrow"]\n')
        hallmark.start()
        hallmark.add_domain("example.com")
        hallmark.add_domain("example.net")

    def address(self, listener="signing"):
        host, port = getattr(self.hallmark, f"{listener}_address").rsplit(":", 1)
        return host, int(port)

    def handshake(self, listener="signing", version=None, certificate=None):
        """Connects with Python's ssl and reads: "" when the server keeps the connection, else what it says."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.hallmark.folder / "tls/server-ca.pem")
        context.set_alpn_protocols(["h2"])
        if version:
            context.minimum_version = context.maximum_version = version
        with tempfile.NamedTemporaryFile() as file:
            if certificate:
                file.write(b"".join(certificate))
                file.flush()
                context.load_cert_chain(file.name)
            try:
                with socket.create_connection(self.address(listener), 10) as plain:
                    with context.wrap_socket(plain, server_hostname="localhost") as secure:
                        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                        return "" if secure.recv(1) else "closed"
            except (ssl.SSLError, ConnectionError) as error:
                return str(error) or "closed"

    def own(self, name="relay1"):
        return self.hallmark.read(f"tls/{name}.pem"), self.hallmark.read(f"tls/{name}.key")

    def s_client(self, listener, name, version):
        """The exit status of a client other than Python's."""
        host, port = self.address(listener)
        tls = self.hallmark.folder / "tls"
        return subprocess.run(["openssl", "s_client", version, "-alpn", "h2", "-connect", f"{host}:{port}", "-cert", tls / f"{name}.pem",
                               "-key", tls / f"{name}.key"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False).returncode

    def call(self, certificate, message=messages.MESSAGE, **options):
        stub = signing_pb2_grpc.SigningServiceStub(self.hallmark.channel(self.hallmark.signing_address, *certificate))
        return stub.Sign(signing_pb2.SignRequest(message=message, options=signing_pb2.SignOptions(**options)), timeout=20)

    def test_tls_1_3_is_spoken_and_1_2_is_not(self):
        """With a certificate that is let in: it is the version that is refused."""
        for listener, name in (("signing", "relay1"), ("admin", "operator")):
            with self.subTest(listener):
                self.assertEqual(self.handshake(listener, ssl.TLSVersion.TLSv1_3, self.own(name)), "")
                self.assertEqual(self.s_client(listener, name, "-tls1_3"), 0)
                self.assertNotEqual(self.handshake(listener, ssl.TLSVersion.TLSv1_2, self.own(name)), "")
                self.assertNotEqual(self.s_client(listener, name, "-tls1_2"), 0)

    def test_client_certificate_is_required(self):
        for listener in ("signing", "admin"):
            with self.subTest(listener):
                self.assertNotEqual(self.handshake(listener), "")

    def test_other_authority_is_refused(self):
        stranger = pki.Authority("Stranger").issue(dns=["relay1.localdomain"])
        self.assertNotEqual(self.handshake(certificate=stranger), "")
        error = self.hallmark.call_error(self.call, stranger)
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)

    def test_expired_certificate_is_refused(self):
        self.assertNotEqual(self.handshake(certificate=self.authority.issue(dns=["relay1.localdomain"], days=-1)), "")

    def test_relay_certificate_does_not_open_the_admin_listener(self):
        self.assertNotEqual(self.handshake("admin", certificate=self.own()), "")
        admin = admin_pb2_grpc.AdminServiceStub(self.hallmark.channel(self.hallmark.admin_address, *self.own()))
        error = self.hallmark.call_error(admin.GetStatus, admin_pb2.GetStatusRequest(), timeout=20)
        self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED))

    def test_operator_certificate_does_not_open_the_signing_listener(self):
        error = self.hallmark.call_error(self.call, self.own("operator"))
        self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED))

    def assert_denied(self, error, reason):
        info = deployment.error_info(error)
        self.assertEqual((error.code(), info.reason, info.domain), (grpc.StatusCode.PERMISSION_DENIED, reason, "hallmark"))
        self.assertIsNone(deployment.retry_info(error))

    def test_relay_that_is_not_on_the_list(self):
        for names in ({"dns": ["other.localdomain"]}, {"uris": ["hallmark:relay:other"]}, {"dns": ["sub.relay1.localdomain"]}, {}):
            with self.subTest(names):
                self.assert_denied(self.hallmark.call_error(self.call, self.authority.issue(**names)), "CALLER_UNKNOWN")

    def test_relay_by_dns_and_by_uri(self):
        self.assertEqual(len(self.call(self.authority.issue(dns=["relay1.localdomain"])).signatures), 2)
        self.assertEqual(len(self.call(self.authority.issue(dns=["RELAY1.localdomain"])).signatures), 2)
        message = messages.MESSAGE.replace(b"example.com", b"example.net")
        self.assertEqual(len(self.call(self.authority.issue(uris=["hallmark:relay:narrow"]), message).signatures), 2)

    def test_two_relays_in_one_certificate(self):
        certificate = self.authority.issue(dns=["relay1.localdomain"], uris=["hallmark:relay:narrow"])
        self.assert_denied(self.hallmark.call_error(self.call, certificate), "CALLER_UNKNOWN")

    def test_domain_that_the_relay_may_not_use(self):
        narrow = self.authority.issue(uris=["hallmark:relay:narrow"])
        self.assert_denied(self.hallmark.call_error(self.call, narrow), "AUTHOR_NOT_ALLOWED")
        # An author of another domain does not get this relay's own domain either.
        self.assert_denied(self.hallmark.call_error(self.call, narrow, signing_domain="example.net"), "AUTHOR_NOT_ALLOWED")
        message = messages.MESSAGE.replace(b"example.com", b"example.net")
        self.assert_denied(self.hallmark.call_error(self.call, narrow, message, signing_domain="example.com"), "DOMAIN_NOT_ALLOWED")
        # Nor does it learn which domains exist.
        self.assert_denied(self.hallmark.call_error(self.call, narrow, message, signing_domain="example.edu"), "DOMAIN_NOT_ALLOWED")

    def listeners(self):
        """A channel to each listener, and the service that it is there for."""
        yield self.hallmark.channel(self.hallmark.signing_address), "hallmark.signing.v1.SigningService"
        yield self.hallmark.channel(self.hallmark.admin_address, certificate=self.hallmark.read("tls/operator.pem"),
                                    key=self.hallmark.read("tls/operator.key")), "hallmark.admin.v1.AdminService"

    def test_health(self):
        request, response = STANDARD["grpc.health.v1.HealthCheckRequest"], STANDARD["grpc.health.v1.HealthCheckResponse"]
        for channel, own in self.listeners():
            check = channel.unary_unary("/grpc.health.v1.Health/Check", request.SerializeToString, response.FromString)
            for service in ("", own):
                with self.subTest(own, asked=service):
                    # Told within a moment of the token's being ready.
                    wait_for(lambda: check(request(service=service), timeout=20).status == SERVING, "health says SERVING")
            error = self.hallmark.call_error(check, request(service="hallmark.none.v1.Service"), timeout=20)
            self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

    def test_reflection(self):
        request = STANDARD["grpc.reflection.v1alpha.ServerReflectionRequest"]
        response = STANDARD["grpc.reflection.v1alpha.ServerReflectionResponse"]
        told = {}
        for channel, own in self.listeners():
            info = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                         request.SerializeToString, response.FromString)
            [answer] = list(info(iter([request(list_services="*")]), timeout=20))
            told[own] = {service.name for service in answer.list_services_response.service}
            self.assertLessEqual({own, "grpc.health.v1.Health"}, told[own])
        signing, admin = (told[f"hallmark.{name}"] for name in ("signing.v1.SigningService", "admin.v1.AdminService"))
        self.assertFalse({name for name in signing if name.startswith("hallmark.admin.")}, "relays are told of no other service")
        self.assertFalse({name for name in admin if name.startswith("hallmark.signing.")})


if __name__ == "__main__":
    unittest.main()
