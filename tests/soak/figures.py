"""What a process costs, minute by minute, and whether it grows."""

import dataclasses
import os
import pathlib
import re
import statistics

MIB = 1 << 20
# Between the second quarter and the last. What is kept of each key and each record's index grows a little; a leak grows with every message.
MEMORY_FACTOR, MEMORY_SLACK = 1.1, 16
MOST_MORE_FILES, MOST_MORE_THREADS = 8, 2
LATENCY_FACTOR = 2


@dataclasses.dataclass
class Process:
    mib: float
    files: int
    threads: int

    @classmethod
    def of(cls, pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return cls(int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024 / MIB, len(os.listdir(f"/proc/{pid}/fd")),
                   int(re.search(r"^Threads:\s+(\d+)", status, re.M)[1]))

    def __str__(self):
        return f"{self.mib:.0f}/{self.files}/{self.threads}"


@dataclasses.dataclass
class Minute:
    number: int
    signed: int
    refused: dict  # reason -> count
    p50_ms: float
    p99_ms: float
    max_ms: float
    signerd: Process
    tokend: Process
    fault: str


def judge(minutes):
    """Sentences about what grew; none where nothing did, or it is too early to tell."""
    quarter = len(minutes) // 4
    if quarter < 2:
        return []
    early, late = minutes[quarter:2 * quarter], minutes[-quarter:]

    def median(some, what):
        return statistics.median(what(minute) for minute in some)

    problems = []
    for name in ("signerd", "tokend"):
        for field, most in (("mib", lambda before: before * MEMORY_FACTOR + MEMORY_SLACK), ("files", lambda before: before + MOST_MORE_FILES),
                            ("threads", lambda before: before + MOST_MORE_THREADS)):
            before, after = (median(some, lambda minute: getattr(getattr(minute, name), field)) for some in (early, late))
            if after > most(before):
                problems.append(f"{name}: {field} grew from {before:.0f} to {after:.0f}")
    before, after = median(early, lambda minute: minute.p99_ms), median(late, lambda minute: minute.p99_ms)
    if after > LATENCY_FACTOR * before:
        problems.append(f"p99 grew from {before:.1f} to {after:.1f} ms")
    return problems
