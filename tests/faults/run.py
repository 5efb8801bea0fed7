#!/usr/bin/env -S /usr/bin/python3 -B
"""Plays the scenarios of tests/faults against real daemons and prints a table: what relays saw, how long recovery took.

    tools/check --faults                       all of them
    tests/faults/run.py key-handles-stale      some, by name; with HALLMARK_BUILD and PYTHONPATH as tools/check sets them
"""

import argparse
import dataclasses
import json
import selectors
import subprocess
import sys
import time
import traceback

import scenarios

ROW = "{:<40}{:<22}{:>8}{:>9}"
HEADINGS = ("SCENARIO", "RELAYS SAW, TIMES", "LONGEST", "WELL IN")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="play these only")
    parser.add_argument("--list", action="store_true", help="say what there is, and play nothing")
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="boxes side by side (default: 3)")
    parser.add_argument("--again", action="store_true", help="play what was not as it should be once more, alone: that counts")
    parser.add_argument("--output", choices=("table", "json", "markdown"), default="table")
    parser.add_argument("--folder", default=scenarios.HERE, metavar="FOLDER", help="where the scenarios are (default: here)")
    parser.add_argument("--share", metavar="K/N", help=argparse.SUPPRESS)  # what one process plays of all
    return parser.parse_args()


def chosen(folder, names):
    try:
        every = scenarios.load(folder)
    except ValueError as error:
        sys.exit(f"run.py: {error}")
    known = {scenario.name for scenario in every}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"run.py: there is no scenario {', '.join(unknown)}; run.py --list shows what there is")
    return [scenario for scenario in every if not names or scenario.name in names]


# One process: a box for each kind, a line of JSON for each scenario.


def play_share(plays):
    import box  # pylint: disable=import-outside-toplevel  # the others need no programs
    present = None
    for kind in scenarios.BOXES:
        for scenario in [scenario for scenario in plays if scenario.box == kind]:
            try:
                present = present or box.Box(kind)
                tell(present.run(scenario))
            except Exception as error:  # pylint: disable=broad-exception-caught  # whatever it is, the others are played
                log = present.hallmark.log_text()[-3000:] if present else ""
                ended = bool(present) and present.signerd_ended()
                tell(box.Outcome(scenario.name, [*([box.ENDED] if ended else []), f"{type(error).__name__}: {error}",
                                                 traceback.format_exc() + log]))
                if present and ended:
                    present.abandon()
                elif present:
                    give_up(present, kind)
                present = None
        if present:
            tell_of_ledger(kind, present.close())
            present = None


def give_up(present, kind):
    """Of a box in which something went wrong the ledger has to be right all the same: no second play of a scenario shows that."""
    try:
        tell_of_ledger(kind, present.close())
    except Exception as error:  # pylint: disable=broad-exception-caught  # it is in no good state
        tell_of_ledger(kind, [f"{type(error).__name__}: {error}"])
        present.abandon()


def tell_of_ledger(kind, problems):
    import box  # pylint: disable=import-outside-toplevel  # as above
    if problems:
        tell(box.Outcome(f"ledger ({kind})", problems))


def tell(outcome):
    print(json.dumps(dataclasses.asdict(outcome)), flush=True)


# All processes.


def play(arguments, plays):
    """Gives the outcomes as they come."""
    import deployment  # pylint: disable=import-outside-toplevel  # --list needs no programs
    jobs = max(1, min(arguments.jobs, len(plays)))
    names = [scenario.name for scenario in plays]
    children = [subprocess.Popen([sys.executable, "-B", __file__, "--folder", arguments.folder, "--share",
                                  f"{number}/{jobs}", *names], stdout=subprocess.PIPE, text=True,
                                 preexec_fn=deployment.die_with_parent) for number in range(jobs)]
    try:
        yield from merge(children)
        if any(child.wait() for child in children):
            sys.exit("run.py: a process that plays scenarios ended by itself")
    finally:
        for child in children:
            child.kill()
            child.wait()


def merge(children):
    """The lines of all, as they come."""
    with selectors.DefaultSelector() as selector:
        for child in children:
            selector.register(child.stdout, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if line := key.fileobj.readline():
                    yield json.loads(line)
                else:
                    selector.unregister(key.fileobj)


def forgivable(outcome):
    """Whether a machine that was busy may be the reason; never where a signature or the ledger was wrong, or signerd ended."""
    words = ("verify", "record", "signerd ended")
    return bool(outcome["problems"]) and not any(word in problem for problem in outcome["problems"] for word in words)


def saw(outcome):
    return ", ".join(f"{code.split()[-1]} {times}" for code, times in sorted(outcome["refused"].items())) or "signatures only"


def show(outcome):
    print(ROW.format(outcome["name"], saw(outcome), f"{outcome['longest']:.1f} s", f"{outcome['recovery']:.1f} s"))
    for problem in outcome["problems"]:
        print("    " + problem.replace("\n", "\n    "))
    sys.stdout.flush()


def show_markdown(plays, outcomes):
    print("| scenario | what happens | relays saw | well again within |\n|---|---|---|---|")
    for scenario in plays:
        outcome = outcomes[scenario.name]
        state = f"; status: {outcome['state']}" if outcome["state"] else ""
        print(f"| `{scenario.name}` | {scenario.what} | {saw(outcome)}{state} | {outcome['recovery']:.1f} s |")


def main():
    arguments = parse()
    plays = chosen(arguments.folder, arguments.names)
    if arguments.list:
        for scenario in plays:
            print(f"{scenario.name:<30}{scenario.what}")
        return
    if arguments.share:
        number, jobs = map(int, arguments.share.split("/"))
        play_share(sorted(plays, key=lambda scenario: scenario.box)[number::jobs])
        return
    begun, outcomes = time.monotonic(), {}
    if arguments.output == "table":
        print(ROW.format(*HEADINGS), flush=True)
    for outcome in play(arguments, plays):
        outcomes[outcome["name"]] = outcome
        if arguments.output == "table":
            show(outcome)
    second = [scenario for scenario in plays if forgivable(outcomes.get(scenario.name, {"problems": []}))] if arguments.again else []
    if second:
        print(f"\nonce more, alone: {', '.join(scenario.name for scenario in second)}", file=sys.stderr)
        arguments.jobs = 1
        for outcome in play(arguments, second):
            outcomes[outcome["name"]] = outcome
            if arguments.output == "table":
                show(outcome)
    failed = [outcome for outcome in outcomes.values() if outcome["problems"]]
    missing = [scenario.name for scenario in plays if scenario.name not in outcomes]
    if arguments.output == "json":
        print(json.dumps(list(outcomes.values()), indent=1))
    elif arguments.output == "markdown" and not missing:
        show_markdown(plays, outcomes)
    print(f"\n{len(plays)} scenarios in {time.monotonic() - begun:.0f} s: {len(failed)} not as they should be"
          + (f", {len(missing)} not played: {', '.join(missing)}" if missing else ""), file=sys.stderr)
    for outcome in failed:
        print(f"  {outcome['name']}: {outcome['problems'][0]}", file=sys.stderr)
    sys.exit(1 if failed or missing else 0)


if __name__ == "__main__":
    main()
