"""The scenarios: tests/faults/*.toml, checked as they are read (README.md says what the words mean)."""

import dataclasses
import pathlib
import re
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
BOXES = ("sessions", "card", "group", "names")
TIMES = ("work", "start")
MENDS = ("faults", "restart", "kill")
DOES = ("", "make", "import", "rotate")
STATES = ("STARTING", "ABSENT", "PIN_REJECTED", "DOWN")


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    what: str         # a sentence for a person
    fault: str        # rules of the faulty module, one a line
    well: float       # seconds within which all is signed again, by itself or after it was mended
    seen: tuple = ()  # what relays may see beside signatures: "UNAVAILABLE TOKEN_DOWN"
    shows: str = ""   # the state that dkimctl status shows while it lasts, for what does not mend itself
    says: str = ""    # and what stands in its message
    mend: str = "faults"
    at: str = "work"
    box: str = "sessions"
    longest: float = 0  # seconds that a call may take at most, for a group: another token takes over within it
    does: str = ""    # what somebody does about keys meanwhile; the fault lasts until it is done or refused
    told: str = ""    # what stands in the answer where it is refused

    @property
    def lasts(self):
        """Seconds until the last rule with a time has begun or ended, at least what it takes for one without to be met."""
        return max([1.0] + [float(word) + 0.5 for word in re.findall(r"(?:from|until) ([0-9.]+)", self.fault)])


def load(folder=HERE):
    """Every scenario, in the order of the files. A mistake in one is an error that names it."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.toml")):
        for name, table in tomllib.loads(path.read_text()).items():
            if name in found:
                raise ValueError(f"{path.name}: {name}: this name is taken already")
            found[name] = _read(f"{path.name}: {name}", name, table)
    return list(found.values())


def _read(where, name, table):
    fields = {field.name for field in dataclasses.fields(Scenario)} - {"name"}
    if unknown := set(table) - fields:
        raise ValueError(f"{where}: what is {', '.join(sorted(unknown))}?")
    if missing := {"what", "fault", "well"} - set(table):
        raise ValueError(f"{where}: there is no {', '.join(sorted(missing))}")
    scenario = Scenario(name=name, **{**table, "seen": tuple(table.get("seen", ())), "fault": table["fault"].strip() + "\n"})
    for word, known in ((scenario.box, BOXES), (scenario.at, TIMES), (scenario.mend, MENDS), (scenario.shows, ("",) + STATES),
                        (scenario.does, DOES)):
        if word not in known:
            raise ValueError(f"{where}: {word!r} is none of {', '.join(known)}")
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"{where}: a name has a-z, 0-9 and - only")
    if scenario.mend != "faults" and not scenario.shows:
        raise ValueError(f"{where}: what is mended shows a state before")
    if scenario.told and not scenario.does:
        raise ValueError(f"{where}: who is told something does something")
    if (scenario.does == "rotate") != (scenario.box == "names"):
        raise ValueError(f"{where}: the box with a name server is for those who rotate")
    if (scenario.box == "group") != (scenario.longest > 0):
        raise ValueError(f"{where}: in a group it is said how long a call takes at most, and there alone")
    return scenario
