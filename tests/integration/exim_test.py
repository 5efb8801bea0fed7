"""The recipe for Exim in docs/relays.md, word for word, with Debian's Exim: what goes out verifies, what cannot be signed waits."""

import os
import pathlib
import re
import unittest

import deployment
import dkim_sign_test
import exim
import mail_way
import messages
import opendkim
import postfix
from waiting import wait_for

RECIPE = pathlib.Path(__file__).resolve().parents[2] / "docs/relays.md"
UNCONFIGURED = dkim_sign_test.UNCONFIGURED
# signerd warns of it, and Exim would take a word on standard error for part of the message.
TIGHT = messages.MESSAGE.replace(b"bob@example.org>", b"bob@example.org>,carol@example.org")
DOTS = messages.MESSAGE + b".\r\n..leading dots\r\n.\r\nwhite \t space \r\n\r\n\r\n"


def recipe(config):
    """The lines for the transport, with the programs and files of this test."""
    block = re.search(r"\n    remote_smtp:\n      driver = smtp\n((?:      .*\n)+)", RECIPE.read_text()).group(1)
    lines = [line.strip() for line in block.splitlines()]
    # What Exim itself needs preloaded a program with a sanitizer does not bear.
    program = f"/usr/bin/env -u LD_PRELOAD {deployment.BIN / 'dkim-sign'}"
    changed = [line.replace("/usr/bin/dkim-sign", program).replace("/etc/hallmark/dkim-sign.toml", str(config)) for line in lines]
    if changed == lines:
        raise AssertionError("the recipe names dkim-sign and its configuration no more")
    return changed


@unittest.skipUnless(exim.installed(), "tools/check could not get Exim")
@unittest.skipUnless(os.geteuid() == 0, "Exim and Postfix must be started by root")
class EximTest(unittest.TestCase):
    def test_mail_leaves_signed_or_waits(self):
        with deployment.Deployment() as hallmark:
            hallmark.folder.chmod(0o755)  # dkim-sign runs as Exim's user
            hallmark.add_domain("example.com")
            config = dkim_sign_test.write_config(hallmark, timeout_ms=5000)
            (hallmark.folder / "tls/relay1.key").chmod(0o644)
            keys = hallmark.key_lines(["example.com"])
            with opendkim.OpenDkim(keys) as verifier, \
                    postfix.Postfix(settings={"smtpd_milters": verifier.address}, hostname="receiver.example") as receiver, \
                    exim.Exim(recipe(config), next(iter(receiver.ports.values()))) as relay:
                self.signed(relay, receiver, keys)
                self.deferred(hallmark, relay, receiver)

    def signed(self, relay, receiver, keys):
        relay.send("alice@example.com", [mail_way.LOCAL, "second@local.example"], DOTS)
        relay.send("alice@example.com", [mail_way.LOCAL], UNCONFIGURED)
        relay.send("alice@example.com", [mail_way.LOCAL], TIGHT)
        delivered = wait_for(lambda: receiver.maildir.count() == 4 and receiver.maildir.read(), "delivery of four messages")
        for mail in delivered:
            message = opendkim.without_results(mail.message)
            if b"elsewhere.example" in message:
                self.assertEqual(opendkim.results(mail.message), ["none"])
                continue
            self.assertEqual(opendkim.results(mail.message), ["pass", "pass"])
            self.assertNotIn(b"dkim-sign", message)
            if b",carol@" not in message:
                self.assertIn(b"\r\n.\r\n..leading dots\r\n.\r\n", message)
            own = mail_way.own_signatures(message[message.index(b"DKIM-Signature:"):], mail_way.keys_of(keys))
            self.assertEqual([accepted for _, _, accepted in own], [True, True])
        receiver.maildir.clear()

    def deferred(self, hallmark, relay, receiver):
        """While signerd is away mail waits, and then leaves, signed; what is refused stays."""
        hallmark.stop()
        relay.send("alice@example.com", [mail_way.LOCAL], messages.MESSAGE)
        relay.await_log("transport filter process failed (75)")
        self.assertEqual((relay.queued(), receiver.maildir.count()), (1, 0))
        hallmark.start()
        dkim_sign_test.write_config(hallmark, timeout_ms=5000)
        (mail,) = receiver.maildir.wait(1)
        self.assertEqual(opendkim.results(mail.message), ["pass", "pass"])
        wait_for(lambda: relay.queued() == 0, "an empty queue")
        relay.send("alice@example.com", [mail_way.LOCAL], b"From: b@example.com\r\n" + messages.MESSAGE)
        relay.await_log("transport filter process failed (65)")
        self.assertEqual((relay.queued(), receiver.maildir.count()), (1, 1))


if __name__ == "__main__":
    unittest.main()
