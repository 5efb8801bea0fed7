#!/usr/bin/env -S /usr/bin/python3 -B
"""A signer under load for as long as is asked: each minute a fault of its token, a change of policy and of the CAs it trusts, and
every fifth a rotation and a new server certificate. Prints a line a minute, and at the end what did not hold.

    tools/check --soak            an hour
    tools/check --soak 5          five minutes
"""

import argparse
import collections
import dataclasses
import json
import random
import subprocess
import sys
import time

import figures
import scenarios
import station

ROW = "{:>3} {:>7} {:>8} {:>8} {:>7} {:>13} {:>13}  {}"
HEADINGS = ("MIN", "SIGNED", "REFUSED", "P99 MS", "MAX MS", "SIGNERD", "TOKEND", "FAULT")
SHARE = 0.7          # of what it can do
MINUTE = 60
LOAD_SECONDS = MINUTE - 5
MOST_LOAD_ENDS = 30  # seconds until dkimload must have ended, after its time


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, help="messages a second (default: 70 %% of what it can do)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults' order")
    parser.add_argument("--output", metavar="FILE", help="write every minute's figures to this file, as JSON")
    return parser.parse_args()


def faults(seed):
    """For ever: those that begin while it works, and mend themselves."""
    known = [scenario for scenario in scenarios.load() if
             (scenario.at, scenario.box, scenario.shows, scenario.does) == ("work", "sessions", "", "")]
    order = random.Random(seed)
    while True:
        order.shuffle(known)
        yield from known


def play_minute(box, rate, fault, number):
    """One minute. Gives its figures, and sentences about what should not have been seen in it."""
    begun = time.monotonic()
    with box.load(rate, LOAD_SECONDS, number) as load:
        box.at(begun + 5)
        box.fail(fault)
        box.at(begun + 25)
        box.change_policy()
        box.at(begun + 35)
        box.change_authorities()
        if number % 5 == 1:
            box.at(begun + 40)
            box.rotate()
        if number % 5 == 3:
            box.at(begun + 40)
            box.replace_server_certificate()
        out, _ = load.communicate(timeout=MINUTE + MOST_LOAD_ENDS)
    if load.returncode != 0:
        raise RuntimeError(f"dkimload ended with {load.returncode}: {out}")
    report = json.loads(out)
    box.verify()
    box.take_load()
    box.at(begun + MINUTE)
    refused = {f"{error['code']} {error['reason']}".strip(): error["count"] for error in report["errors"]}
    minute = figures.Minute(number, report["ok"], refused, report["unsent"], report["latency_us"]["p50"] / 1000,
                            report["latency_us"]["p99"] / 1000, report["latency_us"]["max"] / 1000, *box.processes(), fault.name)
    return minute, figures.judge_minute(minute, LOAD_SECONDS, fault)


def show(minute):
    print(ROW.format(minute.number, minute.signed, sum(minute.refused.values()), f"{minute.p99_ms:.1f}", f"{minute.max_ms:.0f}",
                     str(minute.signerd), str(minute.tokend), minute.fault), flush=True)


def main():
    arguments = parse()
    played, problems = [], []
    with station.Station() as box:
        rate = arguments.rate or SHARE * box.capacity()
        print(f"{rate:.0f} messages a second, for {arguments.minutes} minutes; signerd and tokend: MiB/file descriptors/threads,"
              " and of tokend sessions\n")
        print(ROW.format(*HEADINGS), flush=True)
        for number, fault in zip(range(1, arguments.minutes + 1), faults(arguments.seed)):
            minute, wrong = play_minute(box, rate, fault, number)
            played.append(minute)
            problems += wrong
            show(minute)
        problems += box.finish() + figures.judge_share(played) + figures.judge(played)
        print(f"\n{box.accounts.acknowledged} of {box.accounts.messages} messages of the load signed, {box.accounts.no_answer} without an answer;"
              f" {box.sampled} of them and {box.checked} of other relays checked by dkimpy; {box.recorded} signatures on the ledger,"
              f" {box.rotations} rotations, {box.certificates} server certificates, {len(played)} faults")
        refused = collections.Counter()
        for minute in played:
            refused.update(minute.refused)
        print("refused: " + ("; ".join(f"{reason} {count}" for reason, count in refused.most_common()) or "nothing"))
    if arguments.output:
        with open(arguments.output, "w", encoding="ascii") as file:
            json.dump([dataclasses.asdict(minute) for minute in played], file, indent=1)
    for problem in problems:
        print("does not hold: " + problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    try:
        main()
    except (subprocess.TimeoutExpired, RuntimeError) as error:
        sys.exit(f"soak: {error}")
