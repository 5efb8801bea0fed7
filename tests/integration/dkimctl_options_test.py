"""Options of dkimctl that change one thing each: it is that one which signerd then has, and the others stay."""

import unittest

import deployment
import messages

REFUSED = 4  # dkimctl explain
DAY = 86400


class OptionsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment(start=False)
        cls.addClassCleanup(cls.hallmark.close)
        cls.hallmark.edit_policy(lambda text: text.replace("[[relay]]", "[partner.quota]\nrecipients_per_message = 2\n\n[[relay]]", 1))
        cls.hallmark.start()
        for domain in ("example.com", "sub.example.com"):
            cls.hallmark.add_domain(domain, algorithms=deployment.KEY_ALGORITHMS[1:])

    def test_times_of_a_rotation_policy(self):
        def shown():
            return self.hallmark.dkimctl_json("key", "policy", "show", "example.com")

        self.hallmark.dkimctl("key", "policy", "set", "example.com", "--lifetime", "60d")
        expected = shown()
        for option, days in (("retire", 8), ("revoked", 41), ("trash", 52)):
            with self.subTest(option):
                self.hallmark.dkimctl("key", "policy", "set", "example.com", f"--{option}", f"{days}d")
                expected |= {f"{option}_seconds": str(days * DAY), "etag": shown()["etag"]}
                self.assertEqual(shown(), expected)
        table = self.hallmark.dkimctl("key", "policy", "show", "example.com").stdout
        self.assertRegex(table, r"(?s)revoked: +41d\n.*trash: +52d\n")

    def test_fields_and_tags_of_a_profile(self):
        def after(*options):
            """The profile once these are set; without what tells two versions of it apart."""
            self.hallmark.dkimctl("profile", "set", "one-by-one", *options)
            return {name: value for name, value in self.hallmark.dkimctl_json("profile", "show", "one-by-one").items() if name != "etag"}

        first = expected = after()
        for name, value, options in (("oversigned_fields", ["From", "Subject"], ("--oversigned-fields", "From,Subject")),
                                     ("excluded_fields", ["Received"], ("--excluded-fields", "Received")),
                                     ("copied_fields", True, ("--copied-fields",)), ("body_length", True, ("--body-length",)),
                                     ("omit_timestamp", True, ("--no-timestamp",))):
            with self.subTest(name):
                self.assertNotEqual(expected[name], value)
                expected = expected | {name: value}
                self.assertEqual(after(*options), expected)
        for name, options in (("oversigned_fields", ("--oversigned-fields", "default")), ("copied_fields", ("--no-copied-fields",)),
                              ("body_length", ("--no-body-length",)), ("omit_timestamp", ("--timestamp",))):
            with self.subTest(options):
                expected = expected | {name: first[name]}
                self.assertEqual(after(*options), expected)

    def test_a_profile_signs_as_it_was_set(self):
        self.hallmark.dkimctl("profile", "set", "all-at-once", "--oversigned-fields", "From,Subject", "--excluded-fields", "To,Date",
                              "--copied-fields", "--body-length", "--no-timestamp")
        self.hallmark.dkimctl("domain", "set-profile", "example.com", "all-at-once")
        [signature] = self.hallmark.sign(messages.MESSAGE).signatures
        tags = messages.tags(signature.header_field)
        fields = tags["h"].lower().split(":")
        self.assertEqual([fields.count(name) for name in ("from", "subject", "to", "date")], [2, 2, 0, 0])
        self.assertEqual([tag in tags for tag in ("z", "l", "t")], [True, True, False])

    def explain(self, *options, status=0):
        path = self.hallmark.folder / "message.eml"
        path.write_bytes(messages.MESSAGE.replace(b"@example.com", b"@sub.example.com"))
        return self.hallmark.dkimctl("explain", path, "--relay", "relay1", *options, status=status).stdout

    def test_explain_for_a_signing_domain_and_recipients(self):
        self.assertIn("signed for sub.example.com", self.explain())
        self.assertIn("signed for example.com", self.explain("--signing-domain", "example.com"))
        self.assertIn("refused: DOMAIN_NOT_CONFIGURED", self.explain("--signing-domain", "example.net", status=REFUSED))
        self.assertIn("signed for sub.example.com", self.explain("--recipients", "2"))
        self.assertIn("refused: RECIPIENTS_EXCEEDED", self.explain("--recipients", "3", status=REFUSED))

    def test_explain_of_a_header_that_is_too_large(self):
        path = self.hallmark.folder / "large.eml"
        for octets in ((1 << 20) + 1, 3 << 20):  # of the second dkimctl sends the beginning alone
            with self.subTest(octets):
                path.write_bytes(b"From: a@example.com\r\nX: " + b"x" * octets + b"\r\n\r\nHello\r\n")
                run = self.hallmark.dkimctl("explain", path, "--relay", "relay1", status=REFUSED)
                self.assertRegex(run.stdout, r"(?m)^header +REFUSED +the header is larger than")
                self.assertIn("refused: HEADER_TOO_LARGE", run.stdout)


if __name__ == "__main__":
    unittest.main()
