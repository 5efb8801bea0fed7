"""The MTA's side of the milter protocol, versions 2 to 6, as Sendmail (libmilter/mfdef.h) and Postfix speak it.

    with MilterConnection("inet:127.0.0.1:8891") as mta:
        mta.negotiate()
        answer = mta.submit(Mail(message, macros={MAIL: {"{auth_authen}": "alice"}}))
        answer.verdict, answer.message

Stricter than an MTA: what a filter must not say is a ProtocolError. Octets may also be written by hand, wrong ones too.
"""

import dataclasses
import fcntl
import socket
import struct
import termios
import time

# SMFIC_: commands.
CONNECT, HELO, MAIL, RCPT, DATA, HEADER, EOH, BODY, EOM = b"C", b"H", b"M", b"R", b"T", b"L", b"N", b"B", b"E"
NEGOTIATE, MACRO, ABORT, QUIT, QUIT_NC, UNKNOWN = b"O", b"D", b"A", b"Q", b"K", b"U"
# SMFIR_: answers that end a command, then those that may come before at the end of the message.
CONTINUE, ACCEPT, DISCARD, REJECT, TEMPFAIL, REPLYCODE, SKIP = b"c", b"a", b"d", b"r", b"t", b"y", b"s"
PROGRESS, ADD_HEADER, INSERT_HEADER, SHUTDOWN, CONNECTION_FAILS = b"p", b"h", b"i", b"4", b"f"
# SMFIF_: what the filter may do.
ADDS_HEADERS, CHANGES_HEADERS, SETS_MACROS, ALL_ACTIONS = 0x01, 0x10, 0x100, 0x1ff
# SMFIP_: for each command the flag with which a filter declines it, and the one with which it declines to answer it.
DECLINED = {CONNECT: 0x01, HELO: 0x02, MAIL: 0x04, RCPT: 0x08, BODY: 0x10, HEADER: 0x20, EOH: 0x40, UNKNOWN: 0x100, DATA: 0x200}
UNANSWERED = {HEADER: 0x80, CONNECT: 0x1000, HELO: 0x2000, MAIL: 0x4000, RCPT: 0x8000, DATA: 0x10000, UNKNOWN: 0x20000,
              EOH: 0x40000, BODY: 0x80000}
KNOWS_SKIP, REJECTED_RECIPIENTS, LEADING_SPACE = 0x400, 0x800, 0x100000
ALL_STEPS = 0x1fffff
# What each version of an MTA has: (actions, steps).
OFFERS = {2: (0x3f, 0x7f), 3: (0x3f, 0x17f), 4: (0x3f, 0x37f), 6: (ALL_ACTIONS, ALL_STEPS)}
# SMFIM_: the number of a command where a filter asks for macros.
STAGES = {CONNECT: 0, HELO: 1, MAIL: 2, RCPT: 3, DATA: 4, EOM: 5, EOH: 6}

LARGEST_CHUNK = 65535
TRACE = (b"Received", b" from client.example (localhost [127.0.0.1])\n\tby relay.example with ESMTPSA")


class ProtocolError(Exception):
    """The filter says what it must not say."""


class FilterClosed(Exception):
    """The filter has closed the connection."""


@dataclasses.dataclass
class Mail:
    """One message with its envelope, and what the MTA knows: macros by command. What is None is not said at all."""
    message: bytes
    sender: bytes = b"<alice@example.com>"
    recipients: tuple = (b"<bob@example.org>",)
    macros: dict = dataclasses.field(default_factory=dict)
    client: tuple = ("4", "127.0.0.1")
    chunk: int = LARGEST_CHUNK
    last_chunk_with_end: bool = False  # the end of the message carries octets of the body, as Postfix does it


@dataclasses.dataclass
class Answer:
    """What became of a message: the last answer, after which command it came, and the message as it would go on."""
    verdict: bytes
    command: bytes
    text: str = ""
    message: bytes = b""
    inserted: list = dataclasses.field(default_factory=list)


def packet(command, payload=b""):
    return struct.pack("!I", len(payload) + 1) + command + payload


def strings(*values):
    return b"".join(value + b"\0" for value in values)


def split(message):
    """([(name, value)], body) of a message. Values have LF where they are folded, and their leading space."""
    header, _, body = message.partition(b"\r\n\r\n")
    fields = []
    for line in filter(None, header.removesuffix(b"\r\n").split(b"\r\n")):
        if line[:1] in b" \t":
            fields[-1] = (fields[-1][0], fields[-1][1] + b"\n" + line)
        else:
            name, _, value = line.partition(b":")
            fields.append((name, value))
    return fields, body


def join(fields, body):
    return b"".join(name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n" for name, value in fields) + b"\r\n" + body


def insert(fields, changes, leading_space):
    """The fields after a filter's changes, in the order it made them. Index 0 is above all others, the MTA's own too."""
    fields = list(fields)
    for index, name, value in changes:
        if not name or any(octet <= 32 or octet >= 127 or octet == 58 for octet in name):
            raise ProtocolError(f"no name of a header field: {name!r}")
        if b"\r" in value or any(line[:1] not in (b" ", b"\t") or not line.strip() for line in value.split(b"\n")[1:]):
            raise ProtocolError(f"a field is folded by LF and white space: {value!r}")
        fields.insert(len(fields) if index is None else index, (name, value if leading_space else b" " + value))
    return fields


class MilterConnection:
    """One connection to a filter: "inet:HOST:PORT" or "unix:PATH". Not for use by several threads."""

    def __init__(self, address, timeout=60):
        kind, _, place = address.partition(":")
        if kind == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            try:
                self.socket.connect(place)
            except OSError:
                self.socket.close()
                raise
        else:
            host, _, port = place.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = self.socket.makefile("rb")
        self.version = self.actions = self.steps = 0
        self.asked = {}  # macros by stage, where the filter asks for some

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._input.close()
        self.socket.close()

    # Octets and packets.

    def write(self, octets):
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            raise FilterClosed from None

    def write_in_pieces(self, pieces):
        """Writes each piece when the filter has read the one before. For Unix sockets, whose queue counts what is not read."""
        for piece in pieces:
            self.write(piece)
            deadline = time.monotonic() + 30
            while struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]:
                if time.monotonic() > deadline:
                    raise TimeoutError("the filter does not read")

    def read(self):
        """The next answer: (code, payload)."""
        try:
            head = self._input.read(5)
            if len(head) < 5:
                raise FilterClosed
            payload = self._input.read(struct.unpack("!I", head[:4])[0] - 1)
        except ConnectionResetError:
            raise FilterClosed from None
        return head[4:], payload

    def closed(self):
        """Whether the filter closes the connection; waits for that or for an answer."""
        try:
            self.read()
        except FilterClosed:
            return True
        return False

    # What was negotiated.

    def negotiate(self, version=6, actions=None, steps=None):
        """Offers what an MTA of the version has, or the given bits."""
        offered = OFFERS.get(version, OFFERS[6])
        actions, steps = offered[0] if actions is None else actions, offered[1] if steps is None else steps
        self.write(packet(NEGOTIATE, struct.pack("!III", version, actions, steps)))
        code, payload = self.read()
        if code != NEGOTIATE or len(payload) < 12:
            raise ProtocolError(f"the negotiation is answered with {code!r} {payload!r}")
        self.version, self.actions, self.steps = struct.unpack("!III", payload[:12])
        if not 2 <= self.version <= version or self.actions & ~actions or self.steps & ~steps:
            raise ProtocolError(f"not offered: version {self.version}, actions {self.actions:#x}, steps {self.steps:#x}")
        self.asked = {}
        rest = payload[12:]
        if rest and not self.actions & SETS_MACROS:
            raise ProtocolError("a list of macros without SMFIF_SETSYMLIST")
        while rest:
            stage, (names, end, rest) = struct.unpack("!I", rest[:4])[0], rest[4:].partition(b"\0")
            if not end or stage not in STAGES.values():
                raise ProtocolError(f"a list of macros for stage {stage}: {names!r}")
            self.asked[stage] = names.decode().split()

    def wants(self, command):
        return not self.steps & DECLINED.get(command, 0)

    def answers(self, command):
        """Whether the command is answered at all."""
        return command not in (MACRO, ABORT, QUIT, QUIT_NC) and not self.steps & UNANSWERED.get(command, 0)

    def macros(self, command, values):
        """The packet that defines a command's macros: those that the filter asked for. An MTA sends it also where the filter
        declined the command."""
        asked = self.asked.get(STAGES.get(command))
        chosen = {name: value for name, value in values.items() if asked is None or name in asked or f"{{{name}}}" in asked}
        return MACRO, command + strings(*(text.encode() for pair in chosen.items() for text in pair))

    # A conversation.

    def commands(self, mail, connect=True):
        """[(command, payload)] of a message from CONNECT to EOM, or from MAIL on: what an MTA sends after this negotiation."""
        fields, body = split(mail.message)
        if not self.steps & LEADING_SPACE:
            fields = [(name, value.removeprefix(b" ")) for name, value in fields]
        chunks = [body[at:at + mail.chunk] for at in range(0, len(body), mail.chunk)]
        last = chunks.pop() if mail.last_chunk_with_end and chunks else b""
        steps = []
        if connect:
            family, address = mail.client
            place = struct.pack("!H", 40000) + strings(address.encode()) if family != "U" else b""
            steps += [(CONNECT, strings(b"client.example") + family.encode() + place), (HELO, strings(b"client.example"))]
        steps += [] if mail.sender is None else [(MAIL, strings(mail.sender, b"SIZE=%d" % len(mail.message)))]
        steps += [(RCPT, strings(recipient)) for recipient in mail.recipients] + [(DATA, b"")]
        steps += [(HEADER, strings(*field)) for field in fields] + [(EOH, b"")] + [(BODY, chunk) for chunk in chunks]
        steps.append((EOM, last))
        said = []
        for command, payload in steps:
            if command in mail.macros:
                said.append(self.macros(command, mail.macros[command]))
            if self.wants(command):
                said.append((command, payload))
        return said

    def say(self, command, payload=b""):
        """Sends one command. Gives its answer, None where there is none."""
        self.write(packet(command, payload))
        return self.answer(command) if self.answers(command) else None

    def answer(self, command):
        """The answer to a command other than EOM: (code, payload)."""
        code, payload = self.read()
        if code not in (CONTINUE, ACCEPT, DISCARD, REJECT, TEMPFAIL, REPLYCODE, SKIP):
            raise ProtocolError(f"{command!r} is answered with {code!r}")
        if code == SKIP and (command != BODY or not self.steps & KNOWS_SKIP):
            raise ProtocolError(f"skip after {command!r}")
        if code != REPLYCODE and payload:
            raise ProtocolError(f"{code!r} with {payload!r}")
        return code, payload

    def submit(self, mail, connect=True):
        """Sends a message one command after the other, as far as the filter wants it."""
        skipped = False
        for command, payload in self.commands(mail, connect):
            if command == EOM:
                self.write(packet(command, payload))
                return self.end(mail)
            if skipped and command == BODY:
                continue
            code, text = self.say(command, payload) or (CONTINUE, b"")
            skipped = skipped or code == SKIP
            if code not in (CONTINUE, SKIP):
                return Answer(code, command, reply_text(text), mail.message)
        raise AssertionError("no end of the message")

    def submit_octets(self, mail, pieces, connect=True):
        """Sends a message in the pieces that `pieces` makes of its octets, and reads the answers only then."""
        commands = self.commands(mail, connect)
        octets = b"".join(packet(*command) for command in commands)
        self.write_in_pieces(pieces(octets))
        for command, _ in commands[:-1]:
            if self.answers(command) and self.answer(command)[0] not in (CONTINUE, SKIP):
                raise AssertionError(f"{command!r} was to be answered with continue")
        return self.end(mail)

    def end(self, mail):
        """What the filter says at the end of a message, carried out."""
        code, text, changes = self.changes()
        fields, body = split(mail.message)
        fields = insert([TRACE, *fields], changes, self.steps & LEADING_SPACE)
        return Answer(code, EOM, text, join(fields, body), changes)

    def changes(self):
        """What the filter says at the end of a message: (code, text of the reply, [(index or None, name, value)])."""
        changes = []
        while True:
            code, payload = self.read()
            if code == PROGRESS:
                continue
            if code in (INSERT_HEADER, ADD_HEADER):
                if not self.actions & ADDS_HEADERS:
                    raise ProtocolError("a header field, which the filter may not add")
                index = struct.unpack("!I", payload[:4])[0] if code == INSERT_HEADER else None
                parts = payload[4 if code == INSERT_HEADER else 0:].split(b"\0")
                if len(parts) != 3 or parts[2]:
                    raise ProtocolError(f"no header field: {payload!r}")
                changes.append((index, parts[0], parts[1]))
            elif code in (CONTINUE, ACCEPT, DISCARD, REJECT, TEMPFAIL, REPLYCODE):
                return code, reply_text(payload), changes
            else:
                raise ProtocolError(f"the end of a message is answered with {code!r}")


def reply_text(payload):
    """The text of an answer with a reply code, which must be good SMTP: "451 4.7.1 Text" (RFC 5321 section 4.2)."""
    if not payload:
        return ""
    text = payload[:-1].decode()
    code, _, rest = text.partition(" ")
    if payload[-1] or not (len(code) == 3 and code.isdigit() and code[0] in "45") or not rest.startswith(f"{code[0]}."):
        raise ProtocolError(f"no SMTP reply: {payload!r}")
    if not rest.isprintable() or not rest.isascii() or len(text) > 510 or "%" in text:
        raise ProtocolError(f"no text of an SMTP reply: {payload!r}")
    return text
