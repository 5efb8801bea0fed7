"""Every message of tests/corpus, signed in the four canonicalization pairs by RSA and Ed25519, verifies everywhere.

Everywhere is: `dkimctl verify` with a key file and from a DNS server, and each independent verifier that is installed. What
Hallmark is to refuse is in tests/corpus/expected.toml.
"""

import json
import pathlib
import tempfile
import tomllib
import unittest

import corpus_run
import corpus_ways
import deployment
import knot
import known_refusals
import paths
import verifiers


class CorpusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        folder = tempfile.TemporaryDirectory(prefix="hallmark-corpus-")
        cls.addClassCleanup(folder.cleanup)
        cls.found = corpus_run.find_messages(paths.CORPUS)
        cls.run_ = corpus_run.Run(cls.hallmark, cls.found, pathlib.Path(folder.name))
        cls.run_.sign_all()
        cls.expected = tomllib.loads((paths.CORPUS / "expected.toml").read_text())["refused"]

    def test_refuses_what_it_should_with_the_reason(self):
        self.assertEqual(self.run_.refused, self.expected)

    def test_signs_all_others(self):
        self.assertEqual(self.run_.mistakes, [])
        self.assertEqual(self.run_.signed, set(self.found) - set(self.expected))
        self.assertGreaterEqual(len(self.run_.signed), 70)

    def test_every_verifier_accepts(self):
        for verifier in verifiers.each(self):
            with self.subTest(verifier):
                self.run_.verify_all(names=[verifier])
                self.assertEqual([(finding["path"], finding["pair"], finding["algorithm"], finding["detail"])
                                  for finding in self.run_.unexpected() if finding["verifier"] == verifier], [])
        self.assertEqual(self.run_.table.outdated(), [], "rows of known_refusals.toml that no longer hold")

    def test_sign_stream_and_sign_large_give_the_same(self):
        for pair in ("simple/simple", "relaxed/relaxed"):
            ways = corpus_ways.Ways(self.hallmark, self.found, self.run_, pair)
            self.assertEqual(ways.mistakes, [])
            self.assertGreater(len(ways.files), 3 * len(self.run_.signed))  # and the short ones octet by octet
            findings = corpus_run.judged(known_refusals.Table(), "dkimpy", pair, ways.folder,
                                         verifiers.run("dkimpy", ways.folder, self.run_.key_file), ways.files)
            self.assertEqual([(finding["file"], finding["path"], finding["algorithm"], finding["detail"])
                              for finding in findings if finding["judgement"] == "unexpected"], [])

    def assert_dkimctl_accepts(self, *source):
        signed = self.run_.signed_messages()
        run = self.hallmark.dkimctl("verify", "--output", "json", *source, *(file for _, _, file in signed), status=None)
        answers = {entry["file"]: entry for entry in json.loads(run.stdout)["files"]}
        refused = []
        for path, pair, file in signed:
            ours = answers[str(file)]["signatures"][:2]
            if [signature["verdict"] for signature in ours] != ["pass"] * 2:
                refused.append((path, pair, ours))
        self.assertEqual(refused, [])

    def test_dkimctl_accepts_from_dns(self):
        lines = []
        for domain in self.run_.domains():
            lines += self.hallmark.dkimctl("dns", "show", domain).stdout.splitlines()
        with knot.Knot(lines) as server:
            self.assert_dkimctl_accepts("--nameserver", f"127.0.0.1:{server.port}")


if __name__ == "__main__":
    unittest.main()
