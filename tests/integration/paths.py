"""Makes tests/verifiers importable, and names the folders of the source tree."""

import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
CORPUS = TESTS / "corpus"
sys.path.insert(0, str(TESTS / "verifiers"))
