#!/usr/bin/python3
"""dkimpy's body hash, as dkim.DKIM.sign makes it: see libraries.py for the interface."""

import base64
import json
import sys
import time

import dkim
from dkim.canonicalization import CanonicalizationPolicy


def body_hash(policy, body):
    digest = dkim.HASH_ALGORITHMS[b"rsa-sha256"]()
    digest.update(policy.canonicalize_body(body))
    return base64.b64encode(digest.digest()).decode()


def rate(policy, body, octets, seconds, batch):
    """Octets per nanosecond of CPU time, which is GB/s."""
    rounds, start = 0, time.process_time_ns()
    while (spent := time.process_time_ns() - start) < seconds * 1e9:
        for _ in range(batch):
            body_hash(policy, body)
        rounds += batch
    return octets * rounds / spent


def main():
    path, seconds = sys.argv[1], float(sys.argv[2])
    octets, batch, repeats = (int(word) for word in sys.argv[3:])
    policy = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
    with open(path, "rb") as file:
        body = file.read()
    rate(policy, body, octets, seconds / 5, batch)  # Warms caches and memory up.
    samples = [rate(policy, body, octets, seconds, batch) for _ in range(repeats)]
    print(json.dumps({"hash": body_hash(policy, body), "samples": samples}))


if __name__ == "__main__":
    main()
