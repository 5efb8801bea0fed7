"""Canonicalize and hash: ours, OpenSSL's SHA-256 alone over the same octets, and the libraries of peers; GB/s on one core."""

import json
import os
import subprocess

import libraries
from samples import median, number, shown, table

SIZES = ("2kB", "20kB", "200kB", "10MB")
OURS = ("batched", "single", "openssl", "libopendkim")


def measure(context):
    command = [context.build / "bench" / "canonical_bench", "--benchmark_format=json",
               f"--benchmark_repetitions={context.repeats}", f"--benchmark_min_time={0.05 if context.quick else 0.2}",
               "--benchmark_enable_random_interleaving=true"]
    context.progress("ours, OpenSSL alone and libopendkim")
    core = max(os.sched_getaffinity(0))
    run = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    rates = {}
    for entry in json.loads(run.stdout)["benchmarks"]:
        if entry["run_type"] != "iteration":
            continue
        name, cell = entry["run_name"].split("/", 1)
        rates.setdefault(name, {}).setdefault(cell, []).append(entry["bytes_per_second"] / 1e9)
    rates.update(libraries.measure(context.build, seconds=0.1 if context.quick else 0.3, repeats=context.repeats,
                                   progress=context.progress))
    return rates


def report(rates, plots):
    text = []
    for kind, explained in (("clean", "which no canonicalization changes"),
                            ("dirty", "with tabs, runs of spaces, spaces at line ends and bare LF")):
        names = [name for name in rates if not name.startswith("kernel-") and name != "batched-openssl"]
        rows = [[_label(name), *(shown(rates[name][f"{kind}/{size}"]) for size in SIZES)] for name in names]
        rows.append(["**batched to OpenSSL alone**", *(_ratio(rates, kind, size, "batched", "openssl") for size in SIZES)])
        rows.append(["**single to OpenSSL alone**", *(_ratio(rates, kind, size, "single", "openssl") for size in SIZES)])
        rows.append(["**best of ours to libopendkim**", *(_best(rates, kind, size) for size in SIZES)])
        text.append(f"Bodies {explained}; GB/s:\n\n" + table([kind, *SIZES], rows))
    kernels = sorted(name for name in rates if name.startswith("kernel-"))
    rows = [[name.removeprefix("kernel-"), *(shown(rates[name][f"{kind}/20kB"]) for kind in ("clean", "dirty"))]
            for name in kernels]
    text.append("Canonicalization alone, without a hash, by kernel; 20 kB, GB/s:\n\n" + table(["kernel", "clean", "dirty"], rows))
    text.append(plots.bars("canonical", "Relaxed canonicalization and SHA-256 of 20 kB bodies, one core", "GB/s",
                           {_label(name): [median(rates[name][f"{kind}/20kB"]) for kind in ("clean", "dirty")]
                            for name in rates if not name.startswith("kernel-") and name != "batched-openssl"}, ("clean", "dirty")))
    return "\n".join(text)


def _label(name):
    return {"batched": "Hallmark, batched", "single": "Hallmark, single stream", "openssl": "OpenSSL SHA-256 alone",
            "mail-dkim": "Mail::DKIM"}.get(name, name)


def _ratio(rates, kind, size, ours, peer):
    cell = f"{kind}/{size}"
    return f"**{number(median(rates[ours][cell]) / median(rates[peer][cell]))}**"


def _best(rates, kind, size):
    cell = f"{kind}/{size}"
    best = max(median(rates["batched"][cell]), median(rates["single"][cell]))
    return f"**{number(best / median(rates['libopendkim'][cell]))}**"
