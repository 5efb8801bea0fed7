#!/usr/bin/python3
"""OpenDKIM in its test mode (`opendkim -t`), one process a message. See common.py for the interface.

libopendkim refuses a message whole for one malformed DKIM-Signature field, also when that is an old one that nobody asked
about. So fields whose key is not in the key file are left out of the copy that it reads; no signature covers them.
"""

import concurrent.futures
import os
import re
import subprocess
import tempfile

import common

RESULT = re.compile(r"dkim=(\w+)(?: reason=\"([^\"]*)\")?(?: \(([^)]*)\))? header\.d=(\S+) .*?header\.a=(\S+) header\.s=(\S+)")


def examine(path, keys, folder):
    """[(index, identity, result, detail)] of one message."""
    fields, rest = common.split_header(common.read(path))
    kept, wanted, index = [], [], 0
    for field in fields:
        if common.is_signature(field):
            identity = common.tags(field)
            if f"{identity['selector']}._domainkey.{identity['domain']}".lower() in keys:
                wanted.append((index, identity))
                kept.append(field)
            index += 1
        else:
            kept.append(field)
    copy = os.path.join(folder, "copies", os.path.basename(path))
    with open(copy, "wb") as file:
        file.write(b"".join(kept) + rest)

    # A comma separates files on its command line, so the message travels under a plain name, from its own folder.
    run = subprocess.run(["opendkim", "-x", os.path.join(folder, "opendkim.conf"), "-t", copy, "-vv"], capture_output=True,
                         timeout=60, check=False)
    output = run.stdout.decode("latin-1")
    found = {}
    for line in output.splitlines():
        match = RESULT.search(line)
        if match:
            result, reason, comment, domain, algorithm, selector = match.groups()
            found[(domain, selector.rstrip(";"), algorithm)] = (result, reason or comment or "")
    answers = []
    for index, identity in wanted:
        result, detail = found.get((identity["domain"], identity["selector"], identity["algorithm"]), ("none", ""))
        if result == "none":
            said = " ".join(line for line in (output + run.stderr.decode("latin-1")).splitlines() if "returned" not in line)
            answers.append((index, identity, "error", said.replace(copy, "message").replace("opendkim: message: ", "").strip()))
        elif result == "pass":
            answers.append((index, identity, "pass", ""))
        else:
            answers.append((index, identity, "fail", f"{result}: {detail}"))
    return answers


def main():
    files, keys = common.arguments()
    with tempfile.TemporaryDirectory(prefix="hallmark-opendkim-") as folder:
        os.mkdir(os.path.join(folder, "copies"))
        with open(os.path.join(folder, "zone"), "w", encoding="utf-8") as zone:
            zone.writelines(f"{name} {value}\n" for name, value in keys.items())
        with open(os.path.join(folder, "opendkim.conf"), "w", encoding="utf-8") as conf:
            conf.write(f"Mode v\nSyslog no\nTestPublicKeys {folder}/zone\n")
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, answers in zip(files, pool.map(lambda path: examine(path, keys, folder), files)):
                for index, identity, result, detail in answers:
                    common.emit(path, index, identity, result, detail)


if __name__ == "__main__":
    main()
