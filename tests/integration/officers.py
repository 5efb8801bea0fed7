"""Operators of a deployment as its tests need them: enrolled at once, and logged in whenever signerd asks for it.

Secret and session are where dkimctl keeps them in the set-up, so that both come in with the same session: a code is good
once, and three of them are good in half a minute.
"""

import base64
import hashlib
import hmac
import struct
import time
import urllib.parse

import grpc

import deployment
from hallmark.admin.v1 import (admin_pb2_grpc, alerts_pb2_grpc, appliance_pb2_grpc, certificates_pb2_grpc, ledger_pb2_grpc, operators_pb2,
                               operators_pb2_grpc, policy_pb2_grpc, rotation_pb2_grpc)

STEP_SECONDS = 30


def code_at(secret, step):
    """The TOTP code (RFC 6238) of a time step; the secret in base32."""
    mac = hmac.new(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1).digest()
    start = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[start:start + 4])[0] & 0x7fffffff) % 1000000:06}"


def secret_of(otpauth_uri):
    return urllib.parse.parse_qs(urllib.parse.urlparse(otpauth_uri).query)["secret"][0]


def present_step():
    return int(time.time()) // STEP_SECONDS


class Officer:
    """One operator by the name of its files: tls/NAME.pem. Made by Deployment.officer()."""

    def __init__(self, hallmark, files):
        self.deployment = hallmark
        self.files = files
        self._plain = None  # (the address, a channel to it that sends no session)

    def _file(self, ending):
        return self.deployment.folder / "secrets" / f"{self.files}.{ending}"

    @property
    def token(self):
        """The session; "" when there is none."""
        path = self._file("session")
        return path.read_text().strip() if path.exists() else ""

    def plain_channel(self):
        """A channel with this operator's certificate that sends no session by itself."""
        address = self.deployment.admin_address
        if not self._plain or self._plain[0] != address:
            channel = self.deployment.channel(address, self.deployment.read(f"tls/{self.files}.pem"),
                                              self.deployment.read(f"tls/{self.files}.key"))
            self._plain = (address, channel)
        return self._plain[1]

    def channel(self):
        """A channel that sends the session, and logs in where it has to."""
        return grpc.intercept_channel(self.plain_channel(), _SessionSender(self))

    def admin(self):
        return admin_pb2_grpc.AdminServiceStub(self.channel())

    def policy(self):
        return policy_pb2_grpc.PolicyServiceStub(self.channel())

    def certificates(self):
        return certificates_pb2_grpc.CertificateServiceStub(self.channel())

    def operators(self):
        return operators_pb2_grpc.OperatorServiceStub(self.channel())

    def ledger(self):
        return ledger_pb2_grpc.LedgerServiceStub(self.channel())

    def appliance(self):
        return appliance_pb2_grpc.ApplianceServiceStub(self.channel())

    def alerts(self):
        return alerts_pb2_grpc.AlertServiceStub(self.channel())

    def rotation(self):
        return rotation_pb2_grpc.RotationServiceStub(self.channel())

    def enrolled(self):
        return self._file("totp").exists()

    def enroll(self):
        """Enrols with the oldest code that is taken, so that the others stay for logins."""
        plain = operators_pb2_grpc.OperatorServiceStub(self.plain_channel())
        secret = secret_of(plain.BeginEnrollment(operators_pb2.BeginEnrollmentRequest()).otpauth_uri)
        self._write("totp", secret)
        self._try_codes(lambda code: plain.FinishEnrollment(operators_pb2.FinishEnrollmentRequest(code=code)))

    def log_in(self):
        plain = operators_pb2_grpc.OperatorServiceStub(self.plain_channel())
        self._try_codes(lambda code: plain.Login(operators_pb2.LoginRequest(code=code)))

    def _try_codes(self, call):
        secret = self._file("totp").read_text().strip()
        tried = present_step() - 2
        while True:
            while tried >= present_step() + 1:
                time.sleep(0.2)
            tried += 1
            try:
                session = call(code_at(secret, tried))
            except grpc.RpcError as error:
                if deployment.error_reason(error) != "LOGIN_REFUSED":
                    raise
                continue
            self._write("session", session.token)
            return

    def _write(self, ending, text):
        path = self._file(ending)
        path.touch(mode=0o600)
        path.write_text(text + "\n")

    def approve(self, approval):
        """Approves by its number. Returns the Approval."""
        return self.operators().Approve(operators_pb2.ApproveRequest(id=approval))


class _SessionSender(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, officer):
        self.officer = officer

    def _with_session(self, details):
        metadata = list(details.metadata or ()) + [("hallmark-session", self.officer.token)]
        return details._replace(metadata=metadata)

    def intercept_unary_unary(self, continuation, client_call_details, request):
        call = continuation(self._with_session(client_call_details), request)
        if call.code() != grpc.StatusCode.UNAUTHENTICATED or deployment.error_reason(call) != "LOGIN_REQUIRED":
            return call
        self.officer.log_in()
        return continuation(self._with_session(client_call_details), request)

    def intercept_unary_stream(self, continuation, client_call_details, request):
        # A stream says only at its end that a login is missing.
        self.officer.operators().WhoAmI(operators_pb2.WhoAmIRequest())
        return continuation(self._with_session(client_call_details), request)
