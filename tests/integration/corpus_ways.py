"""The corpus by the other ways that take a whole message: all on one SignStream, and each by SignLarge in chunks of several sizes."""

import uuid

import grpc

import corpus_run
import deployment
import messages

from google.rpc import error_details_pb2
from hallmark.signing.v1 import signing_pb2

SHORT = 2000  # octets at most of what is uploaded one by one
CHUNKS = (1, 7, 65536)


def by_stream(stub, found):
    """{path: (SignResponse, "") or (None, reason)}."""
    paths = {str(uuid.uuid4()): path for path in found}
    requests = [signing_pb2.SignRequest(message=found[path], options=signing_pb2.SignOptions(request_id=name))
                for name, path in paths.items()]
    answers = {}
    for answer in stub.SignStream(iter(requests), timeout=300):
        path = paths.pop(answer.request_id)
        if answer.HasField("response"):
            answers[path] = answer.response, ""
        else:
            answers[path] = None, deployment.status_detail(answer.error, error_details_pb2.ErrorInfo()).reason
    return answers


def by_chunks(stub, message, size):
    """(SignResponse, "") or (None, reason)."""
    pieces = (signing_pb2.MessageChunk(data=message[at:at + size]) for at in range(0, len(message), size))
    try:
        return stub.SignLarge(pieces, timeout=300), ""
    except grpc.RpcError as error:
        return None, deployment.error_reason(error) or f"{error.code().name}: {error.details()}"


class Ways:
    """Signs again what a corpus_run.Run has signed by Sign, and compares: `mistakes` are sentences on what is another answer. What is
    signed is in `folder`, and of which message in `files`."""

    def __init__(self, hallmark, found, run, pair):
        self.mistakes, self.files, self.folder = [], {}, run.folder / "ways" / pair.replace("/", "-")
        self._found, self._run, self._pair = found, run, pair
        self.folder.mkdir(parents=True)
        run.signer.use_pair(pair)
        stub = hallmark.signing()
        answers = by_stream(stub, found)
        if answers.keys() != found.keys():
            self.mistakes.append(f"SignStream: no answer to {sorted(found.keys() - answers.keys())}")
        for path, answer in answers.items():
            self._take("SignStream", path, *answer)
        for size in CHUNKS:
            for path, message in found.items():
                if size > 1 or len(message) <= SHORT:
                    self._take(f"SignLarge by {size}", path, *by_chunks(stub, message, size))

    def _take(self, way, path, response, reason):
        where = f"{path}: {self._pair}, {way}"
        if reason != self._run.refused.get(path, ""):
            self.mistakes.append(f"{where}: refused for {reason or 'nothing'}; Sign: {self._run.refused.get(path, 'nothing')}")
        if response is None or reason:
            return
        made = messages.signed(self._found[path], response)
        by_sign = (self._run.signed_folder(self._pair) / self._run.file_of(path)).read_bytes()
        ours, theirs = ([{name: value for name, value in tags.items() if name not in ("b", "t", "x")}
                         for tags in corpus_run.our_signatures(octets)] for octets in (made, by_sign))
        if ours != theirs:  # the body hash, and what is covered with which keys
            self.mistakes.append(f"{where}: {ours}; Sign: {theirs}")
        file = f"{way.replace(' ', '-')}-{self._run.file_of(path)}"
        (self.folder / file).write_bytes(made)
        self.files[file] = path
