"""What firmware/build takes its packages from: the functions of its shell scripts."""

import shlex
import subprocess
import unittest

import paths

IMAGE = paths.TESTS.parent / "firmware/image"


def call(script, *words):
    """What a function of firmware/image/SCRIPT prints."""
    command = f"set -euo pipefail; source {shlex.quote(str(IMAGE / script))}; {shlex.join(map(str, words))}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


class SourcesTest(unittest.TestCase):
    def test_security_updates_are_among_them(self):
        security = "deb http://security.debian.org/debian-security bookworm-security main"
        self.assertEqual(call("rootfs.sh", "debian_sources", "", ""),
                         ["deb http://deb.debian.org/debian bookworm main", "deb http://deb.debian.org/debian bookworm-updates main", security])
        near = ["deb http://mirror.example/debian bookworm main", "deb http://mirror.example/debian bookworm-updates main"]
        self.assertEqual(call("rootfs.sh", "debian_sources", "http://mirror.example/debian", ""), [*near, security])
        self.assertEqual(call("rootfs.sh", "debian_sources", "http://mirror.example/debian", "http://mirror.example/security"),
                         [*near, "deb http://mirror.example/security bookworm-security main"])


if __name__ == "__main__":
    unittest.main()
