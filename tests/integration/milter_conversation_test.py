"""Conversations with dkim-milter as MTAs lead them: given up at any step, many messages on a connection, many connections at
once. Each message gets its own signature and none of another's."""

import unittest

import messages
import milter_client
from milter_case import AUTHENTICATED, MilterCase, descriptors, message, messages_counted
from milter_client import ABORT, ACCEPT, CONTINUE, EOM, MACRO, MAIL, QUIT, QUIT_NC, Mail, packet, strings
from waiting import wait_for

# Another's message, of which nothing may be left.
OTHER = Mail(message("other", b"secret\r\n" * 3), b"<mallory@example.com>", (b"<victim@example.net>",), AUTHENTICATED)


class MilterConversationTest(MilterCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.milter = cls.start_milter(cls, cls.addClassCleanup, tables={"outbound": {"networks": []}})
        cls.tcp, cls.unix = cls.milter.addresses

    def setUp(self):
        self.before = messages_counted(self.milter)

    def counted(self):
        """{verdict: number} of this test's messages."""
        now = messages_counted(self.milter)
        return {verdict: count - self.before.get(verdict, 0) for verdict, count in now.items() if count != self.before.get(verdict, 0)}

    def say_some(self, mta, count, mail=OTHER):
        """The first commands of a message. Gives the last one, None when it was the whole of it."""
        commands = mta.commands(mail)
        for command, payload in commands[:count]:
            if command == EOM:
                mta.write(packet(command, payload))
                self.assert_signed(mta.end(mail))
                return None
            mta.say(command, payload)
        return commands[count - 1][0] if count else b""

    def steps(self):
        """How many commands a whole message has."""
        with milter_client.MilterConnection(self.unix) as mta:
            mta.negotiate()
            return len(mta.commands(OTHER))

    def recorded(self, name):
        """What the ledger says of a message. The search comes to know of it a moment later."""
        records = wait_for(lambda: self.hallmark.dkimctl_json("ledger", "search", "--message-id", f"<{name}@example.com>")["records"],
                           f"{name} is on the ledger")
        return records[0]["record"]["signature"]

    def test_abort_at_every_step(self):
        mta = self.connect(self.tcp)
        for count in range(self.steps() + 1):
            with self.subTest(after=self.say_some(mta, count)):
                mta.say(ABORT)
                self.assert_signed(mta.submit(Mail(message(f"abort-{count}"), macros=AUTHENTICATED), connect=count % 2 == 0))
                mta.say(ABORT)
                # Nor is the next message ours because that one was.
                answer = mta.submit(Mail(message("not-ours")), connect=False)
                self.assertEqual((answer.verdict, answer.command), (ACCEPT, MAIL))
        self.assertEqual(self.counted()["signed"], self.steps() + 2)

    def test_quit_and_a_new_conversation_at_every_step(self):
        mta = self.connect(self.unix)
        for count in range(self.steps() + 1):
            with self.subTest(after=self.say_some(mta, count)):
                mta.say(QUIT_NC)
                if count % 2:
                    mta.negotiate(version=2 if count % 3 else 6)
                self.assert_signed(mta.submit(Mail(message(f"new-{count}"), macros=AUTHENTICATED)))
                mta.say(QUIT_NC)
                self.assert_unsigned(mta.submit(Mail(message("not-ours"))))

    def test_quit_at_every_step(self):
        for count in range(self.steps() + 1):
            mta = self.connect(self.tcp if count % 2 else self.unix)
            with self.subTest(after=self.say_some(mta, count)):
                mta.say(QUIT)
                self.assertTrue(mta.closed())
                mta.close()
        self.assert_signs(self.tcp)

    def test_connections_that_break_at_every_step(self):
        self.assert_signs(self.unix)
        before, steps = descriptors(self.milter.process), self.steps()
        for count in range(steps + 1):
            mta = self.connect(self.unix)
            self.say_some(mta, count)
            mta.close()
        # Within a packet, and while the answer is made.
        for cut in range(1, 12):
            mta = self.connect(self.tcp)
            mta.write(packet(MAIL, strings(b"<a@example.com>"))[:cut])
            mta.close()
        mta = self.connect(self.tcp)
        mta.write(b"".join(packet(*command) for command in mta.commands(OTHER)))
        mta.close()
        wait_for(lambda: descriptors(self.milter.process) <= before, "the descriptors are what they were")
        self.assert_signs(self.unix)
        # The whole ones, and those that were begun: from MAIL to the last command before the end.
        counted = self.counted()
        self.assertEqual(sum(counted.values()), counted["signed"] + counted["aborted"] + counted.get("left_alone", 0), counted)
        self.assertGreaterEqual(counted["aborted"], steps - 5)

    def test_a_negotiation_in_the_middle_begins_anew(self):
        mta = self.connect(self.unix)
        self.say_some(mta, 4)
        mta.negotiate(version=2)
        self.assert_signed(mta.submit(Mail(message("anew"), macros=AUTHENTICATED)))

    def test_each_message_of_a_connection_has_its_own(self):
        mta = self.connect(self.tcp)
        signatures = set()
        for number in range(50):
            ours = number % 3 != 1
            mail = Mail(message(f"own-{number}", b"body %d\r\n" % number * number), b"<alice+%d@example.com>" % number,
                        tuple(b"<bob+%d@example.org>" % each for each in range(number % 4 + 1)), AUTHENTICATED if ours else {})
            answer = mta.submit(mail, connect=number == 0)
            if ours:
                self.assert_signed(answer)
                signatures.update(value for _, _, value in answer.inserted)
            else:
                self.assert_unsigned(answer)
        self.assertEqual(len(signatures), 2 * sum(number % 3 != 1 for number in range(50)))
        self.assertEqual(self.counted(), {"signed": 33, "left_alone": 17})

    def test_many_conversations_side_by_side(self):
        """Step by step in turn: what one connection says is never another's."""
        mails = [Mail(message(f"side-{number}", b"%d\r\n" % number * 100), macros=AUTHENTICATED) for number in range(60)]
        mtas = [self.connect(self.tcp if number % 2 else self.unix) for number in range(len(mails))]
        for _ in range(3):
            commands = [mta.commands(mail) for mta, mail in zip(mtas, mails)]
            for step in range(len(commands[0])):
                for mta, one in zip(mtas, commands):
                    mta.write(packet(*one[step]))
            for mta, mail in zip(mtas, mails):
                self.assertEqual(mta.answer(MAIL)[0], CONTINUE)
                self.assert_signed(mta.end(mail))

    def test_the_envelope_is_on_the_ledger(self):
        mta = self.connect(self.tcp)
        self.say_some(mta, 5)
        mta.say(ABORT)
        envelope = {"envelope": (b"<alice+x@example.com>", (b"<bob@example.org>", b"<carol@example.net>")),
                    "bounce": (b"<>", (b"<bob@example.org>",)), "none": (b"<alice@example.com>", ()),
                    "eight-bit": (b"<j\xf6rg@example.com>", ("<d\u00f6rte@example.org>".encode(),)),
                    "no-brackets": (b"alice@example.com", (b"bob@example.org",))}
        for name, (sender, recipients) in envelope.items():
            self.assert_signed(mta.submit(Mail(message(name), sender, recipients, AUTHENTICATED)))
        written = {}
        for name in envelope:
            record = self.recorded(name)
            written[name] = record["envelope_sender"], record["recipient_count"]
        self.assertEqual(written, {"envelope": ("alice+x@example.com", 2), "bounce": ("", 1), "none": ("alice@example.com", 0),
                                   "eight-bit": ("j?rg@example.com", 1), "no-brackets": ("alice@example.com", 1)})

    def test_thousands_of_recipients(self):
        mta = self.connect(self.tcp)
        recipients = tuple(b"<recipient-%d-with-a-name-that-is-rather-long@department-%d.example.org>" % (n, n) for n in range(10_000))
        self.assert_signed(mta.submit(Mail(message("recipients"), recipients=recipients, macros=AUTHENTICATED)))
        # More than signerd writes down are no reason to refuse the mail.
        more = recipients + (b"<one-more@example.org>",) * 50
        self.assert_signed(mta.submit(Mail(message("more-recipients"), recipients=more, macros=AUTHENTICATED), connect=False))
        self.assert_says(self.milter, "50 recipients are too many to be told to signerd")

    def test_macros_of_other_commands_and_odd_ones(self):
        mta = self.connect(self.unix)
        name_only = packet(MACRO, b"M" + strings(b"{auth_authen}", b"alice", b"{cert_subject}"))
        odd = packet(MACRO) + packet(MACRO, b"M") + packet(MACRO, b"\0\0\0") + packet(MACRO, b"Zx\0y\0") + packet(MACRO, b"R" + strings(
            *(b"m%d" % number for number in range(2000))))
        self.say_some(mta, 1)
        mta.write(odd + name_only)
        commands = mta.commands(Mail(message("odd-macros")), connect=False)
        for command, payload in commands[:-1]:
            mta.say(command, payload)
        mta.write(packet(*commands[-1]))
        self.assert_signed(mta.end(Mail(message("odd-macros"))))
        # The queue's number goes to the log, and makes no line of its own there.
        macros = {**AUTHENTICATED, EOM: {"i": "4711\nforged: line\x1b[31m"}}
        mta.submit(Mail(message("forged", domain="nobody.example"), macros=macros), connect=False)
        self.assert_says(self.milter, "4711?forged: line?[31m")

    def test_forms_of_the_body_and_whole_messages(self):
        """What [signerd] says of how a message is hashed and of what travels. All verify, and the ledger has the size either way."""
        bodies = {"blanks": b"a \t b \r\n\t\r\n\r\n\r\n", "none": b"", "blank": b"\r\n", "open": b"no end",
                  "large": b"".join(b"%07d  x \r\n" % number for number in range(150_000))}
        for form in ("simple", "relaxed"):
            for whole in (False, True):
                milter = self.start_milter(tables={"signerd": {"body_canonicalization": form, "send_message": whole}})
                with self.connect(milter.address) as mta:
                    for name, body in bodies.items():
                        with self.subTest(name, form=form, whole=whole):
                            text = message(f"{name}-{form}-{whole}", body)
                            answer = mta.submit(Mail(text, macros=AUTHENTICATED, chunk=60_000))
                            self.assert_signed(answer)
                            # signerd's profile rules over what it sees whole.
                            tags = messages.tags(b"DKIM-Signature:" + answer.inserted[0][2])
                            self.assertEqual(tags["c"], "relaxed/relaxed" if whole else f"relaxed/{form}")
                            if name in ("blanks", "large") and form == "simple":
                                octets = self.recorded(f"{name}-{form}-{whole}")["octets"]
                                self.assertEqual(int(octets), len(text))

    def test_a_message_that_is_too_large_to_be_sent_whole(self):
        milter = self.start_milter(tables={"signerd": {"send_message": True, "message_octets": 5000}})
        with self.connect(milter.address) as mta:
            answer = mta.submit(Mail(message("too-large", b"x" * 5000), macros=AUTHENTICATED, chunk=100))
            self.assertRegex(answer.text, r"^550 5\.6\.0 .*MESSAGE_TOO_LARGE")
            self.assert_signed(mta.submit(Mail(message("small"), macros=AUTHENTICATED), connect=False))


class RecipientsInClearTest(MilterCase):
    CONFIG = staticmethod(lambda text: text + '\n[ledger]\nrecipients = "clear"\n')

    def test_thousands_of_recipients_with_long_addresses(self):
        """The ledger cannot keep them all in one record: the mail is signed all the same."""
        milter = self.start_milter()
        recipients = tuple(b"<recipient-%05d-%s@example.org>" % (number, b"x" * 80) for number in range(10_000))
        with self.connect(milter.address) as mta:
            self.assert_signed(mta.submit(Mail(message("in-clear"), recipients=recipients, macros=AUTHENTICATED)))
        self.assert_says(milter, "recipients are too many to be told to signerd")


if __name__ == "__main__":
    unittest.main()
