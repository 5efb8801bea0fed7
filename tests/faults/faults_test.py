"""The runner of scenarios: it can fail, and says why. (The scenarios themselves: tools/check --faults.)"""

import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import box
import deployment
import ledger_files
import run as runner
import scenarios

RUN = pathlib.Path(__file__).with_name("run.py")
GOOD = """
[good]
what = "the login is lost once"
fault = "C_SignInit @5 logout"
well = 20

[wrong-until-login]
what = "every signature is wrong until the application logs in again: no message is refused for it"
fault = "C_Sign * corrupt until C_Login"
well = 20
"""
WRONG = """
[relays-see-more]
what = "the token cannot use the key, and relays are promised to see nothing of it"
fault = "C_SignInit * return CKR_KEY_FUNCTION_NOT_PERMITTED until 1"
well = 20

[makes-well]
what = "a key is made, which nothing hinders; that it is refused is what somebody was promised"
fault = "C_SignInit @1 logout"
does = "make"
told = "TOKEN_DOWN"
well = 20

[never-happens]
what = "a call that nobody makes"
fault = "C_CopyObject * return CKR_GENERAL_ERROR"
well = 20
"""


def only_child(pid):
    """The one process that its first thread has started."""
    child, = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, text):
        (self.folder / "a.toml").write_text(text)


class ReadTest(Folder):
    def test_every_scenario_is_understood(self):
        names = [scenario.name for scenario in scenarios.load()]
        self.assertGreaterEqual(len(names), 80)

    def test_mistakes_are_named(self):
        for right, wrong in (("well = 20", ""), ("what = ", 'wot = "x"\nwhat = '), ("fault = ", 'at = "noon"\nfault = '),
                             ("[good]", '["Not Good"]'), ("fault = ", 'longest = 1\nfault = '), ("fault = ", 'box = "group"\nfault = '),
                             ("fault = ", 'told = "TOKEN_DOWN"\nfault = '), ("fault = ", 'does = "rotate"\nfault = '),
                             ("fault = ", 'box = "names"\nfault = '), ("fault = ", 'does = "sing"\nfault = ')):
            with self.subTest(wrong):
                self.write(GOOD.replace(right, wrong))
                with self.assertRaisesRegex(ValueError, "a.toml"):
                    scenarios.load(self.folder)


class RunTest(Folder):
    def play(self, text, *options):
        self.write(text)
        run = subprocess.run([sys.executable, "-B", RUN, "--folder", self.folder, "--jobs", "1", "--output", "json", *options],
                             capture_output=True, text=True, timeout=280, check=False)
        return run, {outcome["name"]: outcome for outcome in json.loads(run.stdout)}

    def test_what_is_as_it_should_be_passes(self):
        run, outcomes = self.play(GOOD)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual(len(outcomes), 2)
        for outcome in outcomes.values():
            self.assertEqual((outcome["problems"], outcome["refused"]), ([], {}))
            self.assertGreater(outcome["signed"], 0)

    def test_what_is_not_is_said(self):
        run, outcomes = self.play(WRONG)
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn("relays saw FAILED_PRECONDITION TOKEN_REFUSED", outcomes["relays-see-more"]["problems"][0])
        self.assertEqual(outcomes["never-happens"]["problems"], ["the fault never happened"])
        self.assertEqual(outcomes["makes-well"]["problems"][0], "to make a key was to be refused with TOKEN_DOWN: None")

    def test_a_second_play_forgives_nothing_that_stays(self):
        run, outcomes = self.play(WRONG, "--again")
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn("once more, alone: relays-see-more, makes-well, never-happens", run.stderr)
        self.assertEqual(outcomes["never-happens"]["problems"], ["the fault never happened"])

    def test_a_signerd_that_ends_is_not_forgiven(self):
        self.write(GOOD)
        with subprocess.Popen([sys.executable, "-B", RUN, "--folder", self.folder, "--jobs", "1", "--again"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, preexec_fn=deployment.die_with_parent) as run:
            said = run.stdout.readline() + run.stdout.readline()  # the headings and the first scenario; the box goes on with the second
            signerd = only_child(only_child(run.pid))  # of the process that plays them
            self.assertEqual(pathlib.Path(f"/proc/{signerd}/comm").read_text(), "signerd\n")
            os.kill(signerd, signal.SIGKILL)
            said += run.stdout.read()
        self.assertEqual(run.returncode, 1, said)
        self.assertIn("  wrong-until-login: signerd ended by itself", said)
        self.assertNotIn("once more", said)


class GivenUpTest(Folder):
    """A box in which a scenario went wrong."""

    def play(self, *patches):
        """What is told of GOOD, {name: problems}, where its first scenario ends with an exception."""
        self.write(GOOD)
        judge = mock.Mock(side_effect=[AssertionError("too slow"), None])
        with contextlib.redirect_stdout(io.StringIO()) as told, mock.patch.object(box.Box, "_judge", judge), contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            runner.play_share(scenarios.load(self.folder))
        outcomes = [json.loads(line) for line in told.getvalue().splitlines()]
        return {outcome["name"]: outcome["problems"] for outcome in outcomes}

    def test_of_a_ledger_that_is_right_nothing_is_told(self):
        told = self.play()
        self.assertEqual(told["good"][0], "AssertionError: too slow")
        self.assertEqual((set(told), told["wrong-until-login"]), ({"good", "wrong-until-login"}, []))

    def test_a_record_that_is_missing_is_told(self):
        """Also of what was signed in the scenario itself."""
        told = self.play(mock.patch.object(ledger_files, "records", return_value=[]))
        self.assertRegex(told["ledger (sessions)"][0], r"^(\d+) of \1 signatures that relays were given have no record$")

    def test_a_ledger_that_cannot_be_checked_is_told(self):
        told = self.play(mock.patch.object(box.Box, "_check_ledger", side_effect=[OSError("no such file"), []]))
        self.assertEqual(told["ledger (sessions)"], ["OSError: no such file"])


if __name__ == "__main__":
    unittest.main()
