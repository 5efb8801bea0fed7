"""Health: test signatures, what hallmark-health reports, the clock; what systemd, relays and operators are told of it; the end."""

import contextlib
import datetime
import json
import os
import re
import signal
import socket
import subprocess
import threading
import unittest

import grpc

import deployment
import messages
import metrics_test
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2, alerts_pb2, appliance_pb2
from hallmark.signing.v1 import signing_pb2

OK, WARNING, FAILED, UNKNOWN = (appliance_pb2.HealthLevel.Value(f"HEALTH_LEVEL_{name}") for name in ("OK", "WARNING", "FAILED", "UNKNOWN"))

NOT_SERVING = b"\x08\x02"  # grpc.health.v1.HealthCheckResponse as octets; a request for the whole server has none


def octets(value):
    return value


class Notifications:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.lines = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError):
            while text := self._socket.recv(65536):
                self.lines += text.decode().splitlines()

    def close(self):
        self._socket.close()


class HealthCase(unittest.TestCase):
    settings = "test_signature_seconds = 1\nalert_after_seconds = 0\n"

    def setUp(self):
        self.hallmark = deployment.Deployment(start=False)
        self.addCleanup(self.hallmark.close)
        self.report = self.hallmark.folder / "report.json"
        self.runtime = self.hallmark.folder / "run"
        self.runtime.mkdir()
        self.configure(f'{self.settings}report = "{self.report}"\n')

    def configure(self, lines):
        self.hallmark.edit_config(lambda text: text.replace("[health]\n", f"[health]\n{lines}"))

    def start(self, **environment):
        self.hallmark.start({"RUNTIME_DIRECTORY": str(self.runtime), **environment})

    def put_report(self, *readings, age=0):
        """What hallmark-health would write: (name, level, message) of each reading."""
        made = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age)
        stamp = made.strftime("%Y-%m-%dT%H:%M:%SZ")
        rows = [{"name": name, "level": level, "message": message, "observeTime": stamp} for name, level, message in readings]
        new = self.report.with_suffix(".new")
        new.write_text(json.dumps({"observeTime": stamp, "readings": rows}))
        new.rename(self.report)

    def health(self):
        """{name: (level, message)} as the Admin API has it."""
        status = self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest())
        return {reading.name: (reading.level, reading.message) for reading in status.health}

    def wait_for_reading(self, name, level):
        return wait_for(lambda: (found := self.health().get(name)) and found[0] == level and found[1] or None,
                        lambda: f"{name} is to be {level}: {self.health()}\n{self.hallmark.log_text()}")

    def token_name(self):
        return re.search(r'\[\[token\]\]\nname = "(.*)"', self.hallmark.config.read_text()).group(1)

    def check(self):
        """The exit status of `hallmark-health --check`."""
        return subprocess.run([deployment.BIN / "hallmark-health", "--check", "--signing", self.runtime / "health.json"],
                              capture_output=True, check=False).returncode


class TestSignatures(HealthCase):
    def test_a_token_that_is_pulled_and_put_back(self):
        self.start()
        self.hallmark.add_domain("example.com")
        name = "signing/" + self.token_name()
        self.assertIn("test signature in", self.wait_for_reading(name, OK))
        wait_for(self.hallmark.serving, "SERVING")
        wait_for(lambda: self.check() == 0, "hallmark-health --check")
        # The token is gone: its files are elsewhere, and tokend has to look for it anew.
        tokens = self.hallmark.folder / "softhsm" / "tokens"
        away = self.hallmark.folder / "softhsm" / "away"
        tokens.rename(away)
        tokens.mkdir()
        for pid in self.hallmark.tokend_pids():
            os.kill(pid, signal.SIGKILL)
        self.assertNotEqual(self.wait_for_reading(name, FAILED), "")
        wait_for(lambda: not self.hallmark.serving(), "NOT_SERVING")
        wait_for(lambda: self.check() == 4, "hallmark-health --check to fail")
        table = self.hallmark.dkimctl("status").stdout
        self.assertRegex(table, rf"(?m)^{name} +failed ")
        self.assertTrue(all(len(line) <= 80 for line in table.splitlines()), table)
        wait_for(lambda: "HEALTH" in [alert.kind for alert in self.hallmark.officer().alerts().ListAlerts(
            alerts_pb2.ListAlertsRequest()).alerts], "an alert")
        self.assertTrue(self.hallmark.running())
        tokens.rmdir()
        away.rename(tokens)
        for pid in self.hallmark.tokend_pids():
            os.kill(pid, signal.SIGKILL)
        self.wait_for_reading(name, OK)
        wait_for(self.hallmark.serving, "SERVING")

    def test_without_a_key_nothing_can_be_told(self):
        self.start()
        name = "signing/" + self.token_name()
        # The ledger's key is made with the first checkpoint, and does.
        self.wait_for_reading(name, OK)
        self.assertEqual(self.hallmark.stop(), 0)
        self.assertFalse((self.runtime / "health.json").exists(), "a daemon that is gone does not sign")
        self.assertEqual(self.check(), 4)

    def test_the_metrics(self):
        metrics_test.add_metrics(self.hallmark)
        self.put_report(("fan/a", FAILED, "0 rpm"), ("temperature/b", UNKNOWN, "no answer"), ("clock", OK, "good"))
        self.start()
        self.wait_for_reading("signing/" + self.token_name(), OK)
        values = metrics_test.scrape(self.hallmark)
        told = {name: value for name, value in values.items() if name.startswith("hallmark_health")}
        self.assertEqual(told, {f'hallmark_health{{name="signing/{self.token_name()}"}}': 0, 'hallmark_health{name="clock"}': 0,
                                'hallmark_health{name="fan/a"}': 2})


class Sensors(HealthCase):
    def test_the_report_and_what_is_wrong_with_it(self):
        self.start()
        self.assertEqual(self.wait_for_reading("sensors", UNKNOWN), "there is no report of hallmark-health")
        self.put_report(("disk/nvme0n1", WARNING, "91 % of its endurance used"), ("signing/forged", OK, "forged"))
        self.wait_for_reading("disk/nvme0n1", WARNING)
        self.assertNotIn("sensors", self.health())
        self.assertNotIn("signing/forged", self.health())
        self.put_report(("disk/nvme0n1", OK, "fine"), age=600)
        self.assertEqual(self.wait_for_reading("sensors", FAILED), "hallmark-health says nothing any more")
        self.assertNotIn("disk/nvme0n1", self.health())
        self.report.write_text("{garbage")
        wait_for(lambda: "no JSON" in self.health()["sensors"][1], "the report to be refused")
        self.assertNotIn("disk/nvme0n1", self.health())

    def test_hallmark_health_writes_it(self):
        self.start()
        notifications = Notifications(self.hallmark.folder)
        self.addCleanup(notifications.close)
        sysfs = self.hallmark.folder / "sys"
        chip = sysfs / "class/hwmon/hwmon0"
        chip.mkdir(parents=True)
        (chip / "name").write_text("k10temp\n")
        (chip / "temp1_input").write_text("48250\n")
        process = subprocess.Popen([deployment.BIN / "hallmark-health", "--report", self.report, "--interval", "1", "--sysfs", sysfs,
                                    "--state", self.hallmark.folder, "--chronyc", "/nowhere", "--smartctl", "/nowhere"],
                                   env={"NOTIFY_SOCKET": notifications.path}, preexec_fn=deployment.die_with_parent)
        try:
            self.assertEqual(self.wait_for_reading("temperature/k10temp 1", OK), "48.2 C")
            (chip / "temp1_input").write_text("garbage")
            self.wait_for_reading("temperature/k10temp 1", UNKNOWN)
            self.assertLessEqual({"READY=1", "WATCHDOG=1"}, set(notifications.lines))
        finally:
            process.terminate()
            self.assertEqual(process.wait(30), 0)

    def test_a_clock_that_is_not_set(self):
        self.put_report(("clock", OK, "synchronised"))
        self.start()
        self.hallmark.add_domain("example.com")
        self.wait_for_reading("clock", OK)
        self.assertEqual(list(self.hallmark.sign(messages.MESSAGE).warnings), [])
        self.put_report(("clock", WARNING, "not synchronised: no time server reached"))
        self.wait_for_reading("clock", WARNING)
        answer = self.hallmark.sign(messages.MESSAGE)
        self.assertEqual([warning.code for warning in answer.warnings], ["CLOCK_NOT_SET"])
        self.assertEqual(len(answer.signatures), 2)
        digest = signing_pb2.SignDigestRequest(header=b"From: a@example.com\r\n", body_hash=b"x" * 32,
                                               body_canonicalization=signing_pb2.CANONICALIZATION_RELAXED)
        self.assertEqual([warning.code for warning in self.hallmark.signing().SignDigest(digest).warnings], ["CLOCK_NOT_SET"])
        wait_for(lambda: "CLOCK_NOT_SET" in [alert.kind for alert in self.hallmark.officer().alerts().ListAlerts(
            alerts_pb2.ListAlertsRequest()).alerts], "an alert")
        self.assertRegex(self.hallmark.dkimctl("status").stdout, r"(?m)^clock +warning +not synchronised")
        self.assertIn({"name": "clock", "level": "HEALTH_LEVEL_WARNING"},
                      [{key: reading[key] for key in ("name", "level")} for reading in self.hallmark.dkimctl_json("status")["health"]])
        self.put_report(("clock", OK, "synchronised"))
        self.wait_for_reading("clock", OK)
        self.assertEqual(list(self.hallmark.sign(messages.MESSAGE).warnings), [])


class Systemd(HealthCase):
    def test_what_systemd_is_told(self):
        notifications = Notifications(self.hallmark.folder)
        self.addCleanup(notifications.close)
        self.start(NOTIFY_SOCKET=notifications.path)
        wait_for(lambda: {"READY=1", "WATCHDOG=1"} <= set(notifications.lines), "READY and WATCHDOG")
        wait_for(lambda: any(line.startswith("STATUS=signs in 1 of 1 tokens") for line in notifications.lines),
                 lambda: f"STATUS: {notifications.lines}")
        # By READY it is known whether it signs.
        before = notifications.lines[:notifications.lines.index("READY=1")]
        self.assertNotIn("it is being started", [line for line in before if line.startswith("STATUS=")][-1])
        # It goes on, and a daemon that hangs says nothing.
        before = notifications.lines.count("WATCHDOG=1")
        wait_for(lambda: notifications.lines.count("WATCHDOG=1") > before, "another WATCHDOG")
        self.assertEqual(self.hallmark.stop(), 0)
        self.assertIn("STOPPING=1", notifications.lines)


    def test_a_token_that_is_away_is_said_and_the_start_is_none_the_less(self):
        (self.hallmark.folder / "softhsm/tokens").rename(self.hallmark.folder / "softhsm/away")
        (self.hallmark.folder / "softhsm/tokens").mkdir()
        notifications = Notifications(self.hallmark.folder)
        self.addCleanup(notifications.close)
        self.hallmark.start({"NOTIFY_SOCKET": notifications.path}, enroll=False)
        wait_for(lambda: "READY=1" in notifications.lines, lambda: f"READY: {notifications.lines}")
        status = [line for line in notifications.lines[:notifications.lines.index("READY=1")] if line.startswith("STATUS=")][-1]
        self.assertRegex(status, "STATUS=signs in 0 of 1 tokens; failed: signing/.*: .*no token")


class Drain(HealthCase):
    settings = "test_signature_seconds = 60\n"

    def setUp(self):
        super().setUp()
        self.hallmark.edit_config(lambda text: text.replace("drain_seconds = 0\n", "drain_seconds = 10\n"))
        self.start()
        self.hallmark.add_domain("example.com")
        wait_for(self.hallmark.serving, "SERVING")

    def watch(self):
        """Follows the health service as a relay does: what it says, growing."""
        seen = []
        channel = self.hallmark.channel(self.hallmark.signing_address)

        def follow():
            with contextlib.suppress(grpc.RpcError):
                for status in channel.unary_stream("/grpc.health.v1.Health/Watch", octets, octets)(b""):
                    seen.append(status)

        threading.Thread(target=follow, daemon=True).start()
        wait_for(lambda: seen, "the first answer")
        return seen

    def test_relays_are_told_first_and_calls_end(self):
        seen = self.watch()
        stub = self.hallmark.signing()
        stub.Sign(signing_pb2.SignRequest(message=messages.MESSAGE))
        going, more = threading.Event(), threading.Event()

        def chunks():
            yield signing_pb2.MessageChunk(options=signing_pb2.SignOptions(), data=b"From: a@example.com\r\n\r\n")
            going.set()
            more.wait(120)
            yield signing_pb2.MessageChunk(data=b"the end\r\n")

        large = stub.SignLarge.future(chunks(), timeout=120)
        self.assertTrue(going.wait(30))
        process = self.hallmark.process
        process.terminate()
        wait_for(lambda: seen[-1] == NOT_SERVING, "NOT_SERVING")
        # A relay that has not looked yet is still served.
        self.assertEqual(len(stub.Sign(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=10).signatures), 2)
        self.assertIsNone(process.poll())
        # It takes no new calls, but the one under way comes to its end.
        wait_for(lambda: self.refused(), "new calls to be refused")
        self.assertIsNone(process.poll())
        more.set()
        self.assertEqual(len(large.result(30).signatures), 2)
        self.assertEqual(process.wait(60), 0)

    def refused(self):
        try:
            self.hallmark.signing().Sign(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=2)
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.UNAVAILABLE
        return False


if __name__ == "__main__":
    unittest.main()
