"""The MTA's side of the milter protocol, version 6: just enough to have messages signed.

A connection stands for one SMTP client that sends many messages: it negotiates, says CONNECT and HELO once, and then hands
over message after message. As an MTA does, it leaves out the steps that the filter does not want, and waits for no answer
where the filter promised none.
"""

import socket
import struct

from errors import PeerError

VERSION = 6
ADD_HEADERS, CHANGE_HEADERS = 0x01, 0x10  # SMFIF_: what the filter may do to a message
LARGEST_CHUNK = 65535

# SMFIP_: for each command the flag with which a filter declines it, and the one with which it declines to answer it.
DECLINED = {b"C": 0x01, b"H": 0x02, b"M": 0x04, b"R": 0x08, b"T": 0x200, b"L": 0x20, b"N": 0x40, b"B": 0x10}
UNANSWERED = {b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000, b"L": 0x80, b"N": 0x40000, b"B": 0x80000}
OFFERED = sum(DECLINED.values()) | sum(UNANSWERED.values())

# SMFIR_
CONTINUE, ACCEPT, PROGRESS = b"c", b"a", b"p"
ADD_HEADER, INSERT_HEADER = b"h", b"i"


def packet(command, payload=b""):
    return struct.pack("!I", len(payload) + 1) + command + payload


def strings(*values):
    return b"".join(value + b"\0" for value in values)


def split(message):
    """([(name, value)], body) of a message. Values lose one space at their start, as from an MTA, and keep their folds."""
    header, body = message.split(b"\r\n\r\n", 1)
    fields = []
    for line in header.split(b"\r\n"):
        if line[:1] in b" \t":
            fields[-1][1] += b"\n" + line
        else:
            name, value = line.split(b":", 1)
            fields.append([name, value.removeprefix(b" ")])
    return fields, body


class MilterConnection:
    """One connection to a milter. Not for use by several threads."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._input = self._socket.makefile("rb")
        self._flags = self._negotiate()
        self._send([(b"C", strings(b"localhost") + b"4" + struct.pack("!H", 25) + strings(b"127.0.0.1")),
                    (b"H", strings(b"localhost"))])

    def close(self):
        self._socket.sendall(packet(b"Q"))
        self._input.close()
        self._socket.close()

    def prepare(self, message):
        """The message as sign() takes it. What a real MTA would have at hand anyway is made outside the measured time."""
        fields, body = split(message)
        commands = [(b"M", strings(b"<joe@example.com>")), (b"R", strings(b"<suzie@shopping.example.net>")), (b"T", b"")]
        commands += [(b"L", strings(name, value)) for name, value in fields]
        commands.append((b"N", b""))
        commands += [(b"B", body[at:at + LARGEST_CHUNK]) for at in range(0, len(body), LARGEST_CHUNK)]
        return [command for command in commands if not self._flags & DECLINED[command[0]]]

    def sign(self, prepared):
        """The DKIM-Signature field that the filter adds to a message, with CRLF."""
        self._send(prepared)
        self._socket.sendall(packet(b"E"))
        signature = None
        while True:
            answer, payload = self._receive()
            if answer == INSERT_HEADER:
                payload = payload[4:]  # the place in the header
            if answer in (INSERT_HEADER, ADD_HEADER):
                name, value = payload.split(b"\0")[:2]
                if name.lower() == b"dkim-signature":
                    signature = name + b": " + value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
            elif answer in (CONTINUE, ACCEPT):
                break
        if signature is None:
            raise PeerError("the milter added no DKIM-Signature; its log says why")
        return signature

    def _negotiate(self):
        self._socket.sendall(packet(b"O", struct.pack("!III", VERSION, ADD_HEADERS | CHANGE_HEADERS, OFFERED)))
        answer, payload = self._receive()
        if answer != b"O":
            raise PeerError(f"the milter answers the negotiation with {answer!r}; speak version 6 to it")
        return struct.unpack("!III", payload[:12])[2]

    def _send(self, commands):
        for command, payload in commands:
            if self._flags & DECLINED[command]:
                continue
            self._socket.sendall(packet(command, payload))
            if not self._flags & UNANSWERED[command]:
                answer, _ = self._receive()
                if answer != CONTINUE:
                    raise PeerError(f"the milter answers {command!r} with {answer!r}, not with continue; its log says why")

    def _receive(self):
        while True:
            head = self._input.read(5)
            if len(head) < 5:
                raise PeerError("the milter closed the connection; its log says why")
            payload = self._input.read(struct.unpack("!I", head[:4])[0] - 1)
            if head[4:] != PROGRESS:
                return head[4:], payload
