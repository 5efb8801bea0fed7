"""How tools/bench shows samples."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools/benchmarks"))

import samples  # pylint: disable=wrong-import-position


def load(count, **milliseconds):
    return {"latency_us": {"count": count, **{name: 1000 * value for name, value in milliseconds.items()}}}


class LatencyTest(unittest.TestCase):
    def test_of_enough_messages(self):
        loads = [load(1000, p50=2, p99=9, p99_9=20), load(2000, p50=4, p99=10, p99_9=30), load(1000, p50=3, p99=11, p99_9=40)]
        self.assertEqual([samples.latency(loads, name) for name in ("p50", "p99", "p99_9")], ["3.00 ±33 %", "10.0 ±10 %", "30.0 ±33 %"])

    def test_of_few(self):
        """The slowest of 13 messages is no p99, and says nothing of one; of 999 it is no p99.9."""
        self.assertEqual([samples.latency([load(13, p50=400, p99=797, p99_9=797)], name) for name in ("p50", "p99", "p99_9")], ["400", "-", "-"])
        self.assertEqual(samples.latency([load(100, p99=5)], "p99"), "5.00")
        self.assertEqual(samples.latency([load(5000, p99_9=5), load(999, p99_9=5)], "p99_9"), "-")

    def test_of_none(self):
        self.assertEqual(samples.latency([load(0, p50=0)], "p50"), "-")


if __name__ == "__main__":
    unittest.main()
