"""Signatures a second and CPU per signature, in one process; and what it takes to verify one."""

import json
import os
import subprocess

from samples import median, number, shown, table

NAMES = {"hallmark": "Hallmark's pipeline, SoftHSM", "c_sign": "C_Sign on SoftHSM", "libopendkim": "libopendkim, PEM in memory",
         "openssl": "OpenSSL EVP_DigestSign alone"}


def measure(context, *arguments, threads=None):
    context.progress("in-process signatures")
    command = [context.build / "bench" / "signature_bench", "--tokend", context.build / "bin" / "tokend", "--threads",
               threads or os.cpu_count(), "--seconds", 0.5 if context.quick else 2, "--repeats", context.repeats, *arguments]
    commands = [command]
    if not arguments:
        commands.append([*command[:-1], 1, "--only", "hallmark", "--allocations"])  # by itself: to count costs time
    return [json.loads(line) for words in commands
            for line in subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       check=True).stdout.decode().splitlines() if line.startswith("{")]


def report(lines, plots):
    text, verifying = [], []
    for algorithm in ("rsa2048", "ed25519"):
        cells = {}
        for line in lines:
            if line["algorithm"] == algorithm and "allocations" not in line:
                cell = cells.setdefault(line["name"], {"per_second": [], "cpu_us": []})
                cell["per_second"].append(line["per_second"])
                cell["cpu_us"].append(line["cpu_us"])
        base = median(cells["c_sign"]["per_second"])
        rows = [[label, shown(cells[name]["per_second"]), shown(cells[name]["cpu_us"]),
                 number(median(cells[name]["per_second"]) / base)] for name, label in NAMES.items()]
        text.append(f"{algorithm}, {lines[0]['threads']} threads:\n\n" +
                    table(["", "signatures/s", "CPU us each", "to C_Sign"], rows))
        if "verify" in cells:
            verifying.append([algorithm, shown(cells["verify"]["per_second"]), shown(cells["verify"]["cpu_us"])])
    if verifying:
        text.append("Each signature is verified before it is given out, which is part of the pipeline's figures; that alone, "
                    f"{lines[0]['threads']} threads:\n\n" + table(["Verify", "verifications/s", "CPU us each"], verifying))
    text.append("Allocations for each message, in the pipeline and by C++ (operator new): " +
                ", ".join(f"{number(line['allocations'])} with {line['algorithm']}" for line in lines if "allocations" in line) + "\n")
    return "\n".join(text)
