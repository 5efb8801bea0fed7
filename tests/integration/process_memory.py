"""What is in another process's memory, all of it: also what a core would leave out. Root may read it, others not."""

import os
import pathlib
import re

SHADOW = 1 << 30  # Octets. Larger regions are a sanitizer's own, which has terabytes of them.


def readable(pid):
    """Whether this process may read the memory of that one."""
    try:
        with open(f"/proc/{pid}/mem", "rb"):
            return True
    except PermissionError:
        return False


def regions(pid):
    """(range as /proc/PID/maps names it, octets) of each region that can be read."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if not match or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            begin, end = (int(word, 16) for word in match.groups())
            if end - begin > SHADOW:
                continue
            try:
                yield line, os.pread(memory.fileno(), end - begin, begin)
            except OSError:
                continue  # gone meanwhile, or a device's


def find(pid, patterns):
    """{name: where} of the patterns ({name: octets}) that are there."""
    found = {}
    for region, octets in regions(pid):
        for name, pattern in patterns.items():
            if pattern in octets:
                found.setdefault(name, region)
    return found


def size(pid):
    """How many octets can be read."""
    return sum(len(octets) for _, octets in regions(pid))
