"""tools/verify-corpus says in one line what it lacks: tools/quickstart alone does not install it."""

import contextlib
import importlib.machinery
import importlib.util
import os
import pathlib
import tempfile
import unittest
from unittest import mock

SCRIPT = pathlib.Path(__file__).parents[2] / "tools/verify-corpus"


class NeedsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="hallmark-corpus-")))
        self.enterContext(mock.patch.dict(os.environ, {"HALLMARK_BUILD": str(self.folder)}))
        self.enterContext(mock.patch("sys.argv", ["verify-corpus", str(self.folder)]))
        self.enterContext(mock.patch("sys.path", []))
        loader = importlib.machinery.SourceFileLoader("verify_corpus", str(SCRIPT))
        self.script = importlib.util.module_from_spec(importlib.util.spec_from_loader("verify_corpus", loader))
        loader.exec_module(self.script)

    def said(self):
        with self.assertRaises(SystemExit) as end, contextlib.redirect_stderr(None):
            self.script.arguments()
        return end.exception.code

    def test_no_build(self):
        self.assertIn(f"{self.folder}/bin/signerd is missing: build first (tools/check)", self.said())

    def test_a_package_is_missing(self):
        (self.folder / "bin").mkdir()
        (self.folder / "bin/signerd").touch()
        self.script.NEEDS = dict.fromkeys(self.script.NEEDS, ["true"])
        self.assertEqual(self.script.arguments().folder, self.folder)
        for package in self.script.NEEDS:
            with self.subTest(package), mock.patch.dict(self.script.NEEDS, {package: ["/usr/bin/python3", "-c", "import not_there"]}):
                self.assertIn(f"verify-corpus: {package} cannot be used: run tools/check", self.said())
                self.assertNotIn("\n", self.said())

    def test_each_is_one_that_tools_check_installs(self):
        listed = {line.split()[1] for line in (SCRIPT.parent / "packages").read_text().splitlines() if line.startswith(("run ", "test "))}
        self.assertLessEqual(set(self.script.NEEDS), listed)


if __name__ == "__main__":
    unittest.main()
