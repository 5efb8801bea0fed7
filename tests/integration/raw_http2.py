"""A client of HTTP/2 over TLS whose frames are made by hand, right or wrong: what no library would send.

    with RawHttp2(address, server_ca, certificate) as peer:
        peer.greet()
        peer.send(peer.call_headers(1, "/hallmark.signing.v1.SigningService/Sign"))
        kinds = [frame.kind for frame in peer.frames(seconds=1)]

It answers nothing by itself, no SETTINGS and no PING.
"""

import collections
import select
import socket
import ssl
import struct
import tempfile
import time

import hpack

# RFC 9113, 6: frame types, and the flags that are used here.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
# 6.5.2: settings, and 7: error codes.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
CANCEL, ENHANCE_YOUR_CALM = 8, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Frame = collections.namedtuple("Frame", "kind flags stream payload")


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """The octets of a frame; `length` is written instead of the payload's own."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    """A SETTINGS frame: settings(INITIAL_WINDOW_SIZE=0)."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", globals()[name], value) for name, value in values.items()))


def grpc_message(octets, length=None):
    """A gRPC message as DATA carries it; `length` is announced instead of its own."""
    return struct.pack(">BI", 0, len(octets) if length is None else length) + octets


def tls_context(server_ca, certificate=None):
    """What connects as a relay does; `certificate`: PEM octets of certificate and key. The server's name is not looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=server_ca.decode())
    context.set_alpn_protocols(["h2"])
    if certificate:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"".join(certificate))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def connect(address, source=""):
    """A TCP connection to "host:port", from the address `source` of this machine."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), 20, (source, 0) if source else None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ready(connection, events, seconds):
    """Which of poll's events come in time; select() knows no file descriptors over 1023."""
    poll = select.poll()
    poll.register(connection, events)
    return sum(event for _, event in poll.poll(1000 * seconds))


def closed_by_peer(connection, seconds):
    """Whether the server ends this plain connection in time; what it sends before is thrown away."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not ready(connection, select.POLLIN, left):
            return False
        try:
            if not connection.recv(1 << 16):
                return True
        except OSError:
            return True
    return False


class RawHttp2:
    """One connection, after its handshake. Raises ConnectionError or ssl.SSLError where the server ends it."""

    def __init__(self, address, context, source="", session=None):
        """`session`: the TLS session of another connection, to be resumed."""
        self._tls = context.wrap_socket(connect(address, source), server_hostname="localhost", session=session)
        self._tls.setblocking(False)
        self._received = bytearray()
        self._frames = collections.deque()  # whole, and not taken yet
        self._encoder = hpack.Encoder()
        self.ended = False  # the server closed the connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._tls.close()

    @property
    def session(self):
        """What another connection can resume; once something was read."""
        return self._tls.session

    @property
    def resumed(self):
        return self._tls.session_reused

    def greet(self, **values):
        self.send(PREFACE + settings(**values))

    def call_headers(self, stream, path, end_stream=False, more=()):
        """The HEADERS of a gRPC call."""
        block = self._encoder.encode([(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "localhost"),
                                      ("content-type", "application/grpc"), ("te", "trailers"), *more])
        return frame(HEADERS, END_HEADERS | (END_STREAM if end_stream else 0), stream, block)

    def send(self, octets, seconds=120, reading=True):
        """Sends all of it, and reads meanwhile unless told not to, so that neither side waits for the other. False where the
        server ended the connection first, or (not reading) took nothing more for a second."""
        deadline, waiting = time.monotonic() + seconds, memoryview(octets)
        while waiting:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(waiting)} octets could not be sent within {seconds} s")
            if reading:
                self._read()
            if self.ended:
                return False
            try:
                waiting = waiting[self._tls.send(waiting):]
            except ssl.SSLWantWriteError:
                if not ready(self._tls, select.POLLOUT | (select.POLLIN if reading else 0), 1) & ~select.POLLIN and not reading:
                    return False
            except ssl.SSLWantReadError:
                ready(self._tls, select.POLLIN, 1)
            except (ssl.SSLError, OSError):
                self.ended = True
        return True

    def _read(self):
        while not self.ended:
            try:
                octets = self._tls.recv(1 << 18)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except (ssl.SSLError, OSError):
                octets = b""
            self.ended = not octets
            self._received += octets

    def _cut(self):
        self._read()
        at = 0
        while len(self._received) - at >= 9:
            size = int.from_bytes(self._received[at:at + 3], "big")
            if len(self._received) - at - 9 < size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", self._received, at + 3)
            self._frames.append(Frame(kind, flags, stream & 0x7fffffff, bytes(self._received[at + 9:at + 9 + size])))
            at += 9 + size
        del self._received[:at]

    def take(self):
        """The whole frames that have come."""
        self._cut()
        taken, self._frames = list(self._frames), collections.deque()
        return taken

    def wait_for(self, wanted, seconds=60):
        """The frames up to the first for which wanted(frame); fails when the connection or the time ends before."""
        deadline, seen = time.monotonic() + seconds, []
        while True:
            self._cut()
            while self._frames:
                seen.append(self._frames.popleft())
                if wanted(seen[-1]):
                    return seen
            if self.ended or time.monotonic() > deadline:
                raise AssertionError(f"not there: {'the connection ended' if self.ended else f'waited {seconds} s'}; "
                                     f"the last frames: {seen[-5:]}")
            ready(self._tls, select.POLLIN, 0.5)

    def settle(self, seconds=60):
        """Waits until the server has read all that was sent (it answers a PING), or has ended the connection. What came
        meanwhile."""
        mark, deadline, seen = b"settled?", time.monotonic() + seconds, []
        self.send(frame(PING, payload=mark))
        while not self.ended:
            seen += self.take()
            if any(one.kind == PING and one.flags & ACK and one.payload == mark for one in seen):
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"the server answers no PING within {seconds} s; the last frames: {seen[-5:]}")
            ready(self._tls, select.POLLIN, 0.5)
        return seen

    def wait_for_end(self, seconds=60):
        """What came until the server closed the connection; fails when it does not in time."""
        deadline, seen = time.monotonic() + seconds, []
        while not self.ended:
            if time.monotonic() > deadline:
                raise AssertionError(f"the server still holds the connection after {seconds} s; its last frames: {seen[-5:]}")
            ready(self._tls, select.POLLIN, 0.5)
            seen += self.take()
        return seen


def error_of(goaway):
    """The error code of a GOAWAY frame."""
    return struct.unpack_from(">I", goaway.payload, 4)[0]
