"""The adapters of the independent verifiers: each tells a good message from a tampered one, and says so for each signature."""

import base64
import pathlib
import tempfile
import unittest

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

import messages
import paths  # noqa: F401  (makes tests/verifiers importable)
import verifiers


def _keys():
    """(RSA private key as PEM, Ed25519 seed in base64, lines of a key file)."""
    rsa_key, ed_key = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    spki = rsa_key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    point = ed_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    pem = rsa_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                serialization.NoEncryption())
    seed = ed_key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return pem, base64.b64encode(seed), (
        f"r._domainkey.example.com TXT v=DKIM1; k=rsa; p={base64.b64encode(spki).decode()}\n"
        f"e._domainkey.example.com TXT v=DKIM1; k=ed25519; p={base64.b64encode(point).decode()}\n")


class AdaptersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="hallmark-adapters-")
        root = pathlib.Path(cls.folder.name)
        pem, seed, lines = _keys()
        pair = (b"relaxed", b"relaxed")
        good = (dkim.sign(messages.MESSAGE, b"r", b"example.com", pem, canonicalize=pair)
                + dkim.sign(messages.MESSAGE, b"e", b"example.com", seed, canonicalize=pair,
                            signature_algorithm=b"ed25519-sha256") + messages.MESSAGE)
        foreign = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=old; h=from; bh=AA==; b=AA==\r\n"
        (root / "messages").mkdir()
        for name, message in (("good", good), ("body", good.replace(b"noon", b"nine")),
                              ("header", good.replace(b"Subject: Lunch", b"Subject: Launch")), ("foreign", foreign + good),
                              ("unsigned", messages.MESSAGE)):
            (root / "messages" / f"{name}.eml").write_bytes(message)
        (root / "keys").write_text(lines)
        cls.findings = {name: verifiers.run(name, root / "messages", root / "keys") for name in verifiers.names()}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def results(self, verifier, file):
        """{algorithm: result} of our two signatures."""
        found = {finding["algorithm"]: finding["result"] for finding in self.findings[verifier]
                 if finding["file"] == file and finding["domain"] == "example.com"}
        return {algorithm: result for algorithm, result in found.items()
                if (verifier, algorithm) not in verifiers.UNSUPPORTED or result != "unsupported"}

    def expected(self, verifier, result):
        return {algorithm: result for algorithm in ("rsa-sha256", "ed25519-sha256")
                if (verifier, algorithm) not in verifiers.UNSUPPORTED}

    def test_there_are_verifiers(self):
        self.assertGreaterEqual(set(verifiers.names()), {"opendkim", "dkimpy", "mail-dkim"})

    def test_good_message_passes(self):
        for verifier in verifiers.each(self):
            with self.subTest(verifier):
                self.assertEqual(self.results(verifier, "good.eml"), self.expected(verifier, "pass"))

    def test_tampered_message_fails(self):
        for verifier in verifiers.each(self):
            for file in ("body.eml", "header.eml"):
                with self.subTest(verifier, file=file):
                    self.assertEqual(self.results(verifier, file), self.expected(verifier, "fail"))

    def test_old_signature_does_not_hide_ours(self):
        for verifier in verifiers.each(self):
            with self.subTest(verifier):
                self.assertEqual(self.results(verifier, "foreign.eml"), self.expected(verifier, "pass"))
                indexes = [finding["index"] for finding in self.findings[verifier]
                           if finding["file"] == "foreign.eml" and finding["domain"] == "example.com"]
                self.assertEqual(indexes, [1, 2])

    def test_unsigned_message_has_no_finding(self):
        for verifier in verifiers.each(self):
            with self.subTest(verifier):
                self.assertEqual(self.results(verifier, "unsigned.eml"), {})


if __name__ == "__main__":
    unittest.main()
