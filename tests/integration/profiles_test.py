"""Every option of a signing profile shows in the field, and the verifiers accept the result."""

import pathlib
import tempfile
import unittest

import deployment
import messages
import paths  # noqa: F401  (makes tests/verifiers importable)
import verifiers

from hallmark.admin.v1 import admin_pb2

FULL = (b"Received: from a by b; Mon, 05 Jan 2026 09:30:01 +0100\r\nCc: carol@example.net\r\nX-Case: one\r\nX-Case: two\r\n"
        b"List-Unsubscribe:\r\n <https://example.com/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        + messages.MESSAGE)

PROFILES = {
    "plain": {},
    "both-simple": {"header_canonicalization": "simple", "body_canonicalization": "simple"},
    "identity": {"auid": "@news.example.com"},
    "local-identity": {"auid": "alice@example.com"},
    "expiry": {"expires_after_seconds": 86400},
    "no-time": {"omit_timestamp": True},
    "query": {"query_method": True},
    "copied": {"copied_fields": True},
    "length": {"body_length": True},
    "own-fields": {"signed_fields": ["X-Case", "Subject"], "oversigned_fields": ["From"], "excluded_fields": ["Received"]},
    "everything": {"auid": "@example.com", "expires_after_seconds": 604800, "query_method": True, "copied_fields": True,
                   "body_length": True, "header_canonicalization": "simple"},
}


class ProfilesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        admin = cls.hallmark.admin()
        cls.hallmark.add_domain("example.com")
        cls.answers = {}
        for name, options in PROFILES.items():
            admin.CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(
                profile=admin_pb2.SigningProfile(name=name, **options)))
            admin.UpdateDomain(admin_pb2.UpdateDomainRequest(name="example.com", profile=name))
            cls.answers[name] = cls.hallmark.sign(FULL)

    def fields(self, name):
        return [messages.tags(signature.header_field) for signature in self.answers[name].signatures]

    def test_options_show(self):
        for name in PROFILES:
            for field in self.fields(name):
                with self.subTest(name):
                    options = PROFILES[name]
                    self.assertEqual(field.get("i", ""), options.get("auid", ""))
                    self.assertEqual("t" in field, not options.get("omit_timestamp", False))
                    self.assertEqual("z" in field, options.get("copied_fields", False))
                    self.assertEqual(field.get("q", ""), "dns/txt" if options.get("query_method") else "")
                    self.assertEqual("l" in field, options.get("body_length", False))
                    self.assertEqual(field["c"], "/".join((options.get("header_canonicalization", "relaxed"),
                                                           options.get("body_canonicalization", "relaxed"))))
                    seconds = options.get("expires_after_seconds", 0)
                    self.assertEqual(int(field["x"]) - int(field["t"]) if seconds else "x" in field, seconds or False)

    def test_h_names_what_the_profile_says(self):
        for field in self.fields("plain"):
            names = field["h"].lower().split(":")
            self.assertEqual(names.count("from"), 2)  # oversigned
            self.assertNotIn("received", names)
            self.assertIn("list-unsubscribe", names)
            self.assertIn("list-unsubscribe-post", names)
        for field in self.fields("own-fields"):
            names = field["h"].lower().split(":")
            self.assertEqual({name: names.count(name) for name in set(names)}, {"from": 2, "x-case": 2, "subject": 1})

    def test_body_length_warns(self):
        self.assertIn("BODY_LENGTH_TAG", [warning.code for warning in self.answers["length"].warnings])

    def test_an_expiry_within_two_days_warns(self):
        for profile, warns in (("expiry", True), ("everything", False)):
            with self.subTest(profile):
                codes = [warning.code for warning in self.answers[profile].warnings]
                self.assertEqual("EARLY_EXPIRY" in codes, warns, codes)

    def test_every_verifier_accepts(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "messages").mkdir()
            for profile, answer in self.answers.items():
                (folder / "messages" / f"{profile}.eml").write_bytes(messages.signed(FULL, answer))
            (folder / "keys").write_text("".join(self.hallmark.key_lines(["example.com"])))
            for verifier in verifiers.each(self):
                findings = [finding for finding in verifiers.run(verifier, folder / "messages", folder / "keys")
                            if (verifier, finding["algorithm"]) not in verifiers.UNSUPPORTED]
                with self.subTest(verifier):
                    self.assertEqual([finding for finding in findings if finding["result"] != "pass"], [])
                    self.assertEqual({finding["file"] for finding in findings}, {f"{profile}.eml" for profile in PROFILES})

    def test_wrong_profiles_are_refused(self):
        admin = self.hallmark.admin()
        wrong = ({"name": "Upper"}, {"name": "x", "header_canonicalization": "loose"}, {"name": "x", "auid": "no-at-sign"},
                 {"name": "x", "expires_after_seconds": 10}, {"name": "x", "expires_after_seconds": -1},
                 {"name": "x", "omit_timestamp": True, "expires_after_seconds": 86400, "auid": "a@b;c"},
                 {"name": "x", "excluded_fields": ["From"]}, {"name": "x", "signed_fields": ["Sub ject"]},
                 {"name": "x", "signed_fields": ["Subject:"]}, {"name": "x", "signed_fields": ["S\r\nX"]}, {"name": "default"})
        for options in wrong:
            with self.subTest(options):
                error = self.hallmark.call_error(admin.CreateSigningProfile, admin_pb2.CreateSigningProfileRequest(
                    profile=admin_pb2.SigningProfile(**options)))
                self.assertIn(deployment.error_reason(error), ("INVALID_ARGUMENT", "ALREADY_EXISTS"))

    def test_an_auid_is_within_the_domains_of_its_profile(self):
        admin, profile = self.hallmark.admin(), admin_pb2.SigningProfile(name="auid-of-example", auid="@mail.example.com")
        admin.CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(profile=profile))

        def refused(call, request):
            error = self.hallmark.call_error(call, request)
            self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")
            self.assertIn("auid", error.details())

        refused(admin.CreateDomain, admin_pb2.CreateDomainRequest(name="auid.example", profile="auid-of-example"))
        admin.CreateDomain(admin_pb2.CreateDomainRequest(name="auid.example"))
        refused(admin.UpdateDomain, admin_pb2.UpdateDomainRequest(name="auid.example", profile="auid-of-example"))
        profile.auid = "@mail.auid.example"
        admin.UpdateSigningProfile(admin_pb2.UpdateSigningProfileRequest(profile=profile))
        admin.UpdateDomain(admin_pb2.UpdateDomainRequest(name="auid.example", profile="auid-of-example"))
        profile.auid = "@mail.example.com"
        refused(admin.UpdateSigningProfile, admin_pb2.UpdateSigningProfileRequest(profile=profile))
        self.assertEqual(admin.GetSigningProfile(admin_pb2.GetSigningProfileRequest(name="auid-of-example")).auid, "@mail.auid.example")

    def test_a_change_of_what_was_changed_meanwhile_is_refused(self):
        admin = self.hallmark.admin()
        admin.CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(profile=admin_pb2.SigningProfile(name="shared")))

        def update(profile):
            return admin.UpdateSigningProfile(admin_pb2.UpdateSigningProfileRequest(profile=profile))

        mine, theirs = (admin.GetSigningProfile(admin_pb2.GetSigningProfileRequest(name="shared")) for _ in range(2))
        theirs.query_method = True
        theirs = update(theirs)
        mine.copied_fields = True
        error = self.hallmark.call_error(update, mine)
        self.assertEqual(deployment.error_reason(error), "STATE_CONFLICT")
        self.assertIn("shared", error.details())
        now = admin.GetSigningProfile(admin_pb2.GetSigningProfileRequest(name="shared"))
        self.assertEqual(now, theirs)
        now.copied_fields = True
        self.assertTrue(update(now).query_method)
        # Who did not look is not asked.
        now.etag, now.copied_fields = "", False
        self.assertFalse(update(now).copied_fields)


if __name__ == "__main__":
    unittest.main()
