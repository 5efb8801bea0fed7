"""What deciding about a message and recording it cost: admission with many partners, the ledger in batches, the disk alone."""

import json
import subprocess

from samples import median, shown, table


def measure(context):
    result = {}
    for program in ("admission_bench", "ledger_bench"):
        context.progress(program)
        run = subprocess.run([context.build / "bench" / program, "--benchmark_format=json", f"--benchmark_repetitions={context.repeats}",
                              f"--benchmark_min_time={0.1 if context.quick else 0.5}"],
                             capture_output=True, text=True, timeout=900, check=True)
        for line in json.loads(run.stdout)["benchmarks"]:
            if line["run_type"] != "iteration":
                continue
            if line.get("error_occurred"):
                raise RuntimeError(f"{program}: {line['run_name']}: {line['error_message']}")
            cell = result.setdefault(line["run_name"], {"cpu_us": [], "real_us": [], "per_second": []})
            scale = {"ns": 1e-3, "us": 1, "ms": 1e3}[line["time_unit"]]
            cell["cpu_us"].append(line["cpu_time"] * scale)
            cell["real_us"].append(line["real_time"] * scale)
            cell["per_second"].append(line.get("items_per_second", 0))
    return result


def report(result, _plots):
    admission = [[name, shown(cell["cpu_us"])] for name, cell in result.items() if not name.startswith(("Append", "SyncAlone", "Index", "StartUp"))]
    ledger, derived = [], []
    for name, cell in result.items():
        if name.startswith("Append/"):
            batch = int(name.split("/")[1])
            ledger.append([str(batch), shown([cpu / batch for cpu in cell["cpu_us"]]), shown(cell["per_second"])])
        if name.startswith("Index/"):
            records = 2 * int(name.split("/")[1])  # made once at the start and once more
            derived.append([f"index, us of CPU a record ({records // 2:,} records)", shown([cpu / records for cpu in cell["cpu_us"]])])
        if name.startswith("StartUp/"):
            derived.append([f"start with {int(name.split('/')[1]):,} records, ms", shown([real / 1000 for real in cell["real_us"]])])
    (sync,) = [cell for name, cell in result.items() if name.startswith("SyncAlone")]
    return ("Deciding, with 10,000 partners and 100,000 domains; CPU in us for each message. The decision alone is ParseDecideAndTake "
            "less Parse:\n\n" + table(["", "CPU us"], admission) +
            "\nRecords of one signature each, appended in batches and made durable; CPU of the whole process in us for each record. One "
            f"write and sync of the disk alone takes {median(sync['real_us']):,.0f} us:\n\n" +
            table(["batch", "CPU us", "records/s"], ledger) +
            "\nWhat follows behind: the search index and the tree's hashes.\n\n" + table(["", ""], derived))
