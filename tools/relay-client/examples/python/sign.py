#!/usr/bin/python3
"""Signs one message at Hallmark: standard input to standard output.

    sign.py signer1.example.com:8461 server-ca.pem relay.pem relay.key < message.eml > signed.eml

Needs python3-grpcio, and beside it the classes that Debian's protobuf-compiler-grpc makes of Hallmark's folder proto; installed, that is
/usr/share/hallmark/proto:

    protoc -I proto --python_out=. --grpc_python_out=. --plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin \\
        hallmark/signing/v1/signing.proto google/rpc/status.proto google/rpc/error_details.proto
"""

import sys
import time
import uuid

import grpc

from google.rpc import error_details_pb2, status_pb2
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc

LARGE = 1 << 16  # From here on a message travels in chunks: a server may be configured so that Sign takes no more.
CHUNK = 256 << 10
SECONDS = 20  # for everything, with all that is tried again

# What a relay answers with 550, where Hallmark gives a reason other than these, which tell of trouble of the signer's or with this
# relay's certificate; all else that fails is 451.
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION)
SIGNERS_TROUBLE = ("CALLER_UNKNOWN", "CERTIFICATE_REVOKED", "NO_ACTIVE_KEY", "KEY_MISSING", "KEY_MISMATCH", "TOKEN_REFUSED")


def connect(server, ca, certificate, private_key, server_name=""):
    """A stub. Keep it: it holds the connection, and any thread may use it. The name is what the server's certificate says, where that
    is not its host."""
    def read(path):
        with open(path, "rb") as file:
            return file.read()

    credentials = grpc.ssl_channel_credentials(read(ca), read(private_key), read(certificate))
    options = [("grpc.enable_retries", 0)]  # sign() does that
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return signing_pb2_grpc.SigningServiceStub(grpc.secure_channel(server, credentials, options))


def chunks(message, options):
    """What SignLarge is sent: the options in the first chunk only."""
    for at in range(0, len(message), CHUNK):
        yield signing_pb2.MessageChunk(data=message[at:at + CHUNK], options=options if at == 0 else None)


def details(error):
    """The reason that a program goes by ("DOMAIN_NOT_ALLOWED"), and after how many seconds to try again."""
    reason, wait = "", 0.2
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason if info.domain == "hallmark" else reason
        elif detail.Unpack(retry):
            wait = retry.retry_delay.ToMilliseconds() / 1000
    return reason, wait


def refused(error):
    """Whether it is the message that is refused, so that no try helps."""
    reason = details(error)[0]
    return error.code() in REFUSED and reason != "" and reason not in SIGNERS_TROUBLE


def sign(stub, message, sender="", recipients=()):
    """The header fields to put before the message, and the warnings: what a later hop may do to it that breaks the signature. Raises
    grpc.RpcError."""
    # One id for all tries: should an answer be lost, the next try gets it again, and nothing is signed or counted twice.
    options = signing_pb2.SignOptions(envelope_sender=sender, envelope_recipients=recipients, request_id=str(uuid.uuid4()))
    end = time.monotonic() + SECONDS
    while True:
        left = end - time.monotonic()
        try:
            if len(message) < LARGE:
                answer = stub.Sign(signing_pb2.SignRequest(message=message, options=options), timeout=left)
            else:
                answer = stub.SignLarge(chunks(message, options), timeout=left)
            return b"".join(signature.header_field for signature in answer.signatures), answer.warnings
        except grpc.RpcError as error:
            # The only code that is worth another try as it stands.
            wait = details(error)[1]
            if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() + wait >= end:
                raise
            time.sleep(wait)


def main():
    if len(sys.argv) not in (5, 6):
        sys.exit("usage: sign.py SERVER CA CERTIFICATE PRIVATE-KEY [SERVER-NAME] < message > signed")
    stub = connect(*sys.argv[1:])
    message = sys.stdin.buffer.read()
    try:
        fields, warnings = sign(stub, message, sender="alice@example.com", recipients=["bob@example.org"])
    except grpc.RpcError as error:
        print(f"{details(error)[0] or error.code().name}: {error.details()}", file=sys.stderr)
        sys.exit(77 if refused(error) else 75)
    for warning in warnings:
        print(f"warning: {warning.code}: {warning.message}", file=sys.stderr)
    sys.stdout.buffer.write(fields + message)  # unchanged, before the first field


if __name__ == "__main__":
    main()
