#!/usr/bin/python3
"""The signing daemons of peers, OpenDKIM and rspamd, driven with the messages that ours is driven with.

RSA-2048 from a PEM file, relaxed/relaxed, over a Unix socket. measure() gives

    {daemon: {"2kB/8": [sample, ...]}}        messages of 2 kB at 8 connections

with samples of
    messages_per_second       as seen, with the driver on the same cores
    p50_ms, p99_ms, max_ms    latency, from handing a message over to having its signature
    daemon_cpu_us             CPU time of the daemon, all its threads and processes, a message
    driver_cpu_us             the same of the driver, which is not part of what a daemon costs
    extrapolated_per_second   cores / daemon_cpu: what the daemon could do at most with all cores of the machine to itself

Some of the signatures of every sample are verified, by dkimpy; one that fails ends the measurement.
"""

import argparse
import json
import os
import signal
import sys

import bodies
import closed_loop
import servers
from errors import PeerError

SIZES = ("2kB", "20kB", "200kB")
CONNECTIONS = (1, 8, 32)
VERIFIED = 3  # signatures of a sample


def verify(signature, message, record):
    """Raises unless the signature is good and of the kind that is measured."""
    try:
        import dkim
    except ImportError:
        raise PeerError("dkimpy is missing; apt-get install python3-dkim") from None
    tags = dkim.util.parse_tag_value(signature.split(b":", 1)[1])
    if (tags[b"a"], tags[b"c"]) != (b"rsa-sha256", b"relaxed/relaxed"):
        raise PeerError(f"the daemon signed with {tags[b'a']} and {tags[b'c']}, not as it was set up")
    if not dkim.DKIM(signature + message).verify(dnsfunc=lambda name, timeout=5: record):
        raise PeerError("dkimpy refuses a signature of the daemon; its figures mean nothing")


def sample(daemon, message, connections, seconds):
    outcome = closed_loop.run(daemon, message, connections, seconds)
    for signature in outcome.signatures[:VERIFIED]:
        verify(signature, message, daemon.record)
    each = outcome.daemon_cpu / outcome.signed
    return {"messages_per_second": outcome.signed / outcome.seconds, "p50_ms": outcome.quantile(0.50) * 1e3,
            "p99_ms": outcome.quantile(0.99) * 1e3, "max_ms": outcome.latencies[-1] * 1e3,
            "daemon_cpu_us": each * 1e6, "driver_cpu_us": outcome.driver_cpu * 1e6,
            "extrapolated_per_second": os.cpu_count() / each}


def measure(daemons=tuple(servers.DAEMONS), sizes=SIZES, connections=CONNECTIONS, seconds=3.0, repeats=5,
            progress=lambda text: None):
    """{daemon: {"SIZE/CONNECTIONS": [sample]}}"""
    result = {}
    for name in daemons:
        with servers.DAEMONS[name]() as daemon:
            cells = result[name] = {}
            for size in sizes:
                message = bodies.message(bodies.SIZES[size])
                for count in connections:
                    progress(f"{name}, {size}, {count} connections")
                    cells[f"{size}/{count}"] = [sample(daemon, message, count, seconds) for _ in range(repeats)]
    return result


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("daemons.py: ended by SIGTERM"))  # So that the daemons' folders go.
    parser = argparse.ArgumentParser(description="Throughput, latency and CPU time of the OpenDKIM and rspamd daemons.")
    parser.add_argument("--daemon", action="append", choices=servers.DAEMONS, help="only this one (repeatable)")
    parser.add_argument("--size", action="append", choices=bodies.SIZES, help="only this one (repeatable)")
    parser.add_argument("--connections", action="append", type=int, help="only so many (repeatable)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a sample")
    parser.add_argument("--repeats", type=int, default=5, help="samples")
    options = parser.parse_args()
    try:
        result = measure(options.daemon or tuple(servers.DAEMONS), options.size or SIZES, options.connections or CONNECTIONS,
                         options.seconds, options.repeats, lambda text: print(text, file=sys.stderr))
    except PeerError as error:
        sys.exit(f"daemons.py: {error}")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
