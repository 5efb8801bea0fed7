"""The daemons of OpenDKIM and rspamd, driven with the same messages, beside signerd and tokend with SoftHSM."""

import daemons
from samples import median, number, shown, table


def measure(context):
    return daemons.measure(seconds=1 if context.quick else 2, repeats=context.repeats, connections=(1, 8),
                           progress=context.progress)


def report(result, plots, ours=None):
    rows = []
    for name, cells in result.items():
        for cell, samples in cells.items():
            size, connections = cell.split("/")
            values = lambda key: [sample[key] for sample in samples]
            rows.append([name, size, connections, shown(values("messages_per_second")), shown(values("p50_ms")),
                         shown(values("p99_ms")), shown(values("daemon_cpu_us")), number(median(values("extrapolated_per_second")))])
    return ("RSA-2048 with a PEM file, over a Unix socket without TLS. `could` is what all cores could do if nothing but the daemon"
            " ran: the driver shares the cores.\n\n" +
            table(["daemon", "size", "connections", "messages/s", "p50 ms", "p99 ms", "CPU us", "could"], rows))
