"""How it grows: with calls in flight, with the size of messages, with the number of domains and of partners."""

import contextlib
import sqlite3
import tempfile
import time

import bodies
import end_to_end
import service
from samples import median, number, shown, table

IN_FLIGHT = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
DOMAINS = (10, 1_000, 10_000, 100_000)
PARTNERS = (1, 100, 1_000, 10_000)


def measure(context):
    seconds = {"duration": 1 if context.quick else 2, "warmup": 0.5}
    result = {"in_flight": {}, "size": {}, "domains": {}, "partners": {}}
    with tempfile.TemporaryDirectory() as folder, service.Service("instant") as hallmark:
        messages = service.write_messages(folder, 20_000, 64)
        hallmark.warm_up(messages)
        for count in IN_FLIGHT:
            context.progress(f"{count} in flight")
            result["in_flight"][count] = _samples(context, hallmark, messages, ("--in-flight", count, "--connections", "2"), seconds)
        for size in SIZES:
            context.progress(f"{size} octets")
            messages = service.write_messages(folder, size, 16)
            hallmark.warm_up(messages)
            result["size"][size] = _samples(context, hallmark, messages, ("--in-flight", "16", "--connections", "2"), seconds)
    for count in DOMAINS:
        context.progress(f"{count} domains")
        result["domains"][count] = _domains(context, count, seconds)
    for count in PARTNERS:
        context.progress(f"{count} partners")
        result["partners"][count] = _partners(context, count, seconds)
    return result


def _samples(context, hallmark, messages, arguments, seconds):
    samples = []
    for _ in range(context.repeats):
        sample = hallmark.load(messages, *arguments, **seconds)
        samples.append({"throughput": sample["throughput"], "cpu": end_to_end.host_cpu([sample])[0],
                        "p99_ms": sample["latency_us"]["p99"] / 1000, "memory": hallmark.resident_bytes("signerd")})
    return samples


def _domains(context, count, seconds):
    """With `count` domains of two keys each. All share two pairs in the token: what a domain costs signerd is the same."""
    with tempfile.TemporaryDirectory() as folder, service.Service("instant", service.RSA + service.ED25519) as hallmark:
        hallmark.hallmark.stop()
        _clone_domain(hallmark.hallmark.folder / "state" / "hallmark.db", count)
        starts = []
        for _ in range(context.repeats):
            begun = time.monotonic()
            hallmark.hallmark.start()
            starts.append(time.monotonic() - begun)
            if len(starts) < context.repeats:
                hallmark.hallmark.stop()
        memory = hallmark.resident_bytes("signerd")
        messages = service.write_messages(folder, 20_000, 64)
        for number_, path in enumerate(sorted(messages.iterdir())):  # from domains all over
            domain = f"d{number_ * count // 64}.example".encode()
            path.write_bytes(path.read_bytes().replace(b"<joe@example.com>", b"<joe@" + domain + b">", 1))
        hallmark.warm_up(messages)
        return {"start_seconds": starts, "memory": memory,
                "samples": _samples(context, hallmark, messages, ("--in-flight", "128", "--connections", "2"), seconds)}


def _partners(context, count, seconds):
    """With `count` partners and a relay for each; the messages are of the organisation's own."""
    with tempfile.TemporaryDirectory() as folder, service.Service("instant") as hallmark:
        hallmark.hallmark.stop()
        _clone_partner(hallmark.hallmark.folder / "state" / "hallmark.db", count - 1)
        begun = time.monotonic()
        hallmark.hallmark.start()
        start = time.monotonic() - begun
        memory = hallmark.resident_bytes("signerd")
        messages = service.write_messages(folder, 20_000, 64)
        hallmark.warm_up(messages)
        return {"start_seconds": [start], "memory": memory,
                "samples": _samples(context, hallmark, messages, ("--in-flight", "128", "--connections", "2"), seconds)}


def _clone_partner(database, count):
    with contextlib.closing(sqlite3.connect(database)) as store, store:
        own = store.execute("SELECT * FROM partner WHERE name = 'own'").fetchone()
        (state,) = store.execute("SELECT state FROM relay").fetchone()
        places = ", ".join("?" * len(own))
        store.executemany(f"INSERT INTO partner VALUES ({places})", ((f"p{number}", *own[1:]) for number in range(count)))
        store.executemany("INSERT INTO relay (name, identity, partners, state) VALUES (?, ?, ?, ?)",
                          ((f"r{number}", f"dns:r{number}.example", f"p{number}", state) for number in range(count)))


def _clone_domain(database, count):
    with contextlib.closing(sqlite3.connect(database)) as store, store:
        profile, created = store.execute("SELECT profile, created FROM domain").fetchone()
        keys = store.execute("SELECT selector, token, cka_id, public_key, state, created, state_since FROM key").fetchall()
        names = [f"d{number_}.example" for number_ in range(count)]
        store.executemany("INSERT INTO domain VALUES (?, ?, ?)", ((name, profile, created) for name in names))
        store.executemany("INSERT INTO key (domain, selector, token, cka_id, public_key, state, created, state_since) "
                          "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", ((name, *key) for name in names for key in keys))


def report(result, plots):
    def rows(samples_by):
        return [[f"{int(key):,}", shown([s["throughput"] for s in samples]), shown([s["cpu"] for s in samples]),
                 shown([s["p99_ms"] for s in samples]), number(median([s["memory"] for s in samples]) / 1e6)]
                for key, samples in samples_by.items()]
    columns = ["messages/s", "CPU us", "p99 ms", "signerd MB"]
    text = ["Calls in flight, 20 kB, instant token:\n\n" + table(["in flight", *columns], rows(result["in_flight"])),
            "Size of the message, 16 in flight, instant token:\n\n" + table(["octets", *columns], rows(result["size"]))]
    domains = [[f"{int(count):,}", shown(cell["start_seconds"]), number(cell["memory"] / 1e6),
                shown([s["throughput"] for s in cell["samples"]]), shown([s["cpu"] for s in cell["samples"]])]
               for count, cell in result["domains"].items()]
    text.append("Domains with an RSA and an Ed25519 key each; 20 kB messages from 64 of them, both signatures:\n\n" +
                table(["domains", "start s", "signerd MB", "messages/s", "CPU us"], domains))
    partners = [[f"{int(count):,}", shown(cell["start_seconds"]), number(cell["memory"] / 1e6),
                 shown([s["throughput"] for s in cell["samples"]]), shown([s["cpu"] for s in cell["samples"]])]
                for count, cell in result["partners"].items()]
    text.append("Partners, with a relay each; 20 kB messages of one of them:\n\n" +
                table(["partners", "start s", "signerd MB", "messages/s", "CPU us"], partners))
    def plot(name, title, x_name, y_name, cells, value, base):
        return plots.line(name, title, x_name, y_name, [int(key) for key in cells], [value(cell) for cell in cells.values()], base)

    def throughput(samples):
        return median([sample["throughput"] for sample in samples])

    text += [plot("in-flight", "Throughput with the instant token, 20 kB", "calls in flight", "messages/s", result["in_flight"], throughput, 2),
             plot("in-flight-p99", "p99 with the instant token, 20 kB", "calls in flight", "ms", result["in_flight"],
                  lambda samples: median([sample["p99_ms"] for sample in samples]), 2),
             plot("size", "Throughput with the instant token, 16 in flight", "octets of a message", "messages/s", result["size"], throughput, 10),
             plot("domains", "Start with as many domains", "domains", "seconds", result["domains"],
                  lambda cell: median(cell["start_seconds"]), 10)]
    return "\n".join(text)
