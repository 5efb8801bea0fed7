"""dkimload against a real signerd: what it sends, counts and reports, and how it ends. Nothing here is timed."""

import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import dkim

import deployment
import ledger_files
import messages
from waiting import wait_for

SHORT = ("--duration", "2", "--warmup", "0.3")
LATENCIES = ("p50", "p90", "p99", "p99_9", "max")


class LoadTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.hallmark.add_domain("example.com")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.good, cls.bad, cls.long = (cls.folder / name for name in ("good.eml", "bad.eml", "long.eml"))
        cls.good.write_bytes(messages.MESSAGE)
        cls.bad.write_bytes(messages.MESSAGE.replace(b"example.com", b"unknown.example"))
        cls.long.write_bytes(messages.MESSAGE + b"One more line.\r\n" * 8000)

    def load(self, *arguments, status=0, directory=None, env=None):
        """Runs dkimload; the exit status must be as given. Returns the finished process."""
        command = [deployment.BIN / "dkimload", "--dir", directory or self.hallmark.folder, *arguments]
        run = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False, env=env)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run

    def report(self, *arguments, status=0):
        return json.loads(self.load(*arguments, "--output", "json", status=status).stdout)

    def signed_messages(self):
        return int(self.hallmark.dkimctl_json("status")["signed_message_count"])

    def assert_latencies(self, latency):
        values = [latency[key] for key in LATENCIES]
        self.assertEqual(values, sorted(values))
        self.assertGreater(values[0], 0)
        self.assertTrue(0 < latency["mean"] <= latency["max"])

    def assert_sane(self, report):
        """What is true of every run, of which all messages were signed."""
        self.assertGreater(report["ok"], 0)
        self.assertEqual((report["failed"], report["errors"]), (0, []))
        self.assertEqual(report["started"], report["ok"])
        self.assertEqual(report["latency_us"]["count"], report["ok"])
        self.assert_latencies(report["latency_us"])
        self.assertGreater(report["offered_rate"], 0)
        self.assertGreater(report["throughput"], 0)

    def test_open_loop(self):
        before = self.signed_messages()
        report = self.report("--rate", "50", *SHORT, "--check", self.good, self.long)
        self.assert_sane(report)
        self.assert_latencies(report["lag_us"])
        self.assertEqual(report["lag_us"]["count"], report["started"])
        self.assertEqual((report["load"]["rate"], report["load"]["in_flight"], report["messages"]["count"]), (50, None, 2))
        self.assertGreaterEqual(self.signed_messages() - before, report["ok"])

    def test_same_seed_same_arrivals(self):
        def started(seed):
            report = self.report("--rate", "40", *SHORT, "--seed", seed, self.good)
            return report["started"] + report["unsent"]
        self.assertEqual(started("5"), started("5"))

    def test_what_this_machine_cannot_send_in_time_is_not_sent_and_said(self):
        report = self.report("--rate", "1000000", *SHORT, "--allow-errors", self.good)
        self.assertGreater(report["unsent"], 0)
        self.assertEqual(report["ok"] + report["failed"], report["started"])

    def test_a_window_is_as_long_as_was_asked_for(self):
        """Rates are of that window, also where dkimload is woken long after its end."""
        before = self.signed_messages()
        with subprocess.Popen([deployment.BIN / "dkimload", "--dir", self.hallmark.folder, "--rate", "50", "--warmup", "0", "--duration", "2",
                               "--allow-errors", "--output", "json", self.good], stdout=subprocess.PIPE, text=True,
                              preexec_fn=deployment.die_with_parent) as run:
            wait_for(lambda: self.signed_messages() > before, "it has begun")
            run.send_signal(signal.SIGSTOP)
            time.sleep(3)  # the window's end passes
            run.send_signal(signal.SIGCONT)
            report = json.loads(run.stdout.read())
        self.assertEqual(report["window_seconds"], 2)
        self.assertAlmostEqual(report["offered_rate"], report["started"] / 2, places=3)

    def test_closed_loop(self):
        report = self.report("--in-flight", "4", "--connections", "2", *SHORT, "--check", self.good)
        self.assert_sane(report)
        self.assertEqual(report["lag_us"]["count"], 0)
        self.assertEqual((report["load"]["rate"], report["load"]["in_flight"]), (None, 4))

    def test_every_method(self):
        for method in ("stream", "digest"):
            for loop in (("--rate", "50"), ("--in-flight", "6")):
                with self.subTest(method, loop=loop[0]):
                    report = self.report(*loop, "--method", method, "--connections", "2", *SHORT, "--check", "--domain",
                                         "example.com", self.good, self.long)
                    self.assert_sane(report)
                    self.assertEqual((report["load"]["method"], report["load"]["domain"]), (method, "example.com"))

    def test_private_key_in_a_token(self):
        """In one of the relay's own: the engine through which gRPC signs does not read a token that has Ed25519 keys."""
        own, folder = self.hallmark.folder, self.folder / "card"
        shutil.copytree(own / "tls", folder / "tls")
        (folder / "tokens").mkdir()
        conf, pin = folder / "softhsm2.conf", folder / "pin"
        conf.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
        pin.write_text("123456")
        environment = {**os.environ, "SOFTHSM2_CONF": str(conf)}
        for arguments in (("--init-token", "--free", "--label", "card", "--so-pin", "123456", "--pin", "123456"),
                          ("--import", folder / "tls/relay1.key", "--token", "card", "--label", "relay1", "--id", "0b", "--pin", "123456")):
            subprocess.run(["softhsm2-util", *arguments], env=environment, check=True, capture_output=True)
        (folder / "tls/relay1.key").unlink()
        module = re.search(r'module = "(.*)"', self.hallmark.config.read_text())[1]
        (folder / "dkimctl.toml").write_text((own / "dkimctl.toml").read_text().replace(
            'private_key = "tls/relay1.key"',
            f'private_key = "pkcs11:token=card;object=relay1;type=private?pin-source=file:{pin}"\nmodule = "{module}"'))
        self.load("--rate", "20", "--connections", "2", *SHORT, self.good, directory=folder, env=environment)

    def test_each_connection_is_one_of_its_own(self):
        run = subprocess.Popen([deployment.BIN / "dkimload", "--dir", self.hallmark.folder, "--rate", "5", "--duration", "20",
                                "--connections", "3", self.good], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=deployment.die_with_parent)
        try:
            port = int(self.hallmark.signing_address.rpartition(":")[2])
            while self.connections_to(port, run.pid) < 3:
                self.assertIsNone(run.poll(), "dkimload ended before it had three connections")
        finally:
            run.kill()
            run.wait()

    def connections_to(self, port, pid):
        """How many TCP connections to the port of this machine the process has."""
        sockets = set()
        tables = (pathlib.Path("/proc/net") / name for name in ("tcp", "tcp6"))  # gRPC reaches 127.0.0.1 through IPv6 sockets
        for line in "".join(table.read_text() for table in tables).splitlines():
            fields = line.split()
            if fields[2].endswith(f":{port:04X}") and fields[3] == "01":  # established
                sockets.add(f"socket:[{fields[9]}]")
        count = 0
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                count += str(entry.readlink()) in sockets
            except FileNotFoundError:
                pass  # closed meanwhile
        return count

    def test_errors_are_counted_by_reason(self):
        unknown = [{"code": "FAILED_PRECONDITION", "reason": "DOMAIN_NOT_CONFIGURED"}]
        for method in ("sign", "stream", "digest"):
            with self.subTest(method):
                arguments = ("--rate", "50", "--method", method, *SHORT, self.good, self.bad)
                report = self.report(*arguments, status=1)
                self.assertEqual([{key: error[key] for key in ("code", "reason")} for error in report["errors"]], unknown)
                self.assertEqual(sum(error["count"] for error in report["errors"]), report["failed"])
                self.assertEqual(report["failed_latency_us"]["count"], report["failed"])
                self.assertEqual(report["ok"] + report["failed"], report["started"])
                self.assertTrue(abs(report["ok"] - report["failed"]) <= 1, report)
        self.load("--rate", "50", *SHORT, "--allow-errors", self.bad)

    def test_what_became_of_each_message_is_kept(self):
        """And is what the ledger has: each signature under its request_id, and nothing of what was refused."""
        folder = self.folder / "kept"
        report = self.report("--rate", "100", "--duration", "3", "--warmup", "0.3", "--keep", folder, "--allow-errors", self.good, self.bad)
        outcomes = [line.split() for line in (folder / "outcomes").read_text().splitlines()]
        well = {outcome[0] for outcome in outcomes if outcome[1:] == ["2"]}
        refused = {outcome[0] for outcome in outcomes if outcome[1:] == ["FAILED_PRECONDITION", "DOMAIN_NOT_CONFIGURED"]}
        self.assertEqual(len(well) + len(refused), len(outcomes))
        self.assertGreaterEqual(len(well), report["ok"])  # with those of the warm-up
        self.assertGreaterEqual(len(refused), report["failed"])
        kept = collections.Counter(record.signature.request_id for record in ledger_files.records(self.hallmark.folder / "state/ledger")
                                   if record.HasField("signature"))
        self.assertEqual({name: kept[name] for name in well}, {name: 2 for name in well})
        self.assertEqual([name for name in refused if kept[name]], [])
        dns = dict(line.strip().split(" TXT ", 1) for line in self.hallmark.key_lines(["example.com"]))
        samples = list(folder.glob("*.eml"))
        self.assertEqual(len(samples), -(-len(well) // 250))
        for sample in samples:
            verifier = dkim.DKIM(sample.read_bytes())
            for index in range(2):
                self.assertTrue(verifier.verify(index, dnsfunc=lambda name, timeout=5: dns.get(name.decode().rstrip("."), "").encode()))

    def test_closed_loop_of_refusals_ends(self):
        report = self.report("--in-flight", "3", "--method", "stream", *SHORT, self.bad, status=1)
        self.assertEqual((report["ok"], report["throughput"]), (0, 0))
        self.assertEqual(report["latency_us"]["max"], 0)
        self.assertGreater(report["failed"], 0)

    def test_deadline(self):
        report = self.report("--in-flight", "50", "--deadline", "1", *SHORT, "--allow-errors", self.long)
        self.assertIn(("DEADLINE_EXCEEDED", True), [(error["code"], error["count"] > 0) for error in report["errors"]])

    def test_processes(self):
        [tokend] = self.hallmark.tokend_pids()
        pids = {"signerd": self.hallmark.process.pid, "tokend": tokend}
        report = self.report("--in-flight", "8", *SHORT, *(f"--pid={name}={pid}" for name, pid in pids.items()), self.good)
        self.assertEqual([process["name"] for process in report["processes"]], ["dkimload", *pids])
        for process in report["processes"]:
            self.assertEqual(process["pid"], pids.get(process["name"], process["pid"]))
            self.assertGreater(process["user_us"] + process["system_us"], 0, process)
            self.assertGreater(process["cpu_us_per_message"], 0)
            self.assertTrue(0 < process["rss_kib"] <= process["peak_rss_kib"], process)

    def test_process_that_ends(self):
        with subprocess.Popen(["sleep", "1"]) as sleeper:
            report = self.report("--rate", "20", *SHORT, "--pid", f"gone={sleeper.pid}", self.good)
            # Until it is waited for it still has processor time, but no memory.
            self.assertIsNone(report["processes"][1]["rss_kib"])

    def test_table(self):
        text = self.load("--rate", "50", *SHORT, "--pid", f"signerd={self.hallmark.process.pid}", self.good, self.bad,
                         status=1).stdout
        for word in ("P99.9", "sent late", "DOMAIN_NOT_CONFIGURED", "CPU US/MESSAGE", "signerd", "dkimload"):
            self.assertIn(word, text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80, text)

    def test_help(self):
        text = self.load("--help").stdout
        self.assertIn("Examples:\n  dkimload ", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80, text)

    def test_wrong_usage(self):
        loop = ("--rate", "10")
        cases = {"--rate (open loop) or --in-flight": (self.good,), "either": (*loop, "--in-flight", "1", self.good),
                 "FILE": loop, "no method": (*loop, "--method", "large", self.good), "NAME=PID": (*loop, "--pid", "x", self.good),
                 "no process": (*loop, "--pid", "x=999999999", self.good), "--rate": ("--rate", "0", self.good),
                 "no format": (*loop, "--output", "xml", self.good),
                 "--keep is for": (*loop, "--keep", self.folder / "none", "--method", "stream", self.good), "--duration": (*loop, "--duration", "0", self.good)}
        for expected, arguments in cases.items():
            with self.subTest(expected):
                run = self.load(*arguments, status=2)
                self.assertRegex(run.stderr, rf"\Adkimload: .*{re.escape(expected)}.*\n\Z")
                self.assertEqual(run.stdout, "")

    def test_what_cannot_be_read(self):
        self.assertIn("no such file", self.load("--rate", "10", self.folder / "missing.eml", status=1).stderr)
        self.assertIn("outcomes", self.load("--rate", "10", "--keep", self.good, self.good, status=1).stderr)
        run = self.load("--rate", "10", self.good, directory=self.folder, status=1)
        self.assertIn("dkimctl.toml", run.stderr)

    def test_server_that_is_not_there(self):
        with deployment.Deployment() as other:
            other.stop()
            run = self.load("--rate", "10", self.good, directory=other.folder, status=3)
            self.assertRegex(run.stderr, r"\Adkimload: cannot reach signerd at .*\n\Z")
            self.assertEqual(run.stdout, "")

    def test_server_that_goes_away(self):
        for method in ("sign", "stream"):
            with self.subTest(method), deployment.Deployment() as other:
                other.add_domain("example.com")
                run = subprocess.Popen([deployment.BIN / "dkimload", "--dir", other.folder, "--in-flight", "4", "--method", method,
                                        "--warmup", "0", "--duration", "4", "--output", "json", self.good],
                                       stdout=subprocess.PIPE, text=True, preexec_fn=deployment.die_with_parent)
                with run:
                    # The answers to four of them may not have arrived.
                    while int(other.dkimctl_json("status")["signed_message_count"]) <= 4:
                        self.assertIsNone(run.poll(), "dkimload ended before a message was signed")
                    other.process.kill()  # asked to stop, it would let a stream end first
                    report = json.loads(run.stdout.read())
                self.assertEqual(run.returncode, 1)
                self.assertGreater(report["ok"], 0)
                self.assertIn("UNAVAILABLE", [error["code"] for error in report["errors"]])


if __name__ == "__main__":
    unittest.main()
