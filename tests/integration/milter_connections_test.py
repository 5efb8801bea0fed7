"""Connections to dkim-milter: ten thousand in a row and at once, slow ones, silent ones, one too many; and the end of it all."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import grpc

import deployment
import large_test
from milter_case import AUTHENTICATED, MilterCase, descriptors, message, resident_kb, scrape, threads
from milter_client import (ABORT, ALL_ACTIONS, CONTINUE, HEADER, MAIL, NEGOTIATE, RCPT, FilterClosed, Mail, MilterConnection, packet,
                           strings)
from waiting import wait_for

MANY = 10_000
OFFER = packet(NEGOTIATE, struct.pack("!III", 6, ALL_ACTIONS, 0))
GRPC_THREADS = 4


def dropped_without_a_word(mta):
    """Closes it so that the other side gets a reset."""
    mta.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    mta.close()


class SilentSignerd:
    """A signerd that is there and says that it can sign, and then answers no message."""

    def __init__(self, hallmark):
        self.asked, self._over = threading.Event(), threading.Event()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[
            ("grpc.http2.min_ping_interval_without_data_ms", 1000), ("grpc.keepalive_permit_without_calls", 1)])
        self._server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Watch": grpc.unary_stream_rpc_method_handler(self._watch)}),
            grpc.method_handlers_generic_handler("hallmark.signing.v1.SigningService",
                                                 {"SignDigest": grpc.unary_unary_rpc_method_handler(self._sign)})))
        port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
            [(hallmark.read("tls/server.key"), hallmark.read("tls/server.pem"))], hallmark.read("tls/relay-ca.pem"), True))
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.stop(None).wait()

    def _watch(self, _request, _context):
        yield b"\x08\x01"  # HealthCheckResponse: SERVING
        self._over.wait()

    def _sign(self, _request, _context):
        self.asked.set()
        self._over.wait()
        return b""


class MilterConnectionsTest(MilterCase):
    @classmethod
    def setUpClass(cls):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        cls.many = min(MANY, most - 500)
        super().setUpClass()

    def assert_as_before(self, milter, before):
        """No connection is left, no descriptor, and no thread but what gRPC keeps at hand for calls."""
        def after():
            return scrape(milter)["hallmark_milter_connections"], descriptors(milter.process), threads(milter.process)

        def as_before():
            connected, open_now, running = after()
            return connected == 0 and open_now <= before[0] and running <= before[1] + GRPC_THREADS
        wait_for(as_before, lambda: f"connected, descriptors and threads are {after()}, and were 0, {before}")

    def settled(self, milter):
        """Descriptors and threads of a milter that has signed and was scraped."""
        for address in milter.addresses:
            self.assert_signs(address)
        scrape(milter)
        wait_for(lambda: scrape(milter)["hallmark_milter_connections"] == 0, "nobody is connected")
        return descriptors(milter.process), threads(milter.process)

    def open_and_drop(self, milter, count):
        tcp, unix = milter.addresses
        taken = scrape(milter)["hallmark_milter_connections_total"]
        beginnings = (b"", OFFER, OFFER[:7], OFFER + packet(MAIL, strings(b"<a@example.com>"))[:9], b"\xff\xff\xff\xff")
        for number in range(count):
            # A port of ours that was closed is not free for a minute.
            mta = MilterConnection(tcp if number % 5 == 0 else unix)
            beginning = beginnings[number // 5 % len(beginnings)]
            if beginning:
                mta.write(beginning)
            if number % 10 == 0:
                dropped_without_a_word(mta)
            else:
                mta.close()
        wait_for(lambda: scrape(milter)["hallmark_milter_connections_total"] >= taken + count, "all of them were taken")

    def test_ten_thousand_in_a_row(self):
        milter = self.start_milter()
        before = self.settled(milter)
        self.open_and_drop(milter, MANY // 2)
        self.assert_as_before(milter, before)
        memory = resident_kb(milter.process)
        self.open_and_drop(milter, MANY // 2)
        self.assert_as_before(milter, before)
        if not deployment.sanitized():
            self.assertLess(resident_kb(milter.process) - memory, 2048, "kB more after as many connections again")
        self.assert_signs(milter.addresses[0])

    def test_ten_thousand_at_once_and_one_more(self):
        milter = self.start_milter(tables={"milter": {"connections": self.many}})
        before = self.settled(milter)
        memory = []
        for _ in range(2):
            mtas = [MilterConnection(milter.addresses[number % 2]) for number in range(self.many)]
            for mta in mtas:
                mta.write(OFFER)
            for mta in mtas:
                self.assertEqual(mta.read()[0], NEGOTIATE)
            memory.append(resident_kb(milter.process))
            # One more is shown the door; those who are in are served.
            with MilterConnection(milter.addresses[0]) as one_more:
                self.assertTrue(one_more.closed())
            with MilterConnection(milter.addresses[1]) as one_more:
                self.assertTrue(one_more.closed())
            mail = Mail(message("among-many"), macros=AUTHENTICATED)
            mtas[-1].actions, mtas[-1].steps = ALL_ACTIONS, 0
            self.assert_signed(mtas[-1].submit(mail))
            for number, mta in enumerate(mtas):
                (dropped_without_a_word if number % 3 == 0 else MilterConnection.close)(mta)
            self.assert_as_before(milter, before)
            memory.append(resident_kb(milter.process))
        self.assertEqual(scrape(milter)["hallmark_milter_connections_refused_total"], 4)
        self.assert_signs(milter.addresses[0])
        if not deployment.sanitized():
            self.assertLess(memory[3] - memory[1], 2048, f"kB with all, without, with, without: {memory}")
            self.assertLess(memory[0], 100 * 1024)

    def test_room_is_free_again_when_one_leaves(self):
        milter = self.start_milter(tables={"milter": {"connections": 3}})
        inside = [self.connect(milter.addresses[number % 2]) for number in range(3)]
        for address in milter.addresses:
            with MilterConnection(address) as mta:
                self.assertTrue(mta.closed())
        inside.pop().close()
        wait_for(lambda: scrape(milter)["hallmark_milter_connections"] == 2, "one has left")
        self.assert_signs(milter.addresses[0])
        self.assertNotIn("error", milter.log_text())

    def test_slow_ones_hold_nobody_up(self):
        milter = self.start_milter(tables={"milter": {"threads": 1}})
        tcp, unix = milter.addresses
        whole = b"".join(packet(*command) for command in self.connect(unix).commands(Mail(message("slow"), macros=AUTHENTICATED)))
        slow = [self.connect(unix if number % 2 else tcp) for number in range(200)]
        # Each has said another part of its message, and goes on octet by octet.
        at = [number * len(whole) // (2 * len(slow)) for number in range(len(slow))]
        for mta, place in zip(slow, at):
            mta.write(whole[:place])
        # One wants no answer of the thousands that it is due.
        deaf = self.connect(tcp, steps=0)
        deaf.write(packet(*deaf.macros(MAIL, AUTHENTICATED[MAIL])) + packet(MAIL, strings(b"<a@example.com>")))
        deaf.socket.settimeout(2)
        flood = packet(RCPT, strings(b"<b@example.org>")) * 5000
        try:
            for _ in range(500):
                deaf.write(flood)
        except TimeoutError:
            pass
        else:
            self.fail("it reads on though nobody takes its answers")
        for step in range(40):
            for number, mta in enumerate(slow):
                mta.write(whole[at[number] + step:at[number] + step + 1])
            if step % 4 == 0:
                self.assert_signs(tcp)
        for number, mta in enumerate(slow):
            mta.write(whole[at[number] + 40:])
        for mta in slow:
            self.assertEqual(mta.answer(MAIL)[0], CONTINUE)
            self.assert_signed(mta.end(Mail(message("slow"))))

    def test_a_large_message_takes_no_memory(self):
        """Its body is hashed as it comes."""
        milter = self.start_milter()
        self.assert_signs(milter.addresses[1])  # what every milter soon has
        before = resident_kb(milter.process)
        pathlib.Path(f"/proc/{milter.process.pid}/clear_refs").write_text("5")  # VmHWM starts anew
        mta = self.connect(milter.addresses[1])
        self.assert_signed(mta.submit(Mail(message("large", (b"x" * 78 + b"\r\n") * 400_000), macros=AUTHENTICATED)))
        if not deployment.sanitized():
            self.assertLess(large_test.memory_kb(milter.process.pid, "VmHWM") - before, 8 << 10, "kB more during 32 MB")

    def test_silent_ones_are_closed(self):
        milter = self.start_milter(tables={"milter": {"idle_seconds": 10}})
        mtas = [MilterConnection(milter.addresses[0]), self.connect(milter.addresses[0]), self.connect(milter.addresses[1])]
        mtas[2].write(packet(*mtas[2].macros(MAIL, AUTHENTICATED[MAIL])) + packet(MAIL, strings(b"<a@example.com>"))[:9])
        busy = self.connect(milter.addresses[0])
        self.addCleanup(mtas[0].close)

        def all_closed_while_one_is_busy():
            busy.say(ABORT)
            ended, _, _ = select.select([mta.socket for mta in mtas], [], [], 0)
            return len(ended) == len(mtas)
        wait_for(all_closed_while_one_is_busy, "the silent ones are closed")
        for mta in mtas:
            self.assertTrue(mta.closed())
        self.assert_signed(busy.submit(Mail(message("busy"), macros=AUTHENTICATED)))

    def test_no_descriptors_left(self):
        milter = self.start_milter()
        before = self.settled(milter)
        old = self.connect(milter.addresses[0])
        most = before[0] + 20
        resource.prlimit(milter.process.pid, resource.RLIMIT_NOFILE, (most, most))
        mtas = [MilterConnection(milter.addresses[1]) for _ in range(60)]
        self.assert_says(milter, "Too many open files")
        for _ in range(5):
            self.assert_signed(old.submit(Mail(message("none-left"), macros=AUTHENTICATED)))
        time.sleep(1)
        # One line when it begins, not one for each try.
        self.assertEqual(milter.log_text().count("Too many open files"), 1, milter.log_text())
        for mta in mtas:
            mta.close()
        old.close()
        self.assert_as_before(milter, before)
        self.assert_signs(milter.addresses[1])

    def fill_memory(self, milter, octets):
        """Lets it have no more than it has, and then has many connections keep so many octets."""
        status = pathlib.Path(f"/proc/{milter.process.pid}/status").read_text()
        most = int(re.search(r"VmData:\s+(\d+)", status).group(1)) << 10
        resource.prlimit(milter.process.pid, resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
        mtas, half = [], packet(HEADER, bytes(120_000))[:octets]
        with contextlib.suppress(OSError, FilterClosed):
            for number in range(self.many):
                mtas.append(MilterConnection(milter.addresses[number % 2], timeout=5))
                mtas[-1].write(half)
        for mta in mtas:
            mta.close()
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(milter.process.pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    @unittest.skipIf(deployment.sanitized(), "a sanitizer has its own ideas of memory")
    def test_no_memory_left(self):
        """Whatever fails for want of it, it takes connections once there is some, or has ended, so that who started it can start
        it again. It is never there and deaf."""
        for octets in (4000, 60_000) * 2:
            with self.subTest(octets=octets):
                milter = self.start_milter(tables={"milter": {"connections": self.many, "threads": 2}})
                self.addCleanup(milter.process.kill)  # a deaf one may not hear SIGTERM
                self.fill_memory(milter, octets)
                try:
                    self.assertNotEqual(milter.process.wait(5), 0)
                except subprocess.TimeoutExpired:
                    for address in milter.addresses:
                        self.assert_signs(address)

    def begun(self, milter, address):
        mta = self.connect(address)
        commands = mta.commands(Mail(message("drained"), macros=AUTHENTICATED))
        for command, payload in commands[:-2]:
            mta.say(command, payload)
        return mta, commands[-2:]

    def test_the_end_waits_for_messages_under_way(self):
        milter = self.start_milter()
        begun = [self.begun(milter, address) for address in milter.addresses]
        idle, half = self.connect(milter.addresses[0]), MilterConnection(milter.addresses[1])
        self.addCleanup(half.close)
        half.write(OFFER[:6])
        signed = self.connect(milter.addresses[1])
        self.assert_signed(signed.submit(Mail(message("before"), macros=AUTHENTICATED)))
        milter.process.send_signal(signal.SIGTERM)
        for mta in (idle, half, signed):
            self.assertTrue(mta.closed())
        for address in milter.addresses:
            with self.assertRaises(OSError):
                MilterConnection(address).close()
        for mta, rest in begun:
            for command, payload in rest:
                mta.write(packet(command, payload))
            self.assert_signed(mta.end(Mail(message("drained"))))
            self.assertTrue(mta.closed())
        self.assertEqual(milter.process.wait(30), 0)
        self.assert_says(milter, "stopped")

    def test_the_end_comes_though_a_message_never_ends(self):
        milter = self.start_milter()
        mta, _ = self.begun(milter, milter.addresses[0])
        self.assertEqual(milter.stop(), 0)
        self.assertTrue(mta.closed())

    def test_the_end_comes_though_signerd_never_answers(self):
        silent = self.enterContext(SilentSignerd(self.hallmark))
        milter = self.start_milter(servers=[silent.address], tables={"signerd": {"timeout_ms": 600_000}})
        unix = milter.addresses[1]
        mta, rest = self.begun(milter, unix)
        for command, payload in rest:
            mta.write(packet(command, payload))
        self.assertTrue(silent.asked.wait(60), milter.log_text())
        self.assertEqual(milter.stop(), 0)
        self.assertTrue(mta.closed())
        self.assertFalse(os.path.exists(unix.removeprefix("unix:")))


if __name__ == "__main__":
    unittest.main()
