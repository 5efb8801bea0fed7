#!/usr/bin/python3
"""Measures, and writes the tables and plots of docs/performance.md. Called by tools/bench."""

import argparse
import importlib
import json
import os
import pathlib
import platform
import re
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Part: its module, and what its tables are called.
PARTS = {
    "canonical": ("canonical", "Canonicalize and hash"),
    "signatures": ("signatures", "Signatures in one process"),
    "records": ("records", "Deciding and recording"),
    "end-to-end": ("end_to_end", "End to end"),
    "daemons": ("daemon_peers", "Other daemons"),
    "trust": ("trust", "One point of trust"),
    "rotation": ("rotation", "Rotation"),
    "milter": ("milter", "The milter"),
    "overload": ("overload", "Overload"),
    "growth": ("growth", "Growth"),
}
# How often each figure was measured.
SAMPLED = "Medians of {repeats}, ± is half the spread; what has none is one sample, or follows from the others."
SAMPLED_OTHERWISE = {"overload": "One run for each row; what is signed at most is the best of three."}


class Context:
    def __init__(self, options):
        self.build = options.build.resolve()
        self.quick = options.quick
        self.repeats = 2 if options.quick else 5
        self.part = ""
        self.begun = time.monotonic()

    def progress(self, text):
        print(f"  {time.monotonic() - self.begun:5.0f} s  {self.part}: {text}", flush=True)


def machine():
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{os.cpu_count()} cores of {model.group(1) if model else platform.machine()}"


def write_section(page, part, text):
    begin, end = f"<!-- tools/bench {part} -->\n", f"<!-- end of {part} -->\n"
    content = page.read_text()
    if begin not in content:
        content += f"\n## {PARTS[part][1]}\n\n{begin}{end}"
    before, rest = content.split(begin, 1)
    after = rest.split(end, 1)[1]
    page.write_text(before + begin + text + end + after)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("tools/bench: ended by SIGTERM"))
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--quick", action="store_true", help="few and short samples, docs/ is left alone")
    parser.add_argument("--report-only", action="store_true", help="write the page from the figures of the last run")
    options = parser.parse_args()

    os.environ["HALLMARK_BUILD"] = str(options.build.resolve())
    sys.path[:0] = [str(path) for path in (ROOT / "tools/benchmarks/peers", ROOT / "tests/integration",
                                           options.build.resolve() / "proto/python")]
    plots = importlib.import_module("plots")
    results = options.build / "bench" / "results"
    results.mkdir(parents=True, exist_ok=True)
    target = results / "quick" if options.quick else ROOT / "docs"
    context, problems = Context(options), []
    for part in options.part or PARTS:
        module = importlib.import_module(PARTS[part][0])
        context.part = part
        kept = results / f"{part}{'-quick' if options.quick else ''}.json"
        if not options.report_only:
            figures = {"figures": module.measure(context), "date": time.strftime("%Y-%m-%d"), "machine": machine(),
                       "repeats": context.repeats}
            kept.write_text(json.dumps(figures, indent=1))
        figures = json.loads(kept.read_text())
        sampled = SAMPLED_OTHERWISE.get(part, SAMPLED).format(repeats=figures.get("repeats", context.repeats))
        text = (f"Measured {figures['date']} on {figures['machine']}. {sampled}\n\n" +
                module.report(figures["figures"], plots.Plots(target / "performance")))
        if options.quick:
            print(text)
        else:
            write_section(ROOT / "docs" / "performance.md", part, text)
        problems += getattr(module, "problems", lambda _: [])(figures["figures"])
    for problem in problems:
        print("does not hold: " + problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
