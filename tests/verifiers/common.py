"""What the Python adapters share: reading the key file and the messages, and printing findings.

Every adapter is a program called as `ADAPTER MESSAGE_DIR KEY_FILE`. MESSAGE_DIR holds signed messages (CRLF), KEY_FILE has
lines `name TXT value`. For each DKIM-Signature field of each message, top to bottom, it prints one JSON line:

    {"file", "index", "domain", "selector", "algorithm", "result", "detail"}

`index` counts the DKIM-Signature fields of the message from the top, from 0. `result` is "pass", "fail", "unsupported" (the
verifier does not know the algorithm) or "error" (it gave no verdict at all). Exit status 0 unless the adapter itself broke.
"""

import json
import os
import re
import sys


def read_keys(path):
    """The key file as {name in lower case: value}."""
    keys = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                name, kind, value = line.rstrip("\n").split(None, 2)
                if kind != "TXT":
                    raise ValueError(f"{path}: not a TXT record: {line!r}")
                keys[name.rstrip(".").lower()] = value
    return keys


def message_files(folder):
    """Paths of the messages, in order of name."""
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def split_header(message):
    """The header's fields as raw octets (folds and final CRLF included), and everything after them."""
    fields, at = [], 0
    while at < len(message):
        end = message.find(b"\r\n", at)
        end = len(message) if end < 0 else end + 2
        line = message[at:end]
        if line == b"\r\n":
            break
        if fields and line[:1] in (b" ", b"\t"):
            fields[-1] += line
        else:
            fields.append(line)
        at = end
    return fields, message[at:]


def is_signature(field):
    return re.match(rb"dkim-signature[ \t]*:", field, re.IGNORECASE) is not None


def tags(field):
    """The tags of a DKIM-Signature field as far as d=, s= and a= are concerned."""
    found = {}
    for part in field.split(b":", 1)[1].split(b";"):
        name, _, value = part.partition(b"=")
        found[name.strip().decode("latin-1")] = b"".join(value.split()).decode("latin-1")
    return {"domain": found.get("d", ""), "selector": found.get("s", ""), "algorithm": found.get("a", "")}


def emit(path, index, identity, result, detail):
    json.dump({"file": os.path.basename(path), "index": index, **identity, "result": result, "detail": detail}, sys.stdout)
    sys.stdout.write("\n")


def arguments():
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} MESSAGE_DIR KEY_FILE")
    return message_files(sys.argv[1]), read_keys(sys.argv[2])
