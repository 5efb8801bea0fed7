"""What signing notices while a thousand domains rotate at once: a real SoftHSM makes their keys, a real Knot takes their records."""

import base64
import tempfile
import time

import bodies
import knot
import service
from samples import number, shown, table

from hallmark.admin.v1 import admin_pb2, rotation_pb2

DOMAINS = 1000
RATE = "300"  # messages a second, in open loop: half of what SoftHSM signs with one core
SECRET = base64.b64encode(bytes(range(32))).decode()


def measure(context):
    seconds = {"duration": 5 if context.quick else 10, "warmup": 1}
    domains = 50 if context.quick else DOMAINS
    result = {"cells": {}, "domains": domains}
    with tempfile.TemporaryDirectory() as folder, knot.Knot([], tsig_secret=SECRET) as dns:
        with service.Service("softhsm", sessions=4, before_start=lambda hallmark: _add_dns(hallmark, dns)) as hallmark:
            messages = service.write_messages(folder, bodies.SIZES["2kB"], 64)
            own = lambda: hallmark.load(messages, "--rate", RATE, **seconds)
            admin, rotation = hallmark.hallmark.admin(), hallmark.hallmark.officer().rotation()
            for index in range(domains):
                admin.CreateDomain(admin_pb2.CreateDomainRequest(name=f"d{index}.example"))
            rotation.SetRotationPolicy(rotation_pb2.SetRotationPolicyRequest(policy={"publisher": "main"}))
            own()
            context.progress("alone")
            result["cells"]["alone"] = [own() for _ in range(context.repeats)]
            begun = time.monotonic()
            for index in range(domains):
                rotation.RotateKeys(rotation_pb2.RotateKeysRequest(domain=f"d{index}.example", compromised=True))
            context.progress(f"while {domains:,} domains rotate")
            result["cells"]["while they rotate"] = [own() for _ in range(context.repeats)]
            context.progress("over")
            result["keys"], result["seconds"] = _keys(rotation), time.monotonic() - begun
            if _done(rotation):
                raise RuntimeError("the rotation was over before the load: more domains are needed")
    return result


def _add_dns(hallmark, dns):
    secret = hallmark.folder / "tsig"
    secret.touch(0o600)
    secret.write_text(SECRET)
    hallmark.edit_config(lambda text: text + f'\n[dns]\nresolver = "127.0.0.1:{dns.port}"\nnameserver_port = {dns.port}\n'
                         f'[[dns.publisher]]\nname = "main"\nserver = "127.0.0.1:{dns.port}"\nsecret_file = "tsig"\n'
                         f'key = "hallmark"\nalgorithm = "hmac-sha256"\n\n')


def _rotations(rotation):
    answer = rotation.ListRotations(rotation_pb2.ListRotationsRequest(page_size=10_000))
    return [one for one in answer.rotations if one.domain != bodies.DOMAIN]


def _keys(rotation):
    return sum(len(one.keys) for one in _rotations(rotation))


def _done(rotation):
    """Whether every domain signs with its new keys."""
    return all(sum(key.key.state == admin_pb2.KEY_STATE_ACTIVE for key in one.keys) == 2 for one in _rotations(rotation))


def report(result, _plots):
    rows = [[name, shown([s["throughput"] for s in samples]),
             *(shown([s["latency_us"][quantile] / 1000 for s in samples]) for quantile in ("p50", "p99", "p99_9"))]
            for name, samples in result["cells"].items()]
    p99 = {name: sorted(s["latency_us"]["p99"] for s in samples)[len(samples) // 2] for name, samples in result["cells"].items()}
    return (f"{result['domains']:,} domains rotate at once, with SoftHSM and Knot on the same two cores: each makes, publishes, observes and"
            f" activates an RSA and an Ed25519 key. {number(result['keys'] / result['seconds'])} keys were made a second. Meanwhile 2 kB messages of"
            f" another domain come, {RATE} a second in open loop, for the same token. Their p99 is {p99['while they rotate'] / p99['alone']:.2f} of"
            " what it is before:\n\n" + table(["", "messages/s", "p50 ms", "p99 ms", "p99.9 ms"], rows))
