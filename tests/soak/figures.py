"""What a process costs, minute by minute, and whether it grows."""

import dataclasses
import os
import pathlib
import re
import statistics

MIB = 1 << 20
# Between the second quarter and the last. What is kept of each key and each record's index grows a little; a leak grows with every message.
MEMORY_FACTOR, MEMORY_SLACK = 1.1, 16
MOST_MORE_FILES, MOST_MORE_THREADS, MOST_MORE_SESSIONS = 8, 2, 8
LATENCY_FACTOR = 2
# What is refused at any time: more than there is room for, and a token that is being recovered.
ALWAYS = ("RESOURCE_EXHAUSTED OVERLOADED", "UNAVAILABLE TOKEN_DOWN")
# Of what is offered when the fault must be over so much is signed at least, and of the whole run.
LEAST_SHARE, LEAST_SHARE_OF_ALL = 0.8, 0.9


@dataclasses.dataclass
class Process:
    mib: float
    files: int
    threads: int
    sessions: int = 0  # of tokend: that its module has open

    @classmethod
    def of(cls, pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return cls(int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024 / MIB, len(os.listdir(f"/proc/{pid}/fd")),
                   int(re.search(r"^Threads:\s+(\d+)", status, re.M)[1]))

    def __str__(self):
        return f"{self.mib:.0f}/{self.files}/{self.threads}" + (f"/{self.sessions}" if self.sessions else "")


@dataclasses.dataclass
class Minute:
    number: int
    signed: int
    refused: dict  # "CODE REASON" -> count
    unsent: int    # due, and never sent: this machine had no time for it
    p50_ms: float
    p99_ms: float
    max_ms: float
    signerd: Process
    tokend: Process
    fault: str

    @property
    def offered(self):
        return self.signed + sum(self.refused.values()) + self.unsent


def judge_minute(minute, seconds, fault):
    """Sentences about what relays saw in `seconds` of load, and should not have: what is refused is refused for the fault's reasons."""
    problems = [f"minute {minute.number}, {fault.name}: the load saw {seen}, {count} times"
                for seen, count in sorted(minute.refused.items()) if seen not in ALWAYS + fault.seen]
    least = LEAST_SHARE * max(0.0, 1 - fault.well / seconds)
    if minute.signed < least * minute.offered:
        problems.append(f"minute {minute.number}, {fault.name}: {minute.signed} of {minute.offered} were signed, less than {100 * least:.0f} %")
    return problems


def judge_share(minutes):
    signed, offered = (sum(what) for what in zip(*((minute.signed, minute.offered) for minute in minutes)))
    return [f"{signed} of {offered} were signed"] if signed < LEAST_SHARE_OF_ALL * offered else []


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
                            ("threads", lambda before: before + MOST_MORE_THREADS), ("sessions", lambda before: before + MOST_MORE_SESSIONS)):
            before, after = (median(some, lambda minute: getattr(getattr(minute, name), field)) for some in (early, late))
            if after > most(before):
                problems.append(f"{name}: {field} grew from {before:.0f} to {after:.0f}")
    before, after = median(early, lambda minute: minute.p99_ms), median(late, lambda minute: minute.p99_ms)
    if after > LATENCY_FACTOR * before:
        problems.append(f"p99 grew from {before:.1f} to {after:.1f} ms")
    return problems
