"""Reads a ledger's files and checks them, sharing no code with the daemon: segments, the Merkle tree (RFC 6962 section 2.1)
and the signed checkpoints (C2SP signed-note and tlog-checkpoint)."""

import base64
import hashlib
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hallmark.ledger.v1 import record_pb2

MAGIC = b"HMLEDGR1"


def frames(path):
    """The payloads of a segment; the first is its header. A frame that ends early is an error."""
    content = pathlib.Path(path).read_bytes()
    if not content.startswith(MAGIC):
        raise AssertionError(f"{path} is no segment")
    at = len(MAGIC)
    while at < len(content):
        (length, _) = struct.unpack_from("<II", content, at)
        payload = content[at + 8:at + 8 + length]
        if length == 0 or len(payload) != length:
            raise AssertionError(f"{path}: the frame at {at} is torn")
        yield payload
        at += 8 + length


def frame(payload):
    """The frame of a payload."""
    crc = 0xFFFFFFFF
    for octet in payload:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<II", len(payload), crc ^ 0xFFFFFFFF) + payload


def leaves(folder):
    """The octets of every record, in order."""
    result = []
    for path in sorted((pathlib.Path(folder) / "segments").glob("*.seg")):
        if int(path.stem) != len(result):
            raise AssertionError(f"{path.name} begins where record {len(result)} should")
        result += list(frames(path))[1:]
    return result


def records(folder):
    return [record_pb2.Record.FromString(leaf) for leaf in leaves(folder)]


def roots(octets, sizes):
    """The roots of the trees of the first `sizes` leaves, by size."""
    wanted, nodes, result = set(sizes), [], {}
    for number, leaf in enumerate(octets, 1):
        nodes.append((1, hashlib.sha256(b"\0" + leaf).digest()))
        while len(nodes) > 1 and nodes[-1][0] == nodes[-2][0]:
            (size, right), (_, left) = nodes.pop(), nodes.pop()
            nodes.append((2 * size, hashlib.sha256(b"\1" + left + right).digest()))
        if number in wanted:
            root = nodes[-1][1]
            for _, left in reversed(nodes[:-1]):
                root = hashlib.sha256(b"\1" + left + root).digest()
            result[number] = root
    return result


def checkpoints(folder, public_key):
    """(size, root) of each checkpoint; its signature must be that of the raw Ed25519 key."""
    text = (pathlib.Path(folder) / "checkpoints").read_text()
    result = []
    while text:
        body, text = text.split("\n\n", 1)
        signature, text = text.split("\n\n", 1)
        origin, size, root = body.split("\n")
        dash, name, octets = signature.split(" ")
        if dash != "\u2014" or name != origin:
            raise AssertionError(f"not a signature line: {signature}")
        Ed25519PublicKey.from_public_bytes(public_key).verify(base64.b64decode(octets)[4:], (body + "\n").encode())
        result.append((int(size), base64.b64decode(root)))
    return result


def check(folder, public_key):
    """All of it. Returns the records."""
    octets = leaves(folder)
    heads = checkpoints(folder, public_key)
    sizes = [size for size, _ in heads]
    if sizes != sorted(sizes) or (sizes and sizes[-1] > len(octets)):
        raise AssertionError(f"checkpoints of {sizes} for {len(octets)} records")
    made = roots(octets, sizes)
    for size, root in heads:
        if made[size] != root:
            raise AssertionError(f"the checkpoint of {size} records is not of these records")
    return [record_pb2.Record.FromString(leaf) for leaf in octets]
