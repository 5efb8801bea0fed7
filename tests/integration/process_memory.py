"""What is in another process's memory, all of it: also what a core would leave out. Root may read it, others not."""

import os
import pathlib
import re

import deployment

SHADOW = 1 << 30  # Octets. Larger regions are a sanitizer's own, which has terabytes of them.
BLOCK = 64 << 20
# Of the kernel, not of the process: nobody can read them by way of its memory.
KERNELS = ("[vvar]", "[vvar_vclock]", "[vsyscall]")


def readable(pid):
    """Whether this process may read the memory of that one."""
    try:
        with open(f"/proc/{pid}/mem", "rb"):
            return True
    except PermissionError:
        return False


def _maps(pid):
    """What the process may read of its memory, as /proc/PID/maps has it: {its line: (begin, end)}."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
        if match and not line.endswith(KERNELS):
            found[line] = tuple(int(word, 16) for word in match.groups())
    return found


def regions(pid):
    """(range as /proc/PID/maps names it, octets) of each region that the process may read: all of it, or it is an error. A sanitizer's
    own memory is left out."""
    sanitized = deployment.sanitized()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line, (begin, end) in _maps(pid).items():
            if end - begin > SHADOW and sanitized:
                continue
            octets = _read(memory, begin, end)
            if len(octets) != end - begin and _is_mapped(pid, begin + len(octets)):
                raise AssertionError(f"of {end - begin} octets only {len(octets)} can be read: {line}")
            yield line, octets


def _read(memory, begin, end):
    """As many octets as can be read."""
    parts = []
    while begin < end:
        try:
            part = os.pread(memory.fileno(), min(end - begin, SHADOW), begin)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
        begin += len(part)
    return b"".join(parts)


def _is_mapped(pid, address):
    """Whether it is there now: what was unmapped meanwhile is no more of the process."""
    return any(begin <= address < end for begin, end in _maps(pid).values())


def find(pid, patterns):
    """{name: where} of the patterns ({name: octets}) that are there."""
    found = {}
    for region, octets in regions(pid):
        for name, pattern in patterns.items():
            if pattern in octets:
                found.setdefault(name, region)
    return found


def find_in_file(path, patterns):
    """The names of the patterns that are in a file, which may be larger than is good to have in memory."""
    found, rest, overlap = set(), b"", max(map(len, patterns.values())) - 1
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            octets = rest + block
            found |= {name for name, pattern in patterns.items() if name not in found and pattern in octets}
            rest = octets[-overlap:]
    return found


def size(pid):
    """How many octets can be read."""
    return sum(len(octets) for _, octets in regions(pid))
