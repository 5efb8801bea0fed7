"""A 1 GB message through SignLarge: signed, and signerd's memory hardly grows."""

import pathlib
import re
import unittest

import deployment
import messages

from hallmark.signing.v1 import signing_pb2

CHUNK = (b"x" * 78 + b"\r\n") * 3200  # 256,000 octets
CHUNKS = (1 << 30) // len(CHUNK) + 1
ALLOWED_KB = 16 << 10


def memory_kb(pid, name):
    """VmRSS or VmHWM (the highest VmRSS) of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE).group(1))


class LargeTest(unittest.TestCase):
    def chunks(self, count):
        yield signing_pb2.MessageChunk(data=messages.MESSAGE)
        for _ in range(count):
            yield signing_pb2.MessageChunk(data=CHUNK)

    def test_memory_is_constant(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            stub = hallmark.signing()
            stub.SignLarge(self.chunks(1), timeout=60)  # An ordinary one first: buffers that every daemon soon has.
            pid = hallmark.process.pid
            before = memory_kb(pid, "VmRSS")
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM starts anew.
            answer = stub.SignLarge(self.chunks(CHUNKS), timeout=600)
            grown = memory_kb(pid, "VmHWM") - before
        self.assertEqual(len(answer.signatures), 2)
        print(f"signerd: {before} kB resident before, at most {grown} kB more during {CHUNKS * len(CHUNK)} octets")
        if not deployment.sanitized():  # A sanitizer's shadow and quarantine are not the daemon's memory.
            self.assertLess(grown, ALLOWED_KB)


if __name__ == "__main__":
    unittest.main()
