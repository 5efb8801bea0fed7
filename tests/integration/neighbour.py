"""A relay that minds its own business: signs one message after another in a process of its own, until it is told to stop, and
then says what became of them.

    with Neighbour(deployment) as neighbour:
        ... what must not disturb it ...
    neighbour.report    # {"signed": 812, "failed": 0, "errors": [], "p50_ms": 1.2, "p99_ms": 3.4, "max_ms": 8.1}
"""

import json
import os
import subprocess
import sys

PAUSE = 0.01  # between an answer and the next message
DEADLINE, DEADLINE_SANITIZED = 30, 120
MOST_ERRORS_TOLD = 5


class Neighbour:
    """Signs from the moment on that it is entered; its first message is signed by then."""

    def __init__(self, hallmark):
        self._hallmark = hallmark
        self._process = None
        self.report = None

    def __enter__(self):
        import deployment  # not in the process that signs: it needs none
        hallmark = self._hallmark
        self._deadline = DEADLINE_SANITIZED if deployment.sanitized() else DEADLINE
        self._process = subprocess.Popen(
            ["/usr/bin/python3", "-B", __file__, hallmark.signing_address, hallmark.folder / "tls", str(self._deadline)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, preexec_fn=deployment.die_with_parent, env={**os.environ})
        if self._process.stdout.readline() != "signed\n":
            raise AssertionError("the neighbour could not sign its first message")
        return self

    def __exit__(self, *_):
        out, _ = self._process.communicate(timeout=2 * self._deadline)
        self.report = json.loads(out)


def _sign_until_told(address, folder, deadline):
    import pathlib
    import select
    import time

    import grpc

    import messages
    from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc

    read = {name: (pathlib.Path(folder) / name).read_bytes() for name in ("server-ca.pem", "relay1.key", "relay1.pem")}
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(*read.values()), options=[
        ("grpc.ssl_target_name_override", "localhost")])
    sign = signing_pb2_grpc.SigningServiceStub(channel).Sign
    request = signing_pb2.SignRequest(message=messages.MESSAGE)
    sign(request, timeout=float(deadline))
    print("signed", flush=True)
    times, errors, told = [], [], False
    while not told:  # the last one comes after all that was to disturb it
        told = bool(select.select([sys.stdin], [], [], PAUSE)[0])
        begin = time.monotonic()
        try:
            sign(request, timeout=float(deadline))
            times.append((time.monotonic() - begin) * 1000)
        except grpc.RpcError as error:
            errors.append(f"{error.code().name}: {error.details()}")
    times.sort()
    quantile = {f"p{percent}_ms": round(times[len(times) * percent // 100], 1) for percent in (50, 99)} if times else {}
    print(json.dumps({"signed": len(times), "failed": len(errors), "errors": errors[:MOST_ERRORS_TOLD], **quantile,
                      "max_ms": round(times[-1], 1) if times else None}))


if __name__ == "__main__":
    _sign_until_told(*sys.argv[1:])
