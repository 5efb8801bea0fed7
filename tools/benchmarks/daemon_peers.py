"""The daemons of OpenDKIM and rspamd, driven with the same messages, beside signerd and tokend with SoftHSM."""

import os
import tempfile

import bodies
import daemons
import end_to_end
import service
from samples import median, number, shown, table

CONNECTIONS = (1, 8)


def measure(context):
    result = daemons.measure(seconds=1 if context.quick else 2, repeats=context.repeats, connections=CONNECTIONS,
                             progress=context.progress)
    result["signerd and tokend"] = {}
    with service.Service("softhsm", sessions=end_to_end.SOFTHSM_SESSIONS) as hallmark, tempfile.TemporaryDirectory() as folder:
        for size in daemons.SIZES:
            messages = service.write_messages(folder, bodies.SIZES[size], 16)
            for count in CONNECTIONS:
                context.progress(f"signerd and tokend, {size}, {count} in flight")
                result["signerd and tokend"][f"{size}/{count}"] = [_ours(context, hallmark, messages, count)
                                                                   for _ in range(context.repeats)]
    return result


def _ours(context, hallmark, messages, count):
    sample = hallmark.load(messages, "--in-flight", count, duration=1 if context.quick else 2, warmup=0.5)
    cpu = end_to_end.host_cpu([sample])[0]
    return {"messages_per_second": sample["throughput"], "p50_ms": sample["latency_us"]["p50"] / 1e3,
            "p99_ms": sample["latency_us"]["p99"] / 1e3, "daemon_cpu_us": cpu, "extrapolated_per_second": os.cpu_count() / cpu * 1e6}


def report(result, plots):
    rows = []
    for name, cells in result.items():
        for cell, samples in cells.items():
            size, connections = cell.split("/")
            values = lambda key: [sample[key] for sample in samples]
            cost = median(values("daemon_cpu_us"))
            ours = median([sample["daemon_cpu_us"] for sample in result["signerd and tokend"][cell]])
            rows.append([name, size, connections, shown(values("messages_per_second")), shown(values("p50_ms")),
                         shown(values("p99_ms")), shown(values("daemon_cpu_us")), number(median(values("extrapolated_per_second"))),
                         number(cost / ours)])
    return ("RSA-2048. OpenDKIM and rspamd sign with a PEM file and are asked over a Unix socket without TLS; signerd signs with"
            " SoftHSM and is asked over TCP with mTLS. `could` is what all cores could do if nothing but the daemon ran, for the"
            " driver shares the cores; `CPU ratio` is the daemon's CPU to that of signerd and tokend.\n\n" +
            table(["daemon", "size", "in flight", "messages/s", "p50 ms", "p99 ms", "CPU us", "could", "CPU ratio"], rows))
