"""dkim-sign, the filter: what it writes verifies, what it cannot sign it does not write, and one signerd of two is enough."""

import base64
import hashlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile
import threading
import unittest

import deployment
import messages
import paths  # noqa: F401  (makes tests/verifiers importable)
import verifiers
import ways_test
from waiting import wait_for

OK, USAGE, DATA, IO, TEMPORARY, REFUSED, CONFIG = 0, 64, 65, 74, 75, 77, 78
UNCONFIGURED = messages.MESSAGE.replace(b"example.com>", b"elsewhere.example>")
# What is told of ways_test.BODIES. That lines end in LF is not: it is the usual thing for a filter.
WARNED = {"bare-CR": ("NO_FINAL_CRLF", "BARE_CR"), "no-final-CRLF": ("NO_FINAL_CRLF",), "binary": ("NO_FINAL_CRLF", "BARE_CR"),
          "long-line": ("LONG_LINE",)}
LARGEST_RESIDENT_KB = 64 << 10
# Runs a program and says on standard error how much memory it had at most; a small process, which it is forked from, counts too.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def write_config(hallmark, name="sign.toml", servers=None, **more):
    """A configuration of dkim-sign in the deployment's folder, as relay1."""
    keys = {"server_name": "localhost", "ca": "tls/server-ca.pem", "certificate": "tls/relay1.pem", "private_key": "tls/relay1.key",
            "timeout_ms": 20000, **more}
    lines = [f"{key} = {value if isinstance(value, int) else f'{chr(34)}{value}{chr(34)}'}\n" for key, value in keys.items()]
    path = hallmark.folder / name
    path.write_text(f"[signerd]\nservers = {servers or [hallmark.signing_address]}\n" + "".join(lines))
    return path


def run(config, *arguments, message=messages.MESSAGE):
    """The finished process."""
    return subprocess.run([deployment.BIN / "dkim-sign", "--config", config, *arguments], input=message, capture_output=True,
                          timeout=120, check=False)


class DkimSignTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.hallmark.add_domain("example.com")
        cls.config = write_config(cls.hallmark)

    def sign(self, *arguments, config=None, message=messages.MESSAGE, warned=(), line_end=b"\r\n"):
        """Standard output; it must have been signed, with these warnings and no other word."""
        finished = run(config or self.config, *arguments, message=message)
        self.assertEqual((finished.returncode, tuple(re.findall(r"^dkim-sign: warning: ([A-Z_]+): .+\n", finished.stderr.decode(), re.M))),
                         (OK, tuple(warned)))
        self.assertEqual(finished.stderr.count(b"\n"), len(warned))
        written = re.sub(rb"\r\n|\r|\n", line_end, message)
        self.assertTrue(finished.stdout.endswith(written if written.endswith(line_end) else written + line_end))
        return finished.stdout

    def assert_ends(self, finished, status, *words):
        """It ended so, complained in one line with these words, and wrote nothing."""
        self.assertEqual((finished.returncode, finished.stdout), (status, b""), finished.stderr)
        self.assertEqual(finished.stderr.count(b"\n"), 1)
        for word in words:
            self.assertIn(word, finished.stderr.decode())

    def assert_verifies(self, signed, signatures=2):
        """Every verifier here accepts each of these messages {name: octets}."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for name, octets in signed.items():
                (folder / f"{name}.eml").write_bytes(octets)
            keys = folder / "keys.txt"
            keys.write_text("".join(self.hallmark.key_lines(["example.com"])))
            for verifier in verifiers.each(self):
                findings = verifiers.run(verifier, folder, keys)
                self.assertEqual(len(findings), signatures * len(signed), verifier)
                for finding in findings:
                    unsupported = (verifier, finding["algorithm"]) in verifiers.UNSUPPORTED
                    self.assertEqual(finding["result"], "unsupported" if unsupported else "pass", finding)

    def test_what_it_writes_verifies_with_every_verifier(self):
        """As it stands: nothing but the octets that were written."""
        signed = {name: self.sign(message=ways_test.HEAD + body, warned=WARNED.get(name, ())) for name, body in ways_test.BODIES.items()}
        self.assert_verifies(signed)

    def test_body_hashes_are_those_of_the_canonical_body(self):
        for form in ways_test.FORMS:
            config = write_config(self.hallmark, f"{form}.toml", body_canonicalization=form)
            for name, body in ways_test.BODIES.items():
                signed = self.sign(config=config, message=ways_test.HEAD + body, warned=WARNED.get(name, ()))
                tags = messages.tags(signed[:signed.index(b"\r\nFrom:")])
                digest = hashlib.sha256(ways_test.canonical_body(body, form)).digest()
                self.assertEqual((tags["bh"], tags["c"]), (base64.b64encode(digest).decode(), f"relaxed/{form}"), (form, name))

    def test_lf_stays_lf(self):
        """Its program makes CRLF of LF, and of nothing else."""
        signed = self.sign(message=messages.MESSAGE.replace(b"\r\n", b"\n"), line_end=b"\n")
        self.assertNotIn(b"\r", signed)
        mixed = self.sign(message=messages.MESSAGE.replace(b"\r\n", b"\n") + b"bare\rCR\r\r\nCRLF", warned=("NO_FINAL_CRLF", "BARE_CR"), line_end=b"\n")
        self.assertNotIn(b"\r", mixed)
        self.assert_verifies({"lf": signed.replace(b"\n", b"\r\n"), "mixed": mixed.replace(b"\n", b"\r\n")})

    def test_no_word_goes_into_the_message(self):
        """Exim gives a filter one pipe for standard output and standard error."""
        for message, arguments in ((ways_test.HEAD + ways_test.BODIES["long-line"], ()), (UNCONFIGURED, ("--on-failure", "pass"))):
            finished = subprocess.run([deployment.BIN / "dkim-sign", "--config", self.config, *arguments], input=message, timeout=120, check=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertTrue(finished.stdout.endswith(message))
            self.assertNotIn(b"dkim-sign:", finished.stdout)

    def test_the_envelope_and_the_partner_arrive(self):
        self.sign("--partner", "own", "--domain", "example.com", "--sender=alice@example.com", "--", "bob@example.org", "-odd@example.org")
        # The search index is behind the ledger.
        found = wait_for(lambda: self.hallmark.dkimctl_json("ledger", "search", "--recipient", "-odd@example.org")["records"],
                         "the ledger's record")
        self.assertIn("alice@example.com", str(found))
        self.assert_ends(run(self.config, "--partner", "nobody"), REFUSED, "PARTNER_NOT_ALLOWED")

    def test_a_large_message_is_not_kept_in_memory(self):
        message = messages.MESSAGE + (b"x" * 76 + b"\r\n") * 800_000
        measured = [deployment.BIN / "dkim-sign", "--config", self.config]
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
            source.write(message)
            source.seek(0)
            finished = subprocess.run(["/usr/bin/python3", "-c", MEASURE, *measured], stdin=source, stdout=target, stderr=subprocess.PIPE,
                                      check=True, timeout=120)
            target.seek(0)
            self.assertTrue(target.read().endswith(message))
        resident = int(finished.stderr)
        print(f"dkim-sign: {resident} kB resident with a message of {len(message)} octets")
        if not deployment.sanitized():
            self.assertLess(resident, LARGEST_RESIDENT_KB)

    def test_the_whole_message_may_travel(self):
        config = write_config(self.hallmark, "whole.toml", timeout_ms=60000, message_octets=4 << 20)
        config.write_text(config.read_text() + "send_message = true\n")
        self.sign(config=config)
        self.sign(config=config, message=messages.MESSAGE + b"x\r\n" * (1 << 20))
        self.assert_ends(run(config, message=messages.MESSAGE + b"x" * (4 << 20)), DATA, "MESSAGE_TOO_LARGE")

    def test_what_cannot_be_signed_is_not_written(self):
        self.assert_ends(run(self.config, message=b"To: a@example.com\r\n\r\nHi\r\n"), DATA, "FROM_MISSING")
        self.assert_ends(run(self.config, message=b""), DATA, "FROM_MISSING")
        self.assert_ends(run(self.config, message=UNCONFIGURED), REFUSED, "DOMAIN_NOT_CONFIGURED")
        self.assert_ends(run(self.config, "--on-failure", "maybe"), USAGE, "maybe")
        self.assert_ends(run("/nowhere.toml"), CONFIG, "/nowhere.toml")
        self.assert_ends(run(write_config(self.hallmark, "bad.toml", private_key="tls/server-ca.pem")), CONFIG, "private key")

    def run_with(self, message, **options):
        return subprocess.run([deployment.BIN / "dkim-sign", "--config", self.config], input=message, timeout=120, check=False,
                              **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})

    def test_what_cannot_be_written_or_kept_is_an_error(self):
        """Never a part of the message with the status of a whole one."""
        large = messages.MESSAGE + (b"x" * 76 + b"\r\n") * 40_000  # more than it keeps in memory
        with open("/dev/full", "wb") as full:
            for message in (messages.MESSAGE, large):
                finished = self.run_with(message, stdout=full)
                self.assertEqual(finished.returncode, IO)
                self.assertEqual(finished.stderr, b"dkim-sign: standard output: cannot write: No space left on device\n")
        for folder in ("/proc", "/nonexistent"):
            self.assert_ends(self.run_with(large, env={**os.environ, "TMPDIR": folder}), IO, "cannot make a temporary file")

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))

        # As on a disk that becomes full; the signal that comes with it stays ignored, as Python has it.
        self.assert_ends(self.run_with(large, preexec_fn=small_files, restore_signals=False), IO, "cannot write: File too large")

    def test_unsigned_only_where_asked_for(self):
        finished = run(self.config, "--pass-unconfigured", message=UNCONFIGURED)
        self.assertEqual((finished.returncode, finished.stdout, finished.stderr), (OK, UNCONFIGURED, b""))
        malformed = b"To: a@example.com\r\n\r\nHi\r\n"
        self.assert_ends(run(self.config, "--pass-unconfigured", message=malformed), DATA, "FROM_MISSING")
        finished = run(self.config, "--on-failure", "pass", message=malformed)
        self.assertEqual((finished.returncode, finished.stdout), (OK, malformed))
        self.assertIn(b"unsigned", finished.stderr)

    def test_help_has_examples_and_fits_a_terminal(self):
        finished = subprocess.run([deployment.BIN / "dkim-sign", "--help"], capture_output=True, text=True, check=True, timeout=60)
        self.assertIn("Examples:", finished.stdout)
        self.assertLessEqual(max(map(len, finished.stdout.splitlines())), 80)

    def test_nobody_there_is_a_temporary_failure(self):
        config = write_config(self.hallmark, "nobody.toml", servers=["127.0.0.1:1"])
        self.assert_ends(run(config), TEMPORARY, "UNREACHABLE", "127.0.0.1:1")

    def test_certificates_that_are_just_being_replaced_are_a_temporary_failure(self):
        """A thread replaces the CA's file, by one that is as good, as often as it can."""
        tls = self.hallmark.folder / "tls"
        for name in ("one.pem", "two.pem", "replaced.pem"):
            (tls / name).write_bytes((tls / "server-ca.pem").read_bytes())
        config = write_config(self.hallmark, "replaced.toml", ca="tls/replaced.pem")
        end = threading.Event()

        def replace():
            while not end.is_set():
                for name in ("one.pem", "two.pem"):
                    os.link(tls / name, tls / "next.pem")
                    (tls / "next.pem").rename(tls / "replaced.pem")

        def caught():
            finished = run(config)
            return finished if finished.returncode != OK else None

        writer = threading.Thread(target=replace)
        writer.start()
        try:
            self.assert_ends(wait_for(caught, "it reads while the file is replaced"), TEMPORARY, "just being replaced")
        finally:
            end.set()
            writer.join()
        self.sign(config=config)

    def test_a_token_that_comes_back_is_waited_for(self):
        for pid in self.hallmark.tokend_pids():
            os.kill(pid, signal.SIGKILL)
        self.sign()


class TwoServersTest(unittest.TestCase):
    def test_one_of_two_is_enough(self):
        with deployment.Deployment() as one, deployment.Deployment(start=False) as two:
            two.trust(one.read("tls/relay-ca.pem"))
            two.start()
            for hallmark in (one, two):
                hallmark.add_domain("example.com")
            (one.folder / "both-ca.pem").write_bytes(one.read("tls/server-ca.pem") + two.read("tls/server-ca.pem"))
            config = write_config(one, servers=[one.signing_address, two.signing_address], ca="both-ca.pem")
            self.assertEqual([run(config).returncode for _ in range(4)], [OK] * 4)
            two.process.send_signal(signal.SIGSTOP)  # its connections are accepted, and nothing comes of them
            try:
                self.assertEqual([run(config).returncode for _ in range(4)], [OK] * 4)
            finally:
                two.process.send_signal(signal.SIGCONT)
            one.kill()
            self.assertEqual([run(config).returncode for _ in range(4)], [OK] * 4)
            two.stop()
            self.assertEqual(run(config).returncode, TEMPORARY)


if __name__ == "__main__":
    unittest.main()
