"""Our own verifier, `dkimctl verify`, under the rules of common.py."""

import json
import os
import pathlib
import subprocess
import sys

import common


def main():
    files, _ = common.arguments()
    key_file = sys.argv[2]
    program = pathlib.Path(os.environ["HALLMARK_BUILD"], "bin", "dkimctl")
    for start in range(0, len(files), 500):
        run = subprocess.run([program, "verify", "--output", "json", "--key-file", key_file, *files[start:start + 500]],
                             capture_output=True, text=True, check=False)
        if not run.stdout:
            raise SystemExit(f"dkimctl ended with {run.returncode}: {run.stderr}")
        for answer in json.loads(run.stdout)["files"]:
            for index, signature in enumerate(answer["signatures"]):
                identity = {name: signature[name] for name in ("domain", "selector", "algorithm")}
                result = "pass" if signature["verdict"] == "pass" else "fail"
                common.emit(answer["file"], index, identity, result, signature["reason"])


if __name__ == "__main__":
    main()
