"""No secret where it is not needed: the memory of the running processes is searched, under load, for PINs and private keys.

/proc/PID/mem has all that a core of the process would have, and the pages that are left out of cores too; a core is made and searched too.
"""

import base64
import hashlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import unittest

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

import deployment
import messages
import process_memory
from waiting import wait_for

LOAD_SECONDS = 600  # longer than any search takes; it is ended with it
LOOKS = 5  # how often a process is searched while it signs
WINDOW = 32  # octets of a number that are looked for: whoever has them has the rest


def forms(name, octets):
    """The octets as they may stand in memory: as they are, the other way round (OpenSSL's limbs), in text."""
    middle = octets[len(octets) // 2 - WINDOW // 2:][:WINDOW]
    return {f"{name}, {form}": pattern for form, pattern in (
        ("big-endian", octets[:WINDOW]), ("big-endian, its middle", middle), ("little-endian", octets[::-1][:WINDOW]),
        ("little-endian, its middle", middle[::-1]), ("hexadecimal", octets.hex().encode()[:2 * WINDOW]),
        ("HEXADECIMAL", octets.hex().upper().encode()[:2 * WINDOW]), ("base64", base64.b64encode(octets)[:WINDOW]))}


def rsa_secrets(key):
    numbers, secrets = key.private_numbers(), {}
    for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp"):
        number = getattr(numbers, name)
        secrets |= forms(f"RSA {name}", number.to_bytes((number.bit_length() + 7) // 8, "big"))
    return secrets


def ed25519_secrets(key):
    seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    expanded = hashlib.sha512(seed).digest()  # RFC 8032, 5.1.5: the scalar without its clamped ends, and the prefix
    return forms("Ed25519 seed", seed) | {"Ed25519 scalar": expanded[1:31], "Ed25519 prefix": expanded[32:]}


def pem_lines(name, pem):
    """Lines of a PEM file's middle, as they would be found had somebody read it as a whole."""
    lines = pem.splitlines()[2:-2] or pem.splitlines()[1:-1]
    return {f"{name}, line {number} of its file": line for number, line in enumerate(lines)}


@unittest.skipIf(deployment.sanitized(), "a sanitizer keeps what was freed: its memory is not that of the program")
class SecretsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = hallmark = deployment.Deployment()
        cls.addClassCleanup(hallmark.close)
        if not process_memory.readable(hallmark.process.pid):
            raise unittest.SkipTest("only root may read the memory of another process")
        hallmark.add_domain("example.com", algorithms=())
        keys = {"r1": rsa.generate_private_key(65537, 2048), "e1": ed25519.Ed25519PrivateKey.generate()}
        cls.keys, cls.pins = rsa_secrets(keys["r1"]) | ed25519_secrets(keys["e1"]), {}
        for selector, key in keys.items():
            pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            cls.keys |= pem_lines(selector, pem)
            path = hallmark.folder / "secrets" / f"{selector}.pem"
            path.touch(0o600)
            path.write_bytes(pem)
            hallmark.dkimctl("import", "pem", path, "--domain", "example.com", "--selector", selector, "--activate", "--unpublished")
            path.unlink()
        for name in ("pin", "so-pin"):
            cls.pins[name] = hallmark.read(f"secrets/{name}").strip()
        cls.message = hallmark.folder / "message.eml"
        cls.message.write_bytes(messages.MESSAGE)

    def load(self):
        """Signs as fast as it goes, in the background."""
        process = subprocess.Popen([deployment.BIN / "dkimload", "--dir", self.hallmark.folder, "--in-flight", "8", "--duration",
                                    str(LOAD_SECONDS), "--check", self.message], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=deployment.die_with_parent)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def tokend(self):
        return wait_for(lambda: len(pids := self.hallmark.tokend_pids()) == 1 and pids[0], "one tokend")

    def signs(self):
        """Whether a message is signed now; not while tokend is being replaced."""
        try:
            return len(self.hallmark.sign(messages.MESSAGE).signatures) == 2
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            return False

    def test_signerd_under_load(self):
        self.assertEqual(len(self.hallmark.sign(messages.MESSAGE).signatures), 2)
        load = self.load()
        # The search itself works: a process that signs with these keys has them.
        wait_for(lambda: set(process_memory.find(self.tokend(), self.keys)), "tokend, whose token is software, has the keys")
        wait_for(lambda: process_memory.find(self.hallmark.process.pid, {"signed": b"lunch@example.com"}), "signerd has the message")
        for _ in range(LOOKS):
            self.assertEqual(process_memory.find(self.hallmark.process.pid, self.keys | self.pins), {})
        self.assertIsNone(load.poll(), "the load ended before all was looked at")
        print(f"\nsignerd: {process_memory.size(self.hallmark.process.pid) >> 20} MiB, {len(self.keys | self.pins)} patterns, "
              f"{LOOKS} times", file=sys.stderr)

    @unittest.skipUnless(shutil.which("gdb"), "gdb is not installed")
    def test_core_of_signerd(self):
        """Made while it signs; with what it asks to be left out of cores."""
        self.load()
        wait_for(lambda: process_memory.find(self.hallmark.process.pid, {"signed": b"lunch@example.com"}), "signerd has the message")
        core = self.hallmark.folder / "secrets/core"
        self.addCleanup(core.unlink, missing_ok=True)
        run = subprocess.run(["gdb", "-nx", "-batch", "-p", str(self.hallmark.process.pid), "-ex", "set dump-excluded-mappings on",
                              "-ex", f"generate-core-file {core}"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, check=False)
        if "Operation not permitted" in run.stderr:
            self.skipTest("ptrace is not permitted here")
        self.assertTrue(core.exists(), run.stdout + run.stderr)
        found = process_memory.find_in_file(core, self.keys | self.pins | {"ELF": b"\x7fELF", "signed": b"lunch@example.com"})
        self.assertEqual(found, {"ELF", "signed"})
        print(f"\ncore: {core.stat().st_size >> 20} MiB, {len(self.keys | self.pins)} patterns", file=sys.stderr)
        self.assertTrue(self.signs(), "it goes on")

    def test_tokend_keeps_no_pin(self):
        self.hallmark.sign(messages.MESSAGE)
        self.assertEqual(set(process_memory.find(os.getpid(), self.pins)), set(self.pins))  # this process has read them
        self.assertEqual(process_memory.find(self.tokend(), self.pins), {})
        # Nor after it had to log in again, in a new process.
        before = self.tokend()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: self.hallmark.tokend_pids() not in ([], [before]), "another tokend")
        wait_for(self.signs, "signing again")
        self.assertEqual(process_memory.find(self.tokend(), self.pins), {})

    def test_arguments_environment_and_files(self):
        secrets = self.keys | self.pins
        for pid in (self.hallmark.process.pid, self.tokend()):
            for name in ("cmdline", "environ"):
                octets = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                self.assertEqual([name for name, pattern in secrets.items() if pattern in octets], [])
        for path in self.hallmark.folder.rglob("*"):
            if path.is_file() and "secrets" not in path.parts:
                try:
                    octets = path.read_bytes()
                except FileNotFoundError:
                    continue  # a journal of the database that was just taken up
                self.assertEqual([name for name, pattern in secrets.items() if pattern in octets], [], path)

    def test_no_core_is_left(self):
        """Whatever the limits are that they are started with."""
        for pid in (self.hallmark.process.pid, self.tokend()):
            self.assertEqual(resource.prlimit(pid, resource.RLIMIT_CORE), (0, 0))
        with deployment.Deployment(start=False) as other:
            limits = resource.getrlimit(resource.RLIMIT_CORE)
            resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
            try:
                other.start()
            finally:
                resource.setrlimit(resource.RLIMIT_CORE, limits)
            process = other.process
            process.send_signal(signal.SIGABRT)
            _, status = os.waitpid(process.pid, 0)
            process.returncode = -os.WTERMSIG(status)
            self.assertEqual((os.WTERMSIG(status), os.WCOREDUMP(status)), (signal.SIGABRT, False))


if __name__ == "__main__":
    unittest.main()
