"""The manual pages say what the programs take, all of it and nothing else, and so does the completion of bash."""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import deployment
import paths

ROOT = paths.TESTS.parent
PACKAGING = ROOT / "tools/packaging"
MADE = deployment.BUILD / "tools/packaging"  # pages that are written when Hallmark is built
sys.path.insert(0, str(PACKAGING))

import program_help  # noqa: E402

PROGRAMS = {page.name.split(".")[0]: page for page in sorted((ROOT / "docs/man").glob("*.[18]"))}
PAGES = [*PROGRAMS.values(), *(MADE / name for name in ("dkimctl.1", "hallmark.toml.5", "milter.toml.5"))]


def program(name):
    return ROOT / "tools" / name if name == "ledger-verify" else deployment.BIN / name


def options_of(text):
    """The long options that a page's source names."""
    return {"--" + name.replace("\\", "") for name in re.findall(r"Fl \\-([a-z][a-z\\-]*)", text)}


class Pages(unittest.TestCase):
    def test_every_program_has_a_page(self):
        installed = {path.name for path in deployment.BIN.iterdir()} | {"ledger-verify"}
        self.assertEqual(set(PROGRAMS) | {"dkimctl"}, installed)

    def test_pages_have_the_options_of_help(self):
        for name, page in PROGRAMS.items():
            with self.subTest(name):
                commands = [(), *((command,) for command, _ in program_help.read(program(name)).commands)]
                wanted = set().union(*(program_help.read(program(name), *words).long_options() for words in commands))
                text = page.read_text()
                listed = "\n".join(line for line in text.splitlines() if line.startswith(".It"))
                self.assertEqual(options_of(listed), wanted)
                self.assertLessEqual(options_of(text), wanted)

    def test_pages_have_the_commands_of_help(self):
        tokend = PROGRAMS["tokend"].read_text()
        for command, _ in program_help.read(program("tokend")).commands:
            self.assertIn(f".It Cm {command}\n", tokend)
        page = subprocess.run(["man", "--local-file", MADE / "dkimctl.1"], capture_output=True, text=True, check=True,
                              env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}).stdout
        text = re.sub(r".\x08", "", page).replace("\u2010", "-")
        commands = list(program_help.walk(program("dkimctl")))
        self.assertGreater(len(commands), 60)
        for words, found in commands:
            name = " ".join(words)
            self.assertTrue(re.search(rf"^     {name}\b", text, re.MULTILINE), name)
            for option in found.long_options():
                self.assertTrue(re.search(rf"(?<!\S){option}\b", text), f"{name} {option}")

    def test_pages_have_the_keys_of_the_manuals(self):
        for name, keys in (("hallmark.toml", ("signing.listen", "uri", "ledger.sink.kind")),
                           ("milter.toml", ("milter.listen", "daemon_names", "unconfigured"))):
            text = (MADE / f"{name}.5").read_text()
            self.assertNotRegex(text, r"(?m)^@")
            for key in keys:
                self.assertRegex(text, rf'(?m)^\.It Ic .*"\\&{re.escape(key)}"')

    def test_pages_are_without_warnings(self):
        for page in PAGES:
            with self.subTest(page.name):
                run = subprocess.run(["man", "--warnings", "--encoding=utf8", "--local-file", page], capture_output=True, text=True,
                                     check=False, env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
                self.assertEqual((run.returncode, run.stderr), (0, ""))

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed: its lint did not see the manual pages")
    def test_mandoc_has_nothing_to_say(self):
        for page in PAGES:
            with self.subTest(page.name):
                run = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True, check=False)
                self.assertEqual((run.returncode, run.stdout), (0, ""))

    def test_pages_that_are_referred_to_are_there(self):
        ours = {page.name for page in PAGES}
        for page in PAGES:
            for name, section in re.findall(r"^\.Xr (\S+) (\d)", page.read_text(), re.MULTILINE):
                if name in PROGRAMS or name.startswith("dkim") or name.endswith(".toml"):
                    self.assertIn(f"{name}.{section}", ours, page.name)


class Completion(unittest.TestCase):
    def complete(self, *words):
        """What bash offers for the last of the words."""
        script = f'source {PACKAGING / "completion.bash"}\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n' \
                 '_hallmark "$1" "${@: -1}" "${@: -2:1}"\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        run = subprocess.run(["bash", "-euc", script, "bash", *words], capture_output=True, text=True, check=True, timeout=60,
                             stdin=subprocess.DEVNULL, cwd=ROOT,
                             env={"PATH": f"{deployment.BIN}:{ROOT / 'tools'}:/usr/bin:/bin", "HALLMARK_DIR": "/nowhere"})
        self.assertEqual(run.stderr, "")
        return run.stdout.split()

    def test_commands(self):
        self.assertEqual(self.complete("dkimctl", ""), [name for name, _ in program_help.read(program("dkimctl")).commands])
        self.assertEqual(self.complete("dkimctl", "key", "ro"), ["rotate", "rollback"])
        self.assertEqual(self.complete("dkimctl", "key", "policy", ""), ["show", "set"])
        self.assertEqual(self.complete("dkimctl", "--dir", "/srv", "key", "act"), ["activate"])

    def test_options(self):
        for words in (("dkimctl", "key", "rotate"), ("dkimctl", "ledger", "retention"), ("dkimctl", "profile", "set"),
                      ("dkim-milter",), ("dkim-sign",), ("signerd",), ("dkimload",), ("ledger-verify",)):
            with self.subTest(words):
                wanted = program_help.read(program(words[0]), *words[1:]).long_options()
                self.assertEqual(set(self.complete(*words, "--")), wanted)
                self.assertIn("--help", wanted)

    def test_every_program_that_it_is_installed_for_has_it(self):
        installed = re.findall(r"^completion\(\w+ (.*)\)$", (PACKAGING / "CMakeLists.txt").read_text(), re.MULTILINE)
        registered = re.search(r"^complete -F _hallmark (.*)$", (PACKAGING / "completion.bash").read_text(), re.MULTILINE).group(1)
        self.assertEqual(sorted(" ".join(installed).split()), sorted(registered.split()))

    def test_values(self):
        self.assertEqual(self.complete("dkimctl", "sign", "--output", ""), ["table", "json"])
        self.assertEqual(self.complete("dkimctl", "--dir", "hs"), ["hsm"])
        self.assertEqual(self.complete("signerd", "--config", "CMakeP"), ["CMakePresets.json"])
        self.assertEqual(self.complete("dkimctl", "sign", "README"), ["README.md"])

    def test_a_command_line_is_never_run(self):
        # Only names that the program itself gave are passed on to it, with --help behind them.
        self.assertEqual(self.complete("dkimctl", "init", "--", "CMakeP"), ["CMakePresets.json"])
        self.assertFalse(pathlib.Path("/nowhere").exists())


if __name__ == "__main__":
    unittest.main()
