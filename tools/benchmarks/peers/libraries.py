#!/usr/bin/python3
"""How fast the libraries of peers canonicalize (relaxed) and hash a body on one core.

Each peer has a program beside this one, in its own language, called as

    PROGRAM BODY_FILE SECONDS OCTETS BATCH REPEATS

which hashes the body again and again, with its library's own entry points, for SECONDS of its own CPU time (it looks at the
clock every BATCH bodies), REPEATS times after a warm-up, and prints {"hash": base64, "samples": [GB/s]}. A GB is 10^9 octets
of the body as it came: OCTETS is that number. Libraries that leave line ends to their caller get bare LF as CRLF, and do not
pay for it.

measure() gives {peer: {"clean/2kB": [GB/s, ...], ...}}, and refuses to when a body hash is wrong.
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import bodies
from errors import PeerError

HERE = pathlib.Path(__file__).resolve().parent
BATCH_OCTETS = 1_000_000  # Hashed between two looks at the clock, so that looking costs nothing.


# For each peer: its program, whether it takes bare LF, and what to do when it is missing.
PEERS = {
    "dkimpy": (["/usr/bin/python3", "-B", HERE / "dkimpy_hash.py"], False, "apt-get install python3-dkim"),
    "mail-dkim": (["/usr/bin/perl", HERE / "mail_dkim_hash.pl"], False, "apt-get install libmail-dkim-perl"),
    "mailauth": (["node", HERE / "mailauth_hash.mjs"], True,
                 "apt-get install nodejs npm, then run tools/check, which installs mailauth"),
}


def reference_hash(body):
    """The body hash in relaxed canonicalization, as RFC 6376, 3.4.4 puts it, line by line."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.replace(b"\r\n", b"\n").split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    canonical = b"".join(line + b"\r\n" for line in lines)
    return base64.b64encode(hashlib.sha256(canonical).digest()).decode()


def with_crlf(body):
    return re.sub(rb"(?<!\r)\n", b"\r\n", body)


def pin(core):
    """Pins this process, and with it those it starts, to one core."""
    os.sched_setaffinity(0, {core})


def what_failed(text):
    """The telling line of what a program printed when it failed."""
    lines = text.strip().splitlines() or ["it says nothing"]
    return next((line for line in lines if "Error:" in line), lines[0])


def run_peer(peer, body, build, seconds, repeats):
    """The samples of one peer for one body."""
    program, takes_bare_lf, advice = PEERS[peer]
    with tempfile.NamedTemporaryFile(prefix="hallmark-bench-") as file:
        file.write(body if takes_bare_lf else with_crlf(body))
        file.flush()
        numbers = (seconds, len(body), max(1, BATCH_OCTETS // len(body)), repeats)
        try:
            run = subprocess.run([str(word) for word in (*program, file.name, *numbers)], capture_output=True, text=True,
                                 check=False, env={**os.environ, "HALLMARK_MAILAUTH": str(pathlib.Path(build, "mailauth"))})
        except FileNotFoundError as error:
            raise PeerError(f"{peer}: {error.filename} is missing; {advice}") from None
    if run.returncode != 0:
        raise PeerError(f"{peer} does not run ({what_failed(run.stderr)}); {advice}")
    answer = json.loads(run.stdout)
    if answer["hash"] != reference_hash(body):
        raise PeerError(f"{peer} gives a wrong hash for a body of {len(body)} octets; its speed means nothing")
    return answer["samples"]


def measure(build, peers=tuple(PEERS), sizes=tuple(bodies.SIZES), seconds=0.5, repeats=5, core=None,
            progress=lambda text: None):
    """{peer: {"clean/SIZE" or "dirty/SIZE": [GB/s]}}. `build` is the build folder, in which tools/check installs mailauth."""
    allowed = os.sched_getaffinity(0)
    pin(max(allowed) if core is None else core)
    try:
        result = {peer: {} for peer in peers}
        for name in (f"{kind}/{size}" for kind in ("clean", "dirty") for size in sizes):
            kind, size = name.split("/")
            body = bodies.body(bodies.SIZES[size], kind == "dirty")
            for peer in peers:
                progress(f"{peer} {name}")
                result[peer][name] = run_peer(peer, body, build, seconds, repeats)
        return result
    finally:
        os.sched_setaffinity(0, allowed)


def main():
    parser = argparse.ArgumentParser(description="Canonicalization and hashing speed of dkimpy, Mail::DKIM and mailauth, GB/s.")
    parser.add_argument("--build", default=HERE.parents[2] / "build", help="the build folder, where tools/check puts mailauth")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this one (repeatable)")
    parser.add_argument("--size", action="append", choices=bodies.SIZES, help="only this one (repeatable)")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time of a sample")
    parser.add_argument("--repeats", type=int, default=5, help="samples")
    parser.add_argument("--core", type=int, help="the core to run on; the last by default")
    options = parser.parse_args()
    try:
        result = measure(options.build, options.peer or tuple(PEERS), options.size or tuple(bodies.SIZES), options.seconds,
                         options.repeats, options.core, lambda text: print(text, file=sys.stderr))
    except PeerError as error:
        sys.exit(f"libraries.py: {error}")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
