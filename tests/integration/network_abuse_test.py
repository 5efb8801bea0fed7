"""Hostile peers on the network: memory stays bounded, and whoever else is there does not notice.

Each test is beside a relay of good will (neighbour.py), none of whose messages may fail or take long, and looks at the daemon's memory
at its highest. The hostile peer has a certificate of its own; without one there is little that
it can do. By default the numbers are small enough for every run of the tests; `network_abuse_test.py --full` has the large ones
(a million streams).
"""

import contextlib
import os
import pathlib
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
import warnings

import deployment
import messages
import metrics_test
import pki
import raw_http2
from neighbour import Neighbour
from raw_http2 import frame, grpc_message
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2

FULL = "--full" in sys.argv
SERVICE = "/hallmark.signing.v1.SigningService/"
SIGN, SIGN_LARGE, SIGN_STREAM = (SERVICE + name for name in ("Sign", "SignLarge", "SignStream"))
MIB = 1 << 20
# What listener.cc promises: handshakes end in time, silent peers are found, and connections hold no more than this together: the
# guard ends the busiest at half of it.
HANDSHAKE_SECONDS, SILENT_SECONDS, QUOTA = 20, 80, 768 * MIB
GRACE = 40  # seconds beside it, for a busy machine
SMALL = 192 * MIB  # what a flood may take that is no more than its octets on their way
SANITIZED = deployment.sanitized()
# Of the neighbour's messages, in seconds: far beyond what they take (docs/reliability.md), so that any machine keeps to it.
MOST_P99, MOST_AT_ALL = 5, 25
# Two new connections with a call each, in seconds: some tenths beside a flood that is ended soon, three where no connections are taken for a while.
MOST_TO_CONNECT = 15
MOST_FROM_THERE = 120  # as one of those who try, in the moments in which anybody is let in

SIGN_REQUEST = grpc_message(signing_pb2.SignRequest(message=messages.MESSAGE).SerializeToString())
RESET = raw_http2.CANCEL.to_bytes(4, "big")


def scaled(small, full):
    return full if FULL else small


class NetworkAbuseTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = hallmark = deployment.Deployment(start=False)
        cls.addClassCleanup(hallmark.close)
        cls.authority = pki.Authority()
        hallmark.trust(cls.authority.pem)
        # A partner of its own, so that what is signed for it is counted apart.
        hallmark.edit_policy(lambda text: text + '\n[[partner]]\nname = "rude"\nauthor_domains = ["example.com"]\n'
                                                 'signing_domains = ["example.com"]\n\n[[relay]]\nname = "rude"\n'
                                                 'identity = "dns:rude.localdomain"\npartners = ["rude"]\n')
        metrics_test.add_metrics(hallmark)
        hallmark.start()
        hallmark.add_domain("example.com")
        hallmark.stop()

    def setUp(self):
        # Each test has a process of its own: what the allocator keeps of one flood is not to be the next one's.
        self.hallmark.start()
        self.addCleanup(self.hallmark.stop)
        self.hallmark.sign(messages.MESSAGE)
        self.pid = self.hallmark.process.pid
        self.logged_before = len(self.hallmark.log_text())
        self.certificate = self.authority.issue(dns=["rude.localdomain"])
        self.context = self.tls(self.certificate)

    def tls(self, certificate=None):
        return raw_http2.tls_context(self.hallmark.read("tls/server-ca.pem"), certificate)

    def connect(self, **settings):
        """A connection of the hostile peer, greeted."""
        peer = raw_http2.RawHttp2(self.hallmark.signing_address, self.context)
        self.addCleanup(peer.close)
        peer.greet(**settings)
        return peer

    def log(self):
        """What this test's process wrote."""
        return self.hallmark.log_text()[self.logged_before:]

    def status(self, field):
        return int(re.search(rf"^{field}:\s+(\d+) kB", pathlib.Path(f"/proc/{self.pid}/status").read_text(), re.M)[1]) << 10

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @contextlib.contextmanager
    def beside_a_neighbour(self, most, most_p99=MOST_P99):
        """What is done within costs no message of a neighbour, and the daemon no more memory than `most` octets."""
        with Neighbour(self.hallmark) as neighbour:
            pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # VmHWM counts anew
            before, begin = self.status("VmRSS"), time.monotonic()
            yield
            peak, seconds = self.status("VmHWM"), time.monotonic() - begin
        report = neighbour.report
        print(f"\n{self.id().rpartition('.')[2]}: {seconds:.0f} s, memory {before / MIB:.0f} to {peak / MIB:.0f} MiB; the neighbour: "
              f"{report}", file=sys.stderr)
        self.assertTrue(self.hallmark.running(), self.hallmark.log_text()[-2000:])
        self.assertEqual((report["failed"], report["errors"]), (0, []))
        self.assertGreater(report["signed"], 0)
        if not SANITIZED:  # they keep what is freed, and are slow
            self.assertLess((peak - before) / MIB, most / MIB)
            self.assertLess(report["max_ms"], 1000 * MOST_AT_ALL)
            self.assertLess(report["p99_ms"], 1000 * most_p99)

    def assert_nothing_is_left(self):
        admin = self.hallmark.admin()
        wait_for(lambda: admin.GetStatus(admin_pb2.GetStatusRequest()).messages_in_flight == 0,
                 "no message in flight any more")

    # Peers that take their time.

    def test_slow_and_silent_peers(self):
        count, files = scaled(50, 1500), self.open_files()
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # how a ClientHello begins
        with self.beside_a_neighbour(scaled(SMALL, QUOTA)):
            silent = [raw_http2.connect(self.hallmark.signing_address) for _ in range(count)]
            slow = [raw_http2.connect(self.hallmark.signing_address) for _ in range(count)]
            unfinished = [raw_http2.RawHttp2(self.hallmark.signing_address, self.context) for _ in range(count)]
            for peer in unfinished[::2]:
                peer.send(raw_http2.PREFACE[:10])
            begin = time.monotonic()
            waiting = [*silent, *slow]
            while waiting:
                self.assertLess(time.monotonic() - begin, HANDSHAKE_SECONDS + GRACE, f"{len(waiting)} unfinished handshakes are held")
                for connection in slow:
                    if connection in waiting:
                        with contextlib.suppress(OSError):
                            connection.send(hello[int(time.monotonic() - begin) % len(hello):][:1])
                waiting = [one for one in waiting if not raw_http2.closed_by_peer(one, 0.001)]
            for peer in unfinished:
                peer.wait_for_end(HANDSHAKE_SECONDS + GRACE)
            for peer in (*silent, *slow, *unfinished):
                peer.close()
        self.assertLess(self.open_files(), files + 10)

    def test_more_connections_than_there_is_room_for(self):
        """Whoever shows no certificate, and opens connections without end, leaves room for others, and descriptors for all else."""
        self.hallmark.stop()
        room = 1024
        self.hallmark.start(open_files=room)
        self.pid = self.hallmark.process.pid
        self.log_in()
        with self.beside_a_neighbour(SMALL), self.connections_without_end("127.0.0.2", scaled(1500, 15_000)):
            slowest = self.connect_beside_it(scaled(10, 120))
            files = self.open_files()
            self.hallmark.dkimctl("domain", "add", "room.example", "--dry-run")
        self.assertLess(files, room * 3 // 4)
        self.assertIn("127.0.0.2 are refused", self.log())
        if not SANITIZED:
            self.assertLess(slowest, MOST_TO_CONNECT)
        # They are let in again when those are gone.
        wait_for(lambda: self.can_sign(self.context, "127.0.0.2"), "its network to be let in again")

    def test_peers_that_went_without_a_word(self):
        """They finish their handshake, begin calls, and are never heard of again; nothing says that their connection is gone."""
        chunk = grpc_message(signing_pb2.MessageChunk(data=messages.MESSAGE).SerializeToString())
        with self.beside_a_neighbour(SMALL):
            peers = [self.connect() for _ in range(scaled(20, 500))]
            for peer in peers[::2]:
                for stream, (path, body) in enumerate(((SIGN, SIGN_REQUEST[:20]), (SIGN_LARGE, chunk), (SIGN_STREAM, b""))):
                    peer.send(peer.call_headers(2 * stream + 1, path) + frame(raw_http2.DATA, 0, 2 * stream + 1, body))
                peer.send(frame(raw_http2.HEADERS, 0, 7, b"\x83"))  # a header that is never ended
            begin = time.monotonic()
            for peer in peers:
                peer.wait_for_end(max(1, SILENT_SECONDS + GRACE - (time.monotonic() - begin)))
        self.assert_nothing_is_left()

    def test_answers_that_nobody_reads(self):
        # A connection that holds thirty thousand answers is ended by the guard; until then they count.
        with self.beside_a_neighbour(scaled(SMALL, QUOTA)):
            peers = [self.connect(INITIAL_WINDOW_SIZE=0) for _ in range(scaled(3, 30))]
            for peer in peers:
                peer.send(b"".join(peer.call_headers(stream, SIGN) + frame(raw_http2.DATA, raw_http2.END_STREAM, stream, SIGN_REQUEST)
                                   for stream in range(1, 2000, 2)))
            self.assert_nothing_is_left()  # they are signed, or refused, and hold up nobody
            for peer in peers:
                peer.close()

    def test_a_stream_whose_answers_nobody_reads(self):
        """Requests of no octets, each with an error of hundreds for an answer: where answers are not taken no more is read."""
        with self.beside_a_neighbour(SMALL):
            peer, request = self.connect(INITIAL_WINDOW_SIZE=0), grpc_message(b"")
            peer.wait_for(lambda one: one.kind == raw_http2.SETTINGS)
            peer.send(raw_http2.settings() + peer.call_headers(1, SIGN_STREAM))
            part, sent, wanted = request * 3000, 0, scaled(20, 200) * MIB
            windows, moved = {0: 65535, 1: 65535}, time.monotonic()
            while sent < wanted and not peer.ended and time.monotonic() - moved < 10:
                for one in peer.take():
                    if one.kind == raw_http2.WINDOW_UPDATE and one.stream in windows:
                        windows[one.stream] += int.from_bytes(one.payload, "big")
                    elif one.kind == raw_http2.PING and not one.flags:
                        peer.send(frame(raw_http2.PING, raw_http2.ACK, 0, one.payload))
                if min(windows.values()) < len(part):
                    time.sleep(0.01)
                    continue
                peer.send(frame(raw_http2.DATA, 0, 1, part))
                windows = {stream: window - len(part) for stream, window in windows.items()}
                sent, moved = sent + len(part), time.monotonic()
            self.assertFalse(peer.ended, "the guard had to end it")
            self.assertLess(sent, wanted)
            peer.close()
        self.assert_nothing_is_left()

    @unittest.skipIf(SANITIZED, "the memory guard does nothing with a sanitizer's allocator, and the quota ends calls of whoever is there")
    def test_messages_that_are_never_ended(self):
        """Each announces 60 MiB and sends as much as it may, on many streams: far more than the quota altogether. The guard
        ends its connection before gRPC ends calls of whoever is there."""
        with self.beside_a_neighbour(QUOTA + SMALL):
            peer, streams = self.connect(), range(1, 2 * scaled(40, 200), 2)
            peer.wait_for(lambda one: one.kind == raw_http2.SETTINGS)
            peer.send(raw_http2.settings())
            announced = grpc_message(b"", 60 * MIB)
            for stream in streams:
                peer.send(peer.call_headers(stream, SIGN) + frame(raw_http2.DATA, 0, stream, announced))
            windows = {stream: 65535 - len(announced) for stream in (0, *streams)}
            windows[0] = 65535 - len(announced) * len(streams)
            sent, ended, zeros = 0, set(), bytes(16384)
            deadline = time.monotonic() + scaled(60, 600)
            while sent < QUOTA * scaled(1.5, 8) and not peer.ended and time.monotonic() < deadline and len(ended) < len(streams):
                for one in peer.take():
                    if one.kind == raw_http2.WINDOW_UPDATE and one.stream in windows:
                        windows[one.stream] += int.from_bytes(one.payload, "big")
                    elif one.kind == raw_http2.PING and not one.flags:
                        peer.send(frame(raw_http2.PING, raw_http2.ACK, 0, one.payload))
                    elif one.kind == raw_http2.RST_STREAM or (one.kind == raw_http2.HEADERS and one.flags & raw_http2.END_STREAM):
                        ended.add(one.stream)
                moved = 0
                for stream in streams:
                    part = min(windows[stream], windows[0], len(zeros))
                    if stream not in ended and part > 0:
                        peer.send(frame(raw_http2.DATA, 0, stream, zeros[:part]))
                        windows[stream] -= part
                        windows[0] -= part
                        moved += part
                sent += moved
                if not moved:
                    time.sleep(0.01)
            print(f"\n{sent / MIB:.0f} MiB of {len(streams)} messages sent, {len(ended)} of them refused, connection "
                  f"{'ended' if peer.ended else 'held'}", file=sys.stderr)
            self.assertTrue(peer.ended, f"{sent / MIB:.0f} MiB were taken")
            peer.close()
        self.assert_nothing_is_left()

    # Floods.

    def test_many_small_streams(self):
        wanted, batch = scaled(20_000, 1_000_000), 500
        with self.beside_a_neighbour(SMALL):
            peer, stream = self.connect(), 1
            peer.send(frame(raw_http2.SETTINGS, raw_http2.ACK))
            bodies = (b"", grpc_message(b""), grpc_message(b"\xff\xff"), SIGN_REQUEST[:-1])
            while stream < 2 * wanted:
                calls, answered = [], 0
                for _ in range(batch):
                    calls.append(peer.call_headers(stream, SIGN) +
                                 frame(raw_http2.DATA, raw_http2.END_STREAM, stream, bodies[stream // 2 % len(bodies)]))
                    stream += 2
                self.assertTrue(peer.send(b"".join(calls)), "the server ended the connection")
                while answered < batch:
                    answered += sum(one.kind == raw_http2.HEADERS and one.flags & raw_http2.END_STREAM for one in peer.wait_for(
                        lambda one: one.kind == raw_http2.HEADERS))
                peer.send(frame(raw_http2.WINDOW_UPDATE, 0, 0, (batch * 1000).to_bytes(4, "big")))
        self.assert_nothing_is_left()

    def test_more_streams_than_allowed(self):
        """One that agreed to the limit loses its connection; one that never did holds no more than the quota."""
        with self.beside_a_neighbour(QUOTA + SMALL):
            peer = self.connect()
            peer.wait_for(lambda one: one.kind == raw_http2.SETTINGS and not one.flags)
            peer.send(frame(raw_http2.SETTINGS, raw_http2.ACK))
            peer.send(b"".join(peer.call_headers(stream, SIGN) for stream in range(1, 2 * 4096, 2)))
            peer.wait_for_end()
            other, stream = self.connect(), 1
            while stream < 2 * scaled(30_000, 500_000):
                if not other.send(b"".join(other.call_headers(stream + 2 * number, SIGN) for number in range(500))):
                    break
                other.take()
                stream += 1000
            other.settle()
            other.close()
        self.assert_nothing_is_left()

    def test_rapid_reset(self):
        """CVE-2023-44487: calls that are given up as soon as they are made."""
        with self.beside_a_neighbour(QUOTA + SMALL):
            for body in (b"", SIGN_REQUEST):
                peer, stream = self.connect(), 1
                while stream < 2 * scaled(20_000, 100_000):
                    if not peer.send(self.given_up(peer, stream, 200, body)):
                        break
                    stream += 400
                    peer.take()
                peer.settle(scaled(60, 600))
                peer.close()
        self.assert_nothing_is_left()
        # One that was signed before the server had read that it was given up.
        signed = metrics_test.scrape(self.hallmark).get('hallmark_partner_signed_total{partner="rude"}', 0)
        print(f"of {stream // 2} calls {signed:.0f} were signed", file=sys.stderr)
        self.assertLess(signed, stream // 2 // 10)

    @staticmethod
    def given_up(peer, first, count, body):
        """So many calls, from stream `first` on, each given up at once."""
        # From the second on all fields are in HPACK's table: their block is the same, and quicker than encoded anew.
        begin = [peer.call_headers(first, SIGN), peer.call_headers(first + 2, SIGN)]
        begin += [frame(raw_http2.HEADERS, raw_http2.END_HEADERS, stream, begin[1][9:])
                  for stream in range(first + 4, first + 2 * count, 2)]
        rest = [(frame(raw_http2.DATA, 0, stream, body) if body else b"") + frame(raw_http2.RST_STREAM, 0, stream, RESET)
                for stream in range(first, first + 2 * count, 2)]
        return b"".join(octets for call in zip(begin, rest) for octets in call)

    @contextlib.contextmanager
    def flood(self, source, calls=100_000):
        """A rapid reset all the time that this lasts, from a loopback address; on a new connection after so many calls, and wherever
        one is ended or refused."""
        stop, sent = threading.Event(), []

        def run():
            while not stop.is_set():
                with contextlib.suppress(OSError), raw_http2.RawHttp2(self.hallmark.signing_address, self.context, source) as peer:
                    peer.greet()
                    stream = 1
                    while not stop.is_set() and stream < 2 * calls and peer.send(self.given_up(peer, stream, 200, SIGN_REQUEST)):
                        stream += 400
                        sent.append(200)
                        peer.take()

        flooding = threading.Thread(target=run)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # ssl closes late what was reset before the handshake
            flooding.start()
            try:
                wait_for(lambda: sum(sent) > 2000, "the flood")
                yield flooding
            finally:
                stop.set()
                flooding.join()

    def log_in(self):
        """Before anything is measured: a code counts once, and dkimctl's next one may be half a minute away."""
        self.hallmark.dkimctl("status")

    def connect_beside_it(self, seconds, source=""):
        """Operators and relays (from that address), one after the other for so long; the time that the slowest pair took."""
        slowest, context = 0, self.tls(self.authority.issue(dns=["rude.localdomain"]))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            begin = time.monotonic()
            self.hallmark.dkimctl("status")
            self.greet_until_answered(context, source, begin + MOST_AT_ALL)
            slowest = max(slowest, time.monotonic() - begin)
        print(f"the slowest pair of new connections took {slowest:.1f} s", file=sys.stderr)
        return slowest

    @contextlib.contextmanager
    def connections_without_end(self, source, count):
        """So many connections from a loopback address that say nothing, all the time that this lasts: each that is ended is made anew."""
        stop, address = threading.Event(), self.hallmark.signing_address

        def run():
            held, ends = {}, select.poll()
            while not stop.is_set():
                for _ in range(min(count - len(held), 200)):
                    with contextlib.suppress(OSError):
                        connection = raw_http2.connect(address, source)
                        ends.register(connection, select.POLLIN)
                        held[connection.fileno()] = connection
                for descriptor, _ in ends.poll(50):
                    ends.unregister(descriptor)
                    held.pop(descriptor).close()
            for connection in held.values():
                connection.close()

        opening = threading.Thread(target=run)
        opening.start()
        try:
            wait_for(lambda: self.open_files() > 200, "the connections")
            yield
        finally:
            stop.set()
            opening.join()

    def greet_until_answered(self, context, source, deadline):
        """A new connection; as clients do, another one where it is refused."""
        while True:
            try:
                with raw_http2.RawHttp2(self.hallmark.signing_address, context, source) as peer:
                    peer.greet()
                    peer.wait_for(lambda one: one.kind == raw_http2.SETTINGS)
                return
            except (OSError, AssertionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def connect_from_there(self):
        """From the address of the flood, as somebody else, in the moments in which it is let in."""
        begin = time.monotonic()
        self.greet_until_answered(self.tls(self.authority.issue(dns=["other.localdomain"])), "127.0.0.1", begin + MOST_FROM_THERE)
        print(f"from the flood's address it took {time.monotonic() - begin:.1f} s", file=sys.stderr)

    def test_whoever_floods_is_kept_out(self):
        """For a second, then two, then four: between that others connect as if nothing was."""
        self.log_in()
        with self.beside_a_neighbour(QUOTA + SMALL), self.flood("127.0.0.2"):
            slowest = self.connect_beside_it(scaled(15, 300))
            with self.assertRaises(OSError):
                for _ in range(100):
                    raw_http2.RawHttp2(self.hallmark.signing_address, self.context, "127.0.0.2").close()
        log = self.log()
        for time_kept_out in (1,) if SANITIZED else (1, 2, 4):
            self.assertIn(f"127.0.0.2 is kept out for {time_kept_out} s", log)
        if not SANITIZED:
            self.assertLess(slowest, MOST_TO_CONNECT)
        self.assert_nothing_is_left()

    def test_a_flood_from_an_address_that_others_share(self):
        """It is ended, again and again, and nobody is kept out for long."""
        self.log_in()
        with self.beside_a_neighbour(QUOTA + SMALL), self.flood("127.0.0.1"):
            slowest = self.connect_beside_it(scaled(8, 300), "127.0.0.3")
            self.connect_from_there()
        log = self.log()
        self.assertIn("127.0.0.1 is not kept out, as others come from there too", log)
        self.assertNotIn("is kept out for", log)
        if not SANITIZED:
            self.assertLess(slowest, MOST_TO_CONNECT)
        self.assert_nothing_is_left()

    def test_short_floods_on_one_connection_after_the_other(self):
        """Each is over before anybody looks, and what was given up lies there for longer."""
        self.log_in()
        with self.beside_a_neighbour(QUOTA + SMALL), self.flood("127.0.0.2", 3000):
            slowest = self.connect_beside_it(scaled(15, 300))
        if not SANITIZED:
            self.assertIn("no connections are taken on port", self.log())
            self.assertLess(slowest, MOST_TO_CONNECT)
        self.assert_nothing_is_left()

    def test_its_certificate_is_revoked_while_it_floods(self):
        """By an operator, whose listener has room of its own; what is called from then on is refused, on the open connection too."""
        file = self.hallmark.folder / "rude.pem"
        file.write_bytes(self.certificate[0])
        self.log_in()
        with self.beside_a_neighbour(QUOTA + SMALL):
            peer = self.connect()
            with self.flood("127.0.0.2") as flooding:
                begin = time.monotonic()
                self.hallmark.dkimctl("certificate", "revoke", file, "--yes", "--reason", "it floods")
                seconds = time.monotonic() - begin
                self.assertTrue(flooding.is_alive(), "the flood was over before")
                peer.send(peer.call_headers(1, SIGN) + frame(raw_http2.DATA, raw_http2.END_STREAM, 1, SIGN_REQUEST))
                answer = peer.wait_for(lambda one: one.stream == 1 and one.flags & raw_http2.END_STREAM)
                self.assertEqual([one for one in answer if one.stream == 1 and one.kind == raw_http2.DATA], [])
        print(f"revoked in {seconds:.1f} s", file=sys.stderr)
        if not SANITIZED:
            self.assertLess(seconds, MOST_TO_CONNECT)
        self.assertFalse(self.can_sign(self.context))
        self.assertTrue(self.can_sign(self.tls(self.authority.issue(dns=["rude.localdomain"]))))

    def test_ping_flood(self):
        with self.beside_a_neighbour(SMALL):
            peer = self.connect()
            for _ in range(scaled(20, 500)):
                if not peer.send(frame(raw_http2.PING, payload=b"12345678") * 1000):
                    break
            goaway = [one for one in peer.wait_for_end() if one.kind == raw_http2.GOAWAY]
            if goaway:  # else the connection was gone before it could be read
                self.assertEqual(raw_http2.error_of(goaway[-1]), raw_http2.ENHANCE_YOUR_CALM)
            # So few are all read before the end, and the reason with them.
            peer = self.connect()
            peer.send(frame(raw_http2.PING, payload=b"12345678") * 10)
            goaway = [one for one in peer.wait_for_end() if one.kind == raw_http2.GOAWAY]
            self.assertEqual([raw_http2.error_of(one) for one in goaway][-1:], [raw_http2.ENHANCE_YOUR_CALM])

    def test_floods_of_control_frames(self):
        """Whether their answers are read or not (CVE-2019-9512 and those after it)."""
        floods = {"SETTINGS": raw_http2.settings(INITIAL_WINDOW_SIZE=65535),
                  "SETTINGS that change": raw_http2.settings(HEADER_TABLE_SIZE=0) + raw_http2.settings(HEADER_TABLE_SIZE=4096),
                  "PRIORITY": frame(raw_http2.PRIORITY, 0, 1, b"\0\0\0\0\x10"),
                  "WINDOW_UPDATE": frame(raw_http2.WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
                  "empty DATA": frame(raw_http2.DATA, 0, 1), "unknown": frame(0xee, 0, 0, b"x" * 100)}
        with self.beside_a_neighbour(SMALL):
            for name, octets in floods.items():
                for reading in (True, False):
                    with self.subTest(name, reading=reading):
                        peer = self.connect()
                        peer.send(peer.call_headers(1, SIGN))
                        for _ in range(scaled(50, 2000)):
                            if not peer.send(octets * 1000, reading=reading):
                                break
                        peer.settle()
                        peer.close()

    def test_header_bombs(self):
        # Empty fields cost sixteen times their octets, until the guard ends it.
        with self.beside_a_neighbour(scaled(SMALL, QUOTA + SMALL)):
            for name, (first, more) in self.bombs().items():
                with self.subTest(name):
                    peer = self.connect()
                    peer.send(frame(raw_http2.HEADERS, 0, 1, first(peer)))
                    for _ in range(scaled(300, 20_000)):
                        if not peer.send(frame(raw_http2.CONTINUATION, 0, 1, more)):
                            break
                    peer.send(frame(raw_http2.CONTINUATION, raw_http2.END_HEADERS, 1))
                    # Such a call comes to nothing, whichever way it is said.
                    answers = peer.settle()
                    if not peer.ended:
                        self.assertTrue([one for one in answers if one.kind in (raw_http2.RST_STREAM, raw_http2.GOAWAY) or
                                         (one.stream == 1 and one.flags & raw_http2.END_STREAM)], answers)
                    peer.close()

    @staticmethod
    def bombs():
        """What each begins its header with, and the block that follows again and again."""
        def begin(*more):
            return lambda peer: peer._encoder.encode([(":method", "POST"), (":scheme", "https"), (":path", SIGN), *more])
        literal = b"\x00\x08x-header\x7f\x80\x01" + b"z" * 255  # RFC 7541, 6.2.2
        return {"one field of 4 kB, named again and again by its index": (begin(("x", "y" * 4000)), b"\xbe" * 16000),
                "fields without end": (begin(), literal * 60),
                "empty fields": (begin(), b"\x00\x01x\x00" * 4000),
                "table sizes": (begin(), b"\x20\x3f\xe1\x1f" * 4000),
                "empty CONTINUATION": (begin(), b""),
                "a string of 2 GB": (begin(), b"\x00\x01x\x7f\x80\xff\xff\xff\x07" + b"z" * 16000)}

    @contextlib.contextmanager
    def headers_without_end(self, source, peers=8):
        """So many peers from a loopback address that send a string of 2 GB in a header, all the time that this lasts; what has come of it
        is taken in anew with each frame (CVE-2023-33953)."""
        stop, (first, more) = threading.Event(), self.bombs()["a string of 2 GB"]

        def run():
            while not stop.is_set():
                time.sleep(0.01)
                with contextlib.suppress(OSError), raw_http2.RawHttp2(self.hallmark.signing_address, self.context, source) as peer:
                    peer.greet()
                    peer.send(frame(raw_http2.HEADERS, 0, 1, first(peer)))
                    while not stop.is_set() and peer.send(frame(raw_http2.CONTINUATION, 0, 1, more)):
                        pass

        sending = [threading.Thread(target=run) for _ in range(peers)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # ssl closes late what was reset before the handshake
            for one in sending:
                one.start()
            try:
                yield
            finally:
                stop.set()
                for one in sending:
                    one.join()

    def test_headers_without_end(self):
        self.log_in()
        with self.beside_a_neighbour(QUOTA + SMALL, MOST_AT_ALL), self.headers_without_end("127.0.0.2"):
            slowest = self.connect_beside_it(scaled(15, 300))
        self.assertRegex(self.log(), r"header without end\?\); 127\.0\.0\.2 is kept out for 1 s")
        if not SANITIZED:
            self.assertLess(slowest, MOST_TO_CONNECT)

    def test_headers_without_end_from_an_address_that_others_share(self):
        """Those of that certificate are ended as soon as they are seen, and nobody else is."""
        self.log_in()
        with self.beside_a_neighbour(QUOTA + SMALL, MOST_AT_ALL), self.headers_without_end("127.0.0.1"):
            slowest = self.connect_beside_it(scaled(20, 300), "127.0.0.3")
            self.connect_from_there()
        log = self.log()
        self.assertRegex(log, r"127\.0\.0\.1 is not kept out, as others come from there too, but for \d+ s all that come with its")
        self.assertNotIn("is kept out for", log)
        if not SANITIZED:
            self.assertLess(slowest, MOST_TO_CONNECT)

    # What is no HTTP/2 or no gRPC.

    def test_wrong_frames(self):
        data, headers = raw_http2.DATA, raw_http2.HEADERS
        connection, call, either = "the connection ends", "call 1 does", "one of them, or it is passed over"
        ended = "one of them"
        # Each after a greeting and the beginning of call 1.
        cases = {"frame longer than allowed": (frame(data, 0, 1, b"x" * 16384, length=(1 << 24) - 1), connection),
                 "SETTINGS of five octets": (frame(raw_http2.SETTINGS, payload=b"x" * 5), connection),
                 "SETTINGS on a stream": (frame(raw_http2.SETTINGS, 0, 1), connection),
                 "PING of seven octets": (frame(raw_http2.PING, payload=b"x" * 7), connection),
                 "WINDOW_UPDATE of three octets": (frame(raw_http2.WINDOW_UPDATE, payload=b"x" * 3), connection),
                 "CONTINUATION of nothing": (frame(raw_http2.CONTINUATION, 0, 1, b"x"), connection),
                 "header block that is none": (frame(headers, raw_http2.END_HEADERS, 3, b"\xff" * 100), connection),
                 "window beyond its limit": (frame(raw_http2.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2, either),
                 "DATA on stream 0": (frame(data, 0, 0, b"x"), either),
                 "more DATA than the window": (frame(data, 0, 1, grpc_message(b"x" * 16000)) * 200, ended),
                 "a message of 4 GB": (frame(data, raw_http2.END_STREAM, 1, grpc_message(b"x", 0xffffffff)), call),
                 "a message that is said to be compressed": (frame(data, raw_http2.END_STREAM, 1, b"\1" + grpc_message(b"x")[1:]), call),
                 "a flag of gRPC that is none": (frame(data, raw_http2.END_STREAM, 1, b"\7" + grpc_message(b"x")[1:]), call),
                 "PUSH_PROMISE": (frame(raw_http2.PUSH_PROMISE, raw_http2.END_HEADERS, 1, b"\0\0\0\2\x83"), either),
                 "GOAWAY": (frame(raw_http2.GOAWAY, payload=bytes(8)), either),
                 "random octets": (os.urandom(4000), either)}
        with self.beside_a_neighbour(SMALL):
            for name, (octets, ends) in cases.items():
                with self.subTest(name):
                    peer = self.connect()
                    peer.send(peer.call_headers(1, SIGN))
                    peer.send(octets)
                    if ends == connection:
                        peer.wait_for_end()
                    elif ends in (call, ended):
                        try:
                            peer.wait_for(lambda one: one.stream == 1 and (
                                one.kind == raw_http2.RST_STREAM or one.kind == headers and one.flags & raw_http2.END_STREAM))
                        except AssertionError:
                            if ends == call or not peer.ended:
                                raise
                    else:
                        peer.settle()
                    peer.close()
        self.assert_nothing_is_left()

    def test_what_is_no_tls(self):
        with self.beside_a_neighbour(SMALL):
            for octets in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", raw_http2.PREFACE, os.urandom(20_000), b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
                           b"\x15\x03\x03\x00\x02\x02\x00" * 100, b"\x14\x03\x03\x00\x01\x01" * 5000):
                for _ in range(scaled(5, 200)):
                    with raw_http2.connect(self.hallmark.signing_address) as connection:
                        with contextlib.suppress(OSError):
                            connection.sendall(octets)
                        self.assertTrue(raw_http2.closed_by_peer(connection, HANDSHAKE_SECONDS + GRACE), octets[:20])

    # Certificates and TLS itself.

    def test_wrong_certificates(self):
        stranger = pki.Authority("Test CA")  # of the same name as the one that is trusted
        wrong = {"none": None, "of a stranger": stranger.issue(dns=["rude.localdomain"]),
                 "expired": self.authority.issue(dns=["rude.localdomain"], days=-1),
                 "of a server": self.authority.issue(dns=["rude.localdomain"], server=True),
                 "with ten thousand names": self.authority.issue(dns=["rude.localdomain", *(f"{n}.rude.localdomain" for n in range(10_000))])}
        with self.beside_a_neighbour(SMALL):
            for name, certificate in wrong.items():
                context = self.tls(certificate)
                with self.subTest(name):
                    for _ in range(scaled(40, 1000)):
                        self.assertFalse(self.can_sign(context))
        self.assertTrue(self.can_sign(self.context))

    def can_sign(self, context, source=""):
        """Whether a call is answered with OK."""
        try:
            with raw_http2.RawHttp2(self.hallmark.signing_address, context, source) as peer:
                peer.greet()
                peer.send(peer.call_headers(1, SIGN) + frame(raw_http2.DATA, raw_http2.END_STREAM, 1, SIGN_REQUEST))
                while not peer.ended:
                    for one in peer.take():
                        if one.stream == 1 and one.kind == raw_http2.DATA:
                            return True
                        if one.stream == 1 and one.kind == raw_http2.HEADERS and one.flags & raw_http2.END_STREAM:
                            return False
                    select.select([peer._tls], [], [], 1)
        except (ssl.SSLError, OSError):
            pass
        return False

    def test_renegotiation(self):
        """TLS 1.3 has none, and nothing older is spoken. What it has, new keys, may be asked for as often as one likes."""
        folder = self.hallmark.folder / "tls"
        client = ["openssl", "s_client", "-connect", self.hallmark.signing_address, "-CAfile", folder / "server-ca.pem", "-cert",
                  folder / "relay1.pem", "-key", folder / "relay1.key", "-alpn", "h2"]
        with self.beside_a_neighbour(SMALL):
            old = subprocess.run([*client, "-tls1_2"], input="R\n" * 10, capture_output=True, text=True, errors="replace",
                                 timeout=60, check=False)
            self.assertNotEqual(old.returncode, 0)
            self.assertNotIn("RENEGOTIATING", old.stdout)
            for _ in range(scaled(3, 50)):
                new = subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       errors="replace", preexec_fn=deployment.die_with_parent)
                try:
                    wait_for(lambda: "Verify return code" in new.stdout.readline(), "the handshake", 20)
                    for _ in range(200):
                        new.stdin.write("K\n")
                        new.stdin.flush()
                        time.sleep(0.002)  # s_client takes what comes together for one command
                except BrokenPipeError:
                    pass  # the server ended it
                finally:
                    new.kill()
                    said = new.communicate()[0]
                self.assertIn("KEYUPDATE", said)


if __name__ == "__main__":
    unittest.main(argv=[word for word in sys.argv if word != "--full"])
