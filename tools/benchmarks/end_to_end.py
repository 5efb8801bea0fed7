"""End to end over gRPC with mTLS: throughput, latency and CPU per message, for each simulated token and SoftHSM."""

import os
import tempfile

import bodies
import service
import signatures
from samples import latency, median, number, shown, table

# What FAULTY_PKCS11_SIMULATE takes, how long a signature takes in it (us), how many sessions sign, how many messages.
TOKENS = {
    "instant": ("instant", 0, None, 64),
    "PCIe HSM": ("pcie", 300, 14, 64),
    "network HSM": ("network,sessions=32", 3000, 30, 64),
    "smartcard": ("smartcard", 300_000, 1, 8),
    "SoftHSM": ("softhsm", None, None, 64),
}
SOFTHSM_SESSIONS = 8
SIZES = ("2kB", "20kB", "200kB")
CLOSED = ("--in-flight", "128", "--connections", "2")
METHODS = ("sign", "stream", "digest")


def measure(context):
    result = {}
    for name, (token, _, sessions, count) in TOKENS.items():
        for size in SIZES if name != "smartcard" else ("20kB",):
            context.progress(f"{name}, {size}")
            with tempfile.TemporaryDirectory() as folder, service.Service(token, sessions=_sessions(name)) as hallmark:
                messages = service.write_messages(folder, bodies.SIZES[size], count)
                hallmark.warm_up(messages)
                result[f"{name}/{size}"] = _cell(context, hallmark, messages, token)
    raw = signatures.measure(context, "--only", "c_sign", threads=SOFTHSM_SESSIONS)
    result["c_sign"] = [line["per_second"] for line in raw if line["algorithm"] == "rsa2048"]
    return result


def _sessions(name):
    return SOFTHSM_SESSIONS if name == "SoftHSM" else TOKENS[name][2] or 64


def _cell(context, hallmark, messages, token):
    slow = token == "smartcard"
    seconds = {"duration": 1 if context.quick else 2, "warmup": 0.5}
    closed = ("--in-flight", "8", "--deadline", "30000") if slow else CLOSED
    if slow:
        seconds["duration"] = 8
    cell = {"closed": [hallmark.load(messages, *closed, **seconds) for _ in range(context.repeats)],
            "idle": [hallmark.load(messages, "--in-flight", "1", **seconds)]}
    half = max(0.2, median([sample["throughput"] for sample in cell["closed"]]) / 2)
    cell["half"] = [hallmark.load(messages, "--rate", f"{half:.1f}", "--connections", "2", **seconds)
                    for _ in range(context.repeats)]
    if token == "instant":
        cell["methods"] = {method: [hallmark.load(messages, *CLOSED, "--method", method, **seconds)
                                    for _ in range(context.repeats)] for method in METHODS}
        cell["floor"] = [hallmark.load_floor(messages, *CLOSED, **seconds) for _ in range(context.repeats)]
    return cell


def cpu(samples, process):
    return [next(entry["cpu_us_per_message"] for entry in sample["processes"] if entry["name"] == process) for sample in samples]


def host_cpu(samples):
    return [a + b for a, b in zip(cpu(samples, "signerd"), cpu(samples, "tokend"))]


def report(result, plots):
    text, busy, rows = [], [], []
    raw = result.pop("c_sign")
    for name, cell in result.items():
        token, size = name.split("/")
        rate = [sample["throughput"] for sample in cell["closed"]]
        rows.append([f"{token}, {size}", shown(rate), shown(cpu(cell["closed"], "signerd")), shown(cpu(cell["closed"], "tokend")),
                     shown(cpu(cell["closed"], "dkimload"))])
        each, sessions = TOKENS[token][1:3]
        if sessions:
            busy.append([f"{token}, {size}", shown(rate), number(sessions / each * 1e6),
                         f"{median(rate) * each / sessions / 1e4:.0f} %"])
    text.append("As fast as it goes: 128 calls in flight on 2 connections (smartcard: 8), RSA-2048. CPU in us for each message.\n\n" +
                table(["", "messages/s", "signerd", "tokend", "dkimload"], rows))
    text.append("How busy that keeps the token:\n\n" + table(["", "messages/s", "token's limit", "busy"], busy))
    rows = []
    for size in SIZES:
        closed = result[f"SoftHSM/{size}"]["closed"]
        rate = [sample["throughput"] for sample in closed]
        # What raw C_Sign would do with the CPU that the load generator left.
        left = 1 - median(rate) * median(cpu(closed, "dkimload")) / 1e6 / os.cpu_count()
        rows.append([size, shown(rate), shown(raw), number(median(rate) / (median(raw) * left))])
    text.append(f"SoftHSM beside raw C_Sign with as many threads ({SOFTHSM_SESSIONS}); the ratio counts only the CPU that dkimload left:"
                "\n\n" + table(["", "messages/s", "C_Sign/s", "ratio"], rows))
    rows = []
    for name, cell in result.items():
        own = TOKENS[name.split("/")[0]][1]
        calls, idle = (cell["idle"][0]["latency_us"][what] for what in ("count", "p50"))
        rows.append([name.replace("/", ", "), "" if own is None else number(own / 1000), f"{calls:,}", number(idle / 1000),
                     "" if own is None else number((idle - own) / 1000),
                     *(latency(cell["half"], quantile) for quantile in ("p50", "p99", "p99_9"))])
    text.append("Latency in ms: one call after the other (idle; the column says how many), and open loop with Poisson arrivals at half the"
                " throughput above, counted from when a message was due; \"-\" where these were so few that it would be the slowest of them.\n\n" +
                table(["", "token", "idle calls", "idle p50", "over the token", "half load p50", "p99", "p99.9"], rows))
    rows = [[method, size, shown([sample["throughput"] for sample in samples]), shown(host_cpu(samples))]
            for size in SIZES for method, samples in result[f"instant/{size}"]["methods"].items()]
    text.append("The ways to call, instant token. CPU in us for each message, of signerd and tokend together.\n\n" +
                table(["method", "size", "messages/s", "CPU"], rows))
    rows = []
    for size in SIZES:
        cell = result[f"instant/{size}"]
        floor, ours = cpu(cell["floor"], "floor"), host_cpu(cell["methods"]["sign"])
        rows.append([size, shown([sample["throughput"] for sample in cell["floor"]]), shown(floor), shown(ours),
                     number(median(ours) - median(floor)), number(median(ours) / median(floor))])
    text.append("The limit: the same single calls to a server that has signerd's listener and certificates, does nothing with a message,"
                " and answers at once. CPU in us for each message; `signing` is what signerd and tokend take beyond that.\n\n" +
                table(["size", "floor's messages/s", "floor's CPU", "ours", "signing", "ratio"], rows))
    return "\n".join(text)
