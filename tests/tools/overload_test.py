"""tools/bench overload fails where what docs/reliability.md says of a flood does not hold."""

import copy
import json
import pathlib
import sys
import tempfile
import types
import unittest
from unittest import mock

BENCHMARKS = pathlib.Path(__file__).parents[2] / "tools/benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]

import overload  # pylint: disable=wrong-import-position
from waiting import wait_for  # pylint: disable=wrong-import-position


def load(started, failed, p99_ms=50, refused_p90_ms=1):
    errors = [{"code": "RESOURCE_EXHAUSTED", "reason": "OVERLOADED", "count": failed}] if failed else []
    return {"started": started, "ok": started - failed, "failed": failed, "errors": errors, "throughput": (started - failed) / 10,
            "latency_us": {"p99": 1000 * p99_ms}, "failed_latency_us": {"p90": 1000 * refused_p90_ms}}


def phase(started, failed):
    seen = {"resident": 70 << 20, "refused_ms": [1.0] if failed else [], "without_retry_info": 0, "probes": 50}
    return load(started, failed) | {"seen": seen}


GOOD = {"peak": 1000, "before": 50 << 20, "after": load(5000, 0), "beside": load(1000, 0), "alone": load(1000, 0),
        "phases": {"0.5": phase(5000, 0), "1": phase(10000, 100), "2": phase(20000, 10200), "5": phase(50000, 40200)}}


class OverloadTest(unittest.TestCase):
    def problems(self, change=lambda token: None, name=overload.HSM, seconds=300):
        token = copy.deepcopy(GOOD)
        change(token)
        return overload.problems({"seconds": seconds, "tokens": {name: token}})

    def test_what_is_as_it_should_be(self):
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.problems(name="SoftHSM, RSA-2048"), [])

    def test_what_is_not(self):
        for said, change in {
                "800 a second were signed, of 1000": lambda token: token["phases"]["5"].update(throughput=800),
                "3 refusals had no RetryInfo": lambda token: token["phases"]["2"]["seen"].update(without_retry_info=3),
                "signerd took 120 MiB": lambda token: token["phases"]["5"]["seen"].update(resident=120 << 20),
                "ended with INTERNAL ": lambda token: token["phases"]["1"]["errors"].append({"code": "INTERNAL", "reason": "", "count": 1}),
                "no refusal was looked at": lambda token: token["phases"]["5"]["seen"].update(refused_ms=[]),
                "another partner's 1000 messages beside a flood 900 were signed": lambda token: token.update(beside=load(1000, 100)),
                "another partner's 0 messages": lambda token: token.update(beside=load(0, 0)),
                "in the 10 s after it, at half as much, 7 were refused": lambda token: token.update(after=load(5000, 7)),
                "the p90 of refusals is 6.0 ms": lambda token: token["phases"]["5"].update(failed_latency_us={"p90": 6000}),
                "the p99 of what is signed is 1600.0 ms": lambda token: token["phases"]["5"].update(latency_us={"p99": 1600000}),
                "the p99 of another partner is 300.0 ms": lambda token: token.update(beside=load(1000, 0, p99_ms=300))}.items():
            with self.subTest(said):
                problems = self.problems(change)
                self.assertEqual(len(problems), 1, problems)
                self.assertIn(said, problems[0])

    def test_times_of_a_short_run_are_not_judged(self):
        self.assertEqual(self.problems(lambda token: token.update(beside=load(1000, 0, p99_ms=300)), seconds=10), [])

    def test_softhsm_signs_as_much_as_it_has_processor_for(self):
        def starve(factor, resident):
            def change(token):
                token["phases"][factor].update(throughput=500)
                token["phases"][factor]["errors"].append({"code": "DEADLINE_EXCEEDED", "reason": "", "count": 9})
                token["phases"][factor]["seen"].update(resident=resident)
            return change

        self.assertEqual(self.problems(starve("5", 300 << 20), "SoftHSM, RSA-2048"), [])
        self.assertEqual(len(self.problems(starve("5", 600 << 20), "SoftHSM, RSA-2048")), 1)
        self.assertEqual(len(self.problems(starve("2", 300 << 20), "SoftHSM, RSA-2048")), 2)
        self.assertEqual(len(self.problems(starve("5", 300 << 20))), 3)


class BesideAFloodTest(unittest.TestCase):
    """What is beside dkimload counts only where dkimload was a flood."""

    def beside(self, report, status):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "report").write_text(json.dumps(report))
        (folder / "dkimload").write_text(f'#!/bin/sh\ncat "{folder}/report"\necho "some words" >&2\nexit {status}\n')
        (folder / "dkimload").chmod(0o755)
        hallmark = types.SimpleNamespace(hallmark=types.SimpleNamespace(folder=folder))
        with mock.patch.object(overload.deployment, "BIN", folder), mock.patch.object(overload.time, "sleep"), \
                mock.patch.object(overload.service, "run_load", return_value="of acme"):
            return overload._beside_a_flood(hallmark, folder, folder, 1000, 10)

    def test_a_flood(self):
        self.assertEqual(self.beside(load(50000, 40000), 0), "of acme")

    def test_none(self):
        with self.assertRaisesRegex(RuntimeError, "the flood ended with 3"):
            self.beside(load(50000, 40000), 3)
        with self.assertRaisesRegex(RuntimeError, "nothing was refused"):
            self.beside(load(50000, 0), 0)


class WatchedTest(unittest.TestCase):
    def watched(self, resident_bytes, looks):
        """What was seen until the memory was looked at so often."""
        stub = mock.Mock()
        hallmark = types.SimpleNamespace(hallmark=types.SimpleNamespace(signing=lambda: stub), resident_bytes=resident_bytes)
        with mock.patch.object(overload, "PROBES", 1000), overload._watched(hallmark) as seen:
            wait_for(lambda: resident_bytes.call_count >= looks, "it is watched")
        return seen

    def test_what_is_seen(self):
        seen = self.watched(mock.Mock(return_value=50 << 20), 3)
        self.assertEqual((seen["resident"], seen["refused_ms"]), (50 << 20, []))
        self.assertGreaterEqual(seen["probes"], 2)

    def test_watching_that_ends_is_told(self):
        with self.assertRaisesRegex(FileNotFoundError, "status"):
            self.watched(mock.Mock(side_effect=FileNotFoundError("status")), 1)


if __name__ == "__main__":
    unittest.main()
