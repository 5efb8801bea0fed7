"""Faults on the way of a mail: nothing is lost, nothing comes twice, and nothing goes out unsigned unless it may.

A queueing Postfix sends to the relay, whose milter signs, and tries again what the relay defers. Between Postfix and the milter,
and between the milter and signerd, stand proxies that can cut the line.
"""

import collections
import itertools
import os
import re
import signal
import unittest

import deployment
import dkim_milter
import mail_way
import postfix
import tcp_proxy
from waiting import wait_for

SENDER, RECIPIENT = "alice@example.com", "box@remote.example"
NOBODY = "127.0.0.1:1"  # Nothing listens there.
LINE = b"The quick brown fox jumps over the lazy dog, and then it does so once more.x\r\n"
_numbers = itertools.count()


def fresh(lines=2):
    """A message that no other is like."""
    number = next(_numbers)
    return (b"From: alice@example.com\r\nTo: bob@example.org\r\nSubject: Number %d\r\nMessage-ID: <%d@example.com>\r\n"
            b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n" % (number, number)) + LINE * lines


def message_id(message):
    return re.search(rb"^Message-ID: (\S+)", message, re.MULTILINE | re.IGNORECASE).group(1)


class MilterFaultsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = cls.enterClassContext(deployment.Deployment())
        cls.hallmark.add_domain("example.com")
        cls.keys = mail_way.keys_of(cls.hallmark.key_lines(["example.com"]))

    def build(self, **milter):
        """The way: upstream -> relay -> to_milter -> milter -> to_signerd -> signerd."""
        self.to_signerd = self.enterContext(tcp_proxy.TcpProxy(self.hallmark.signing_address))
        # What upstream sends on comes from this host, and has upstream's Received field.
        tables = {**milter.pop("tables", {}), "outbound": {"reinjected": True}}
        self.milter = self.enterContext(dkim_milter.DkimMilter(
            self.hallmark, milter.pop("servers", [self.to_signerd.address]), tables, **milter))
        self.to_milter = self.enterContext(tcp_proxy.TcpProxy(self.milter.address.removeprefix("inet:")))
        self.relay = self.enterContext(postfix.Postfix(settings={
            "smtpd_milters": f"inet:{self.to_milter.address}", "milter_default_action": "tempfail"}))
        self.upstream = self.enterContext(postfix.Postfix(
            settings={"default_transport": f"smtp:[127.0.0.1]:{self.relay.ports['smtp']}"}, hostname="upstream.example"))
        self.sent = []

    def queue(self, count, **kind):
        """Hands messages to upstream, which sends them on."""
        for _ in range(count):
            message = fresh(**kind)
            self.assertEqual(self.upstream.send(SENDER, RECIPIENT, message)[0], 250)
            self.sent.append(message_id(message))

    def say(self, **kind):
        """(code, text) of the relay to a message that is not queued."""
        return self.relay.send(SENDER, RECIPIENT, fresh(**kind))

    def await_deferred(self):
        """Waits until the relay has deferred a message."""
        wait_for(lambda: " status=deferred " in self.upstream.log_text(), "a deferred message")

    def last_lines(self):
        logs = {"upstream": self.upstream, "relay": self.relay, "dkim-milter": self.milter, "signerd": self.hallmark}
        return "\n".join(f"{name}:\n" + "\n".join(of.log_text().splitlines()[-15:]) for name, of in logs.items())

    def assert_all_delivered(self):
        """Each message that upstream took has arrived once, with one good signature of each algorithm."""
        try:
            wait_for(lambda: self.relay.maildir.count() >= len(self.sent)
                     and not self.upstream.queued() and not self.relay.queued(), "delivery of all that was sent", 120)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.relay.maildir.count()} of {len(self.sent)}\n{self.last_lines()}") from None
        mails = [mail.message for mail in self.relay.maildir.read()]
        self.assertEqual(collections.Counter(map(message_id, mails)), collections.Counter(self.sent))
        for message in mails:
            self.assertEqual([good for _, _, good in mail_way.own_signatures(message, self.keys)], [True, True])

    # signerd and its token.

    def test_signerd_is_stopped(self):
        self.build(tables={"signerd": {"timeout_ms": 3000}})
        self.queue(5)
        self.hallmark.stop()
        code, text = self.say()
        self.assertEqual((code, text[:6]), (451, "4.3.0 "))
        self.queue(20)
        self.await_deferred()
        self.hallmark.start()
        self.to_signerd.target = self.hallmark.signing_address
        self.assert_all_delivered()

    def test_signerd_is_killed_while_mail_flows(self):
        self.build(tables={"signerd": {"timeout_ms": 3000}})
        for _ in range(2):
            self.queue(20)
            self.hallmark.kill()
            self.queue(5)
            self.hallmark.start()
            self.to_signerd.target = self.hallmark.signing_address
        self.assert_all_delivered()

    def test_tokend_is_killed_while_mail_flows(self):
        self.build()
        for _ in range(3):
            self.queue(25)
            for pid in wait_for(self.hallmark.tokend_pids, "a tokend"):
                os.kill(pid, signal.SIGKILL)
        self.queue(25)
        self.assert_all_delivered()

    def test_unavailable_may_be_delivered_unsigned(self):
        self.build(servers=[NOBODY], tables={"signerd": {"timeout_ms": 1000}, "on": {"unavailable": "accept"}})
        self.assertEqual(self.say()[0], 250)
        self.assertNotIn(b"DKIM-Signature", self.relay.maildir.wait(1)[0].message)

    # The network between milter and signerd.

    def cut_signerd(self, **milter):
        """Cuts each connection to signerd in the middle of a message, for a while."""
        self.build(**milter)
        self.queue(1)
        wait_for(lambda: self.relay.maildir.count() == 1, "delivery of the first")
        self.to_signerd.cut_after = 200_000
        self.queue(3, lines=13_000)
        wait_for(lambda: self.to_signerd.cut_count >= 3, "a cut")
        self.assertEqual(self.relay.maildir.count(), 1)
        self.to_signerd.cut_after = None
        self.assert_all_delivered()

    def test_line_to_signerd_is_cut_within_a_message(self):
        self.cut_signerd(tables={"signerd": {"send_message": True, "timeout_ms": 3000}})

    def test_line_to_signerd_is_cut_again_and_again(self):
        self.build()
        for _ in range(10):
            self.queue(10)
            self.to_signerd.cut()
        self.assert_all_delivered()

    def test_line_to_signerd_hangs(self):
        self.build(tables={"signerd": {"timeout_ms": 1500}})
        self.queue(5)
        self.to_signerd.hold()
        self.assertEqual(self.say()[0], 451)
        self.queue(10)
        self.await_deferred()
        self.to_signerd.release()
        self.assert_all_delivered()

    def test_one_of_two_servers_is_lost_and_no_message_is_deferred(self):
        other = self.enterContext(tcp_proxy.TcpProxy(self.hallmark.signing_address))
        for fault in ("stopped", "hanging"):
            with self.subTest(fault):
                lost = self.enterContext(tcp_proxy.TcpProxy(self.hallmark.signing_address))
                self.build(servers=[lost.address, other.address])
                self.queue(20)
                if fault == "stopped":
                    lost.target = NOBODY
                    lost.cut()
                else:
                    lost.hold()
                self.queue(20)
                self.assert_all_delivered()
                self.assertNotIn(" status=deferred ", self.upstream.log_text())
                lost.release()

    # The line between Postfix and the milter.

    def test_line_to_the_milter_is_cut_within_a_body(self):
        self.build()
        self.to_milter.cut_after = 200_000
        self.assertEqual(self.say(lines=13_000)[0] // 100, 4)
        self.queue(3, lines=13_000)
        self.await_deferred()
        self.assertEqual(self.relay.maildir.count(), 0)
        self.to_milter.cut_after = None
        self.assert_all_delivered()

    def test_milter_is_killed_while_mail_flows(self):
        self.build()
        for _ in range(3):
            self.queue(20)
            self.milter.process.kill()
            self.milter.process.wait()
            self.queue(5)
            self.milter.start()
            self.to_milter.target = self.milter.address.removeprefix("inet:")
        self.assert_all_delivered()


if __name__ == "__main__":
    unittest.main()
