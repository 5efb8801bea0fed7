"""The verifiers, ours and the independent ones: which there are, how each is run, and whether it can run here."""

import json
import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def _mailauth_folder():
    return pathlib.Path(os.environ.get("HALLMARK_MAILAUTH") or pathlib.Path(os.environ.get("HALLMARK_BUILD", "")) / "mailauth")


def _adapters():
    return {
        "dkimctl": ["/usr/bin/python3", "-B", HERE / "dkimctl_adapter.py"],
        "opendkim": ["/usr/bin/python3", "-B", HERE / "opendkim_adapter.py"],
        "dkimpy": ["/usr/bin/python3", "-B", HERE / "dkimpy_adapter.py"],
        "mail-dkim": ["/usr/bin/perl", HERE / "mail_dkim_adapter.pl"],
        "mailauth": ["node", HERE / "mailauth" / "verify.js"],
    }


# Debian 12's Mail::DKIM is older than its support for Ed25519.
UNSUPPORTED = {("mail-dkim", "ed25519-sha256")}


def names():
    """The verifiers that are installed. All are Debian packages but mailauth, which tools/check gets through npm."""
    return [name for name in _adapters() if name != "mailauth" or (_mailauth_folder() / "node_modules" / "mailauth").is_dir()]


def each(test):
    """names(), to go through in a test: one that is not installed is a subtest that is skipped, so that it is told."""
    for name in sorted(_adapters().keys() - set(names())):
        with test.subTest(verifier=name):
            test.skipTest(f"tools/check could not install {name}")
    yield from names()


def run(name, folder, key_file):
    """The findings of one verifier over a folder of signed messages: a list of dicts (common.py), with "verifier" added."""
    environment = {**os.environ, "HALLMARK_MAILAUTH": str(_mailauth_folder())}
    finished = subprocess.run([str(word) for word in (*_adapters()[name], folder, key_file)], capture_output=True, text=True,
                              timeout=1800, check=False, env=environment)
    if finished.returncode != 0:
        raise AssertionError(f"the {name} adapter ended with {finished.returncode}:\n{finished.stderr}")
    return [{**json.loads(line), "verifier": name} for line in finished.stdout.splitlines()]
