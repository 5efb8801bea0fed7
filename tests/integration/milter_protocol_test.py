"""dkim-milter speaks the milter protocol: every version and offer, packets cut anywhere, and octets that no MTA sends."""

import random
import struct

import unittest

import milter_client
from milter_case import AUTHENTICATED, MilterCase, message, scrape
from milter_client import (BODY, CONNECT, CONTINUE, DATA, EOH, EOM, HEADER, HELO, MACRO, MAIL, NEGOTIATE, QUIT, RCPT, UNKNOWN,
                           FilterClosed, Mail, MilterConnection, packet, strings)


def octet_by_octet(octets):
    return [octets[at:at + 1] for at in range(len(octets))]


def cut_at(*places):
    def pieces(octets):
        ends = [*places, len(octets)]
        return [octets[start:end] for start, end in zip([0, *ends], ends)]
    return pieces


def offer(version=6, actions=milter_client.ALL_ACTIONS, steps=milter_client.ALL_STEPS):
    return packet(NEGOTIATE, struct.pack("!III", version, actions, steps))


# What no MTA sends; each ends its connection. After a negotiation, and a message's MAIL and RCPT.
BROKEN = {
    "length 0": b"\0\0\0\0",
    "length 0, then more": b"\0\0\0\0" + packet(EOM),
    "the longest length": b"\xff\xff\xff\xff",
    "a negative length": b"\x80\0\0\0B",
    "a packet of 16 MiB": b"\x01\0\0\0B" + b"x" * 1000,
    "an unknown command": packet(b"z", b"payload"),
    "NUL as a command": packet(b"\0"),
    "an answer as a command": packet(CONTINUE),
    "a short negotiation": packet(NEGOTIATE, b"\0\0\0\6"),
    "an empty negotiation": packet(NEGOTIATE),
    "SMTP": b"EHLO client.example\r\nMAIL FROM:<a@example.com>\r\n",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200,
    "header after the body": packet(BODY, b"x") + packet(HEADER, strings(b"X", b"y")),
    "header after the end of the header": packet(EOH) + packet(HEADER, strings(b"X", b"y")),
    "recipient after the body": packet(BODY, b"x") + packet(RCPT, strings(b"<x@example.org>")),
    "end of the header twice": packet(EOH) + packet(EOH),
}
# The same without a message under way.
OUT_OF_PLACE = {
    "recipient": packet(RCPT, strings(b"<x@example.org>")), "header": packet(HEADER, strings(b"X", b"y")),
    "end of the header": packet(EOH), "body": packet(BODY, b"x"), "end of the message": packet(EOM), "data": packet(DATA),
}


class MilterProtocolTest(MilterCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.milter = cls.start_milter(cls, cls.addClassCleanup, tables={"outbound": {"networks": []}})
        cls.tcp, cls.unix = cls.milter.addresses

    def begun(self, address=""):
        """A connection within a message."""
        mta = self.connect(address or self.unix)
        for command, payload in mta.commands(Mail(message(), macros=AUTHENTICATED))[:-1]:
            if command in (MACRO, CONNECT, MAIL, RCPT):
                mta.say(command, payload)
        return mta

    def test_every_version_and_family(self):
        for address in (self.tcp, self.unix):
            for version in (2, 3, 4, 6):
                for domain in ("example.com", "simple.example"):
                    with self.subTest(address=address, version=version, domain=domain):
                        mta = self.connect(address, version=version)
                        self.assertEqual(mta.version, version)
                        for last in (False, True):
                            mail = Mail(message(f"v{version}-{last}", domain=domain), macros=AUTHENTICATED, last_chunk_with_end=last)
                            self.assert_signed(mta.submit(mail, connect=not last), domain)
                        mta.say(QUIT)
                        self.assertTrue(mta.closed())

    def test_simple_canonicalization_survives_odd_white_space(self):
        text = (b"From:alice@simple.example\r\nTo:   bob@example.org  \r\nSubject:\tx\r\n\t \r\n  y \r\nMessage-ID:\r\n <odd@simple.example>\r\n"
                b"Cc: \r\n\r\nbody \r\n\r\n\r\n")
        self.assert_signed(self.connect(self.unix).submit(Mail(text, macros=AUTHENTICATED)), "simple.example")

    def test_only_what_is_needed_is_asked_for(self):
        mta = self.connect(self.tcp)
        self.assertEqual(mta.actions, milter_client.ADDS_HEADERS | milter_client.SETS_MACROS)
        self.assertEqual([command for command in milter_client.DECLINED if mta.wants(command)], [CONNECT, MAIL, RCPT, BODY, HEADER, EOH])
        self.assertEqual([command for command in milter_client.UNANSWERED if mta.wants(command) and mta.answers(command)], [MAIL])
        self.assertTrue(mta.steps & milter_client.LEADING_SPACE)
        self.assertEqual({name for names in mta.asked.values() for name in names},
                         {"j", "i", "{daemon_name}", "{daemon_port}", "{auth_authen}", "{cert_subject}", "{verify}"})

    def test_whatever_an_mta_offers(self):
        every = milter_client.ALL_STEPS
        flags = [1 << bit for bit in range(21)]
        steps = [0, *flags, *(every & ~flag for flag in flags), 0xffffffff & ~0x400]
        for number, offered in enumerate(steps):
            with self.subTest(steps=hex(offered)):
                mta = self.connect(self.unix, steps=offered, actions=milter_client.ALL_ACTIONS if number % 2 else 0x3f)
                self.assert_signed(mta.submit(Mail(message(f"steps-{number}"), macros=AUTHENTICATED)))
                mta.close()

    def test_an_mta_without_header_fields_to_add_is_told_at_once(self):
        for actions in (0, milter_client.ALL_ACTIONS & ~milter_client.ADDS_HEADERS):
            mta = MilterConnection(self.tcp)
            self.addCleanup(mta.close)
            mta.write(offer(actions=actions))
            self.assertTrue(mta.closed())
        self.assert_says(self.milter, "lets no milter add header fields")

    def test_versions_that_there_are_not(self):
        for version in (0, 1):
            mta = MilterConnection(self.tcp)
            self.addCleanup(mta.close)
            mta.write(offer(version))
            self.assertTrue(mta.closed(), version)
        for version in (7, 0xffffffff):
            mta = self.connect(self.tcp, version=version)
            self.assertEqual(mta.version, 6)
            self.assert_signed(mta.submit(Mail(message(f"version-{version}"), macros=AUTHENTICATED)))

    def test_cut_anywhere(self):
        for negotiation in ({}, {"version": 2}):
            mta = self.connect(self.unix, **negotiation)
            mail = Mail(message("cut"), macros=AUTHENTICATED)
            length = sum(len(packet(*command)) for command in mta.commands(mail))
            self.assert_signed(mta.submit_octets(mail, octet_by_octet))
            for cut in range(1, length, 1 if not negotiation else 7):
                answer = mta.submit_octets(mail, cut_at(cut))
                self.assertEqual((answer.verdict, len(answer.inserted)), (CONTINUE, 2), f"cut at {cut}")
                if cut % 16 == 1:
                    self.assert_signed(answer)

    def test_several_messages_in_one_write(self):
        mta = self.connect(self.unix)
        mails = [Mail(message(f"of-many-{number}", body=b"x" * number), macros=AUTHENTICATED) for number in range(20)]
        commands = [mta.commands(mail, connect=mail is mails[0]) for mail in mails]
        mta.write(b"".join(packet(*command) for one in commands for command in one) + packet(QUIT))
        for mail, one in zip(mails, commands):
            self.assertEqual([mta.answer(command)[0] for command, _ in one if command != EOM and mta.answers(command)], [CONTINUE])
            self.assert_signed(mta.end(mail))
        self.assertTrue(mta.closed())

    def test_body_chunks_of_every_size(self):
        body = b"".join(b"%06d %s \r\n" % (number, b"x" * (number % 70)) for number in range(5000)) + b"\r\n \r\n\r\n"
        for chunk in (65535, 65534, 65530, 4096, 77):
            for last in (False, True):
                mail = Mail(message(f"chunk-{chunk}-{last}", body), macros=AUTHENTICATED, chunk=chunk, last_chunk_with_end=last)
                self.assert_signed(self.connect(self.tcp).submit(mail))

    def test_body_cut_between_cr_and_lf_and_empty_chunks(self):
        mta = self.begun()
        text = message("cr-lf", b"one\r\ntwo \r\n\r\n\r\n")
        for name, value in milter_client.split(text)[0]:
            mta.say(HEADER, strings(name, value))
        mta.say(EOH)
        for chunk in (b"", b"one\r", b"\ntwo", b"", b" ", b"\r", b"", b"\n\r\n\r"):
            self.assertIsNone(mta.say(BODY, chunk))
        mta.write(packet(EOM, b"\n"))
        self.assert_signed(mta.end(Mail(text)))

    def test_no_body_and_no_end_of_the_header(self):
        for body in (b"", b"\r\n", b"x"):
            self.assert_signed(self.connect(self.unix).submit(Mail(message("bodies", body), macros=AUTHENTICATED)))
        text = message("no-end", b"")
        mta = self.begun()
        for name, value in milter_client.split(text)[0]:
            mta.say(HEADER, strings(name, value))
        mta.write(packet(EOM))
        self.assert_signed(mta.end(Mail(text)))

    def test_long_header_fields(self):
        for size in (65535, 102400, 1_000_000):
            text = b"X-Long: " + b"\r\n ".join([b"y" * 70] * (size // 72)) + b"\r\n" + message(f"long-{size}")
            self.assert_signed(self.connect(self.tcp).submit(Mail(text, macros=AUTHENTICATED)))

    def test_what_no_mta_sends_ends_its_connection_alone(self):
        other = self.begun(self.tcp)
        before = scrape(self.milter)["hallmark_milter_protocol_errors_total"]
        for name, octets in BROKEN.items():
            with self.subTest(name):
                mta = self.begun()
                mta.write(octets)
                self.assertTrue(mta.closed())
        for name, octets in {**OUT_OF_PLACE, "SMTP": BROKEN["SMTP"]}.items():
            with self.subTest(name, between=True):
                mta = self.connect(self.unix)
                mta.write(octets)
                self.assertTrue(mta.closed())
            with self.subTest(name, negotiated=False):
                mta = MilterConnection(self.unix)
                self.addCleanup(mta.close)
                mta.write(octets)
                self.assertTrue(mta.closed())
        count = len(BROKEN) + 2 * len(OUT_OF_PLACE) + 2
        self.assertEqual(scrape(self.milter)["hallmark_milter_protocol_errors_total"] - before, count)
        # The message that was under way all the while.
        text = message("meanwhile")
        for name, value in milter_client.split(text)[0]:
            other.say(HEADER, strings(name, value))
        other.say(EOH)
        other.write(packet(EOM, b"At noon?\r\n"))
        self.assert_signed(other.end(Mail(text)))

    def test_answers_that_are_due_come_before_the_end(self):
        mta = self.connect(self.tcp)
        mail = Mail(message("due"), macros=AUTHENTICATED)
        mta.write(b"".join(packet(*command) for command in mta.commands(mail)) + b"\xff\xff\xff\xff")
        self.assertEqual(mta.answer(MAIL)[0], CONTINUE)
        self.assert_signed(mta.end(mail))
        self.assertTrue(mta.closed())

    def test_octets_by_chance(self):
        chance = random.Random(1)
        for _ in range(300):
            mta = MilterConnection(self.unix)
            try:
                mta.write(offer() if chance.random() < .8 else b"")
                for _ in range(chance.randrange(1, 20)):
                    command = bytes([chance.choice(b"ABCDEHKLMNOQRTU" + bytes(range(256)) if chance.random() < .2 else b"BCDEHLMNRTU")])
                    mta.write(packet(command, chance.randbytes(chance.choice((0, 1, 2, 5, 40, 300)))))
            except FilterClosed:
                pass
            mta.close()
        self.assert_signs(self.tcp)

    def test_strings_that_are_missing(self):
        """Nothing is guessed: what is no message is refused by signerd, in words that an MTA may pass on."""
        for name, payload in {"no string": b"", "no value": strings(b"X Y"), "no name": strings(b"", b"y"), "no NUL": b"X Y"}.items():
            with self.subTest(name):
                mta = self.begun()
                mta.say(HEADER, payload)
                mta.write(packet(EOM))
                code, text, changes = mta.changes()
                self.assertEqual((code, changes), (milter_client.REPLYCODE, []))
                self.assertRegex(text, r"^550 5\.6\.0 .*HEADER_MALFORMED")
        mta = self.connect(self.unix)
        mta.write(packet(MACRO, b"M" + strings(b"auth_authen", b"alice")) + packet(MAIL) + packet(RCPT) + packet(UNKNOWN, b"VRFY")
                  + packet(HELO))
        self.assertEqual(mta.answer(MAIL)[0], CONTINUE)
        for name, value in milter_client.split(message("no-strings"))[0]:
            mta.say(HEADER, strings(name, value))
        mta.write(packet(EOM, b"At noon?\r\n"))
        self.assert_signed(mta.end(Mail(message("no-strings"))))


if __name__ == "__main__":
    unittest.main()
