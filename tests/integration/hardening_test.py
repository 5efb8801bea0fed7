"""What is shipped is built as docs/security.md says: every program, and every library that is installed."""

import json
import pathlib
import platform
import re
import subprocess
import unittest

import deployment

# Flags that the compiler writes into the debug information of each unit (DWARF's DW_AT_producer).
FLAGS = ["-fstack-protector-strong", "-fstack-clash-protection"]
FLAGS += {"x86_64": ["-fcf-protection=full"], "aarch64": ["-mbranch-protection=standard"]}.get(platform.machine(), [])
UNBOUNDED = {"gets", "strcpy", "strcat", "sprintf", "vsprintf", "stpcpy"}  # of the C library; they cannot know a buffer's end


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments], capture_output=True, text=True, check=True).stdout


def built():
    """Programs, and libraries by their real name."""
    programs = [path for path in sorted(deployment.BIN.iterdir()) if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    libraries = [path for path in sorted(deployment.BUILD.glob("tools/**/lib*.so*")) if not path.is_symlink()]
    return programs, libraries


class HardeningTest(unittest.TestCase):
    def each(self, check):
        """check(path) of everything that was built."""
        programs, libraries = built()
        self.assertGreaterEqual({path.name for path in programs}, {"signerd", "tokend", "dkimctl", "dkim-milter", "dkim-sign"})
        self.assertTrue(libraries)
        for path in (*programs, *libraries):
            with self.subTest(path.name):
                check(path)

    def test_position_independent(self):
        programs, _ = built()
        def check(path):
            self.assertRegex(readelf("-h", path), r"Type:\s+DYN")
            if path in programs:
                self.assertRegex(readelf("-d", path), r"\(FLAGS_1\).*\bPIE\b")
        self.each(check)

    def test_relocations_are_read_only_from_the_start(self):
        def check(path):
            self.assertIn("GNU_RELRO", readelf("-l", path))
            self.assertRegex(readelf("-d", path), r"\(FLAGS\).*\bBIND_NOW\b|\(FLAGS_1\).*\bNOW\b")
        self.each(check)

    def test_no_memory_is_both_written_and_run(self):
        def check(path):
            # name, offset, two addresses, two sizes, flags
            segments = re.findall(r"^\s+([A-Z_]+)(?:\s+0x[0-9a-f]+){5}\s+([RWE ]{3})", readelf("-l", path), re.M)
            self.assertIn("GNU_STACK", [name for name, _ in segments])
            self.assertEqual([name for name, flags in segments if "W" in flags and "E" in flags], [])
            dynamic = readelf("-d", path)
            self.assertNotIn("TEXTREL", dynamic)
            self.assertNotRegex(dynamic, r"\((RPATH|RUNPATH)\)")
        self.each(check)

    def test_c_library_calls_are_checked(self):
        def check(path):
            imported = set(re.findall(r" UND (\w+)", readelf("--dyn-syms", path)))
            self.assertIn("__stack_chk_fail", imported)
            self.assertTrue({name for name in imported if re.fullmatch(r"__\w+_chk", name)}, "_FORTIFY_SOURCE")
            self.assertEqual(imported & UNBOUNDED, set())
        self.each(check)

    def test_every_unit_is_compiled_with_checked_calls(self):
        """g++ leaves no trace of the level in what it makes: this is what it was told."""
        units = json.loads((deployment.BUILD / "compile_commands.json").read_text())
        self.assertTrue(units)
        lacking = []
        for unit in units:
            levels = re.findall(r" -[DU]_FORTIFY_SOURCE\S*", unit["command"])
            if levels[-1:] != [" -D_FORTIFY_SOURCE=3"]:
                lacking.append(unit["file"])
        self.assertEqual(lacking, [])

    def test_every_unit_has_the_flags(self):
        def check(path):
            producers = re.findall(r"DW_AT_producer.*?(GNU C.*|clang.*)", readelf("--debug-dump=info", "--dwarf-depth=1", path))
            self.assertTrue(producers, "no debug information: build with -g")
            lacking = {producer: missing for producer in set(producers) if (missing := [flag for flag in FLAGS if flag not in producer])}
            self.assertEqual(lacking, {})
        self.each(check)


if __name__ == "__main__":
    unittest.main()
