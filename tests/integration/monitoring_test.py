"""The dashboard and the alert rules of docs/monitoring, loaded and queried in a Prometheus that scrapes a running signerd."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import deployment
import metrics_test

DOCS = pathlib.Path(__file__).parents[2] / "docs/monitoring"
RULES = DOCS / "alerts.yml"
SECONDS = 90
DAY_S_LIMIT = 200


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def metric_names(text):
    """Names in an expression or a text, without the suffixes of a histogram."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bhallmark_[a-z_]+\b", text)}


class Prometheus:
    """Debian's, with a scrape each second."""

    def __init__(self, target, rules=""):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="prometheus-"))
        self.address = f"127.0.0.1:{free_port()}"
        (self.folder / "rules.yml").write_text(rules or RULES.read_text())
        (self.folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
            f"scrape_configs: [{{job_name: hallmark, static_configs: [{{targets: ['{target}']}}]}}]\n")
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                 f"--web.listen-address={self.address}"],
                stdout=log, stderr=log, preexec_fn=deployment.die_with_parent)

    def get(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it reads its storage yet
                raise
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression):
        return self.get("query", query=expression)["result"]

    def wait_for(self, find, what):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                found = find()
            except OSError:  # not listening, or not ready yet
                found = None
            if found:
                return found
            time.sleep(0.3)
        raise AssertionError(f"{what} did not come within {SECONDS} s:\n{(self.folder / 'log').read_text()}")

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder)


# Of two boxes that never stop signing one has its checkpoints, and the other none any more; a third has nothing to do. A token makes
# three wrong signatures after ten minutes, and a second sink leaves out five records, where another one did so before the tests began.
# One certificate has a second more than thirty days, the other one less; one partner has sent nine tenths of what it may, the other
# one message more.
RULE_TESTS = """
rule_files: [{rules}]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - {{series: 'hallmark_ledger_records{{instance="good"}}', values: '100+750x120'}}
      - {{series: 'hallmark_ledger_unsigned_records{{instance="good"}}', values: '40+0x120'}}
      - {{series: 'hallmark_ledger_records{{instance="late"}}', values: '100+750x120'}}
      - {{series: 'hallmark_ledger_unsigned_records{{instance="late"}}', values: '40+750x120'}}
      - {{series: 'hallmark_ledger_records{{instance="idle"}}', values: '100+0x120'}}
      - {{series: 'hallmark_ledger_unsigned_records{{instance="idle"}}', values: '0+0x120'}}
      - {{series: 'hallmark_refused_total{{reason="SIGNATURE_INVALID"}}', values: '0x40 3x80'}}
      - {{series: 'hallmark_certificate_expiry_seconds{{certificate="server"}}', values: '2592001x120'}}
      - {{series: 'hallmark_certificate_expiry_seconds{{certificate="relay-ca"}}', values: '2591999x120'}}
      - {{series: 'hallmark_quota_messages_per_day{{partner="acme"}}', values: '1000x120'}}
      - {{series: 'hallmark_quota_used_messages{{partner="acme"}}', values: '900x120'}}
      - {{series: 'hallmark_quota_messages_per_day{{partner="other"}}', values: '1000x120'}}
      - {{series: 'hallmark_quota_used_messages{{partner="other"}}', values: '901x120'}}
      - {{series: 'hallmark_quota_recipients_per_day{{partner="news"}}', values: '100x120'}}
      - {{series: 'hallmark_quota_used_recipients{{partner="news"}}', values: '99x120'}}
      - {{series: 'hallmark_ledger_sink_dropped_total{{instance="good"}}', values: '7x120'}}
      - {{series: 'hallmark_ledger_sink_dropped_total{{instance="late"}}', values: '0x40 5x80'}}
      - {{series: 'hallmark_ledger_torn_files{{instance="good"}}', values: '0x120'}}
      - {{series: 'hallmark_ledger_torn_files{{instance="late"}}', values: '1x120'}}
    alert_rule_test:
      - eval_time: 9m
        alertname: HallmarkLedgerSinkDrops
        exp_alerts: []
      - eval_time: 12m
        alertname: HallmarkLedgerSinkDrops
        exp_alerts:
          - exp_labels: {{severity: warning, instance: late}}
            exp_annotations: {{summary: "the ledger's second sink left out records; see dkimctl ledger status"}}
      - eval_time: 30m
        alertname: HallmarkLedgerSinkDrops
        exp_alerts: []
      - eval_time: 1m
        alertname: HallmarkLedgerTorn
        exp_alerts:
          - exp_labels: {{severity: warning, instance: late}}
            exp_annotations: {{summary: "a crash left part of a write behind the ledger's last record; look at the .torn file, and move it away"}}
      - eval_time: 5m
        alertname: HallmarkCertificateExpires
        exp_alerts:
          - exp_labels: {{severity: warning, certificate: relay-ca}}
            exp_annotations: {{summary: "relay-ca expires in 29d 23h 59m 59s"}}
      - eval_time: 5m
        alertname: HallmarkQuotaNearlyUsed
        exp_alerts:
          - exp_labels: {{severity: info, partner: other}}
            exp_annotations: {{summary: "partner other has used nine tenths of its day's volume"}}
          - exp_labels: {{severity: info, partner: news}}
            exp_annotations: {{summary: "partner news has used nine tenths of its day's volume"}}
      - eval_time: 20m
        alertname: HallmarkCheckpointsLate
        exp_alerts:
          - exp_labels: {{severity: warning, instance: late}}
            exp_annotations: {{summary: "the ledger grows without a checkpoint that covers it; see the log"}}
      - eval_time: 9m
        alertname: HallmarkWrongSignatures
        exp_alerts: []
      - eval_time: 12m
        alertname: HallmarkWrongSignatures
        exp_alerts:
          - exp_labels: {{severity: critical, reason: SIGNATURE_INVALID}}
            exp_annotations: {{summary: "a token makes signatures that do not verify; none of them left"}}
      - eval_time: 25m
        alertname: HallmarkWrongSignatures
        exp_alerts: []
"""


@unittest.skipUnless(shutil.which("prometheus"), "Debian's prometheus is not installed")
class MonitoringTest(unittest.TestCase):
    def start(self, rules=""):
        self.hallmark = hallmark = deployment.Deployment(start=False)
        self.addCleanup(hallmark.close)
        secret = hallmark.folder / "webhook.secret"
        secret.touch(0o600)
        secret.write_text("a secret of the webhook\n")
        metrics_test.add_metrics(
            hallmark, f'[watch.webhook]\nurl = "http://127.0.0.1:{free_port()}/"\nsecret_file = "webhook.secret"\n')
        hallmark.edit_policy(lambda text: text.replace('name = "own"', f'name = "own"\nquota = {{ messages_per_day = {DAY_S_LIMIT}, recipients_per_day = 1000 }}'))
        hallmark.start()
        hallmark.add_domain("example.com")
        self.prometheus = Prometheus(metrics_test.metrics_address(hallmark), rules)
        self.addCleanup(self.prometheus.close)

    def mail(self):
        self.hallmark.sign(metrics_test.MESSAGE)
        self.hallmark.call_error(self.hallmark.sign, b"From: a@example.net\r\n\r\n")

    def panels(self):
        dashboard = json.loads((DOCS / "dashboard.json").read_text())
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"].replace("$__rate_interval", "10s").replace("$partner", ".*")

    def test_every_panel_and_rule_can_be_asked(self):
        self.start()
        subprocess.run(["promtool", "check", "rules", RULES], check=True, capture_output=True)
        self.mail()  # a series must be there before it grows
        self.prometheus.wait_for(lambda: self.prometheus.query("hallmark_signed_total > 0"), "the first scrape")

        def answered():
            self.mail()
            return len(self.prometheus.query("rate(hallmark_signed_total[10s]) > 0")) == 1 and \
                self.prometheus.query("rate(hallmark_refused_total[10s]) > 0")
        self.prometheus.wait_for(answered, "a rate")
        for title, expression in self.panels():
            with self.subTest(title, expression=expression):
                self.assertTrue(self.prometheus.query(expression))
        rules = [rule for group in self.prometheus.get("rules")["groups"] for rule in group["rules"]]
        self.assertGreater(len(rules), 8)
        for rule in rules:
            with self.subTest(rule["name"]):
                self.prometheus.query(rule["query"])
                self.assertEqual(rule["health"], "ok", rule.get("lastError"))
        self.assertEqual(self.prometheus.firing(), set())

        # What the documents name is there, and what is there is in the documents.
        served = metric_names("\n".join(metrics_test.scrape(self.hallmark)))
        documented = metric_names((DOCS / "README.md").read_text())
        self.assertEqual(documented, served)
        named = metric_names(RULES.read_text()) | metric_names("\n".join(expression for _, expression in self.panels()))
        self.assertLessEqual(named, documented)

    def test_rules_over_hours_that_nobody_has_to_wait_for(self):
        with tempfile.TemporaryDirectory() as folder:
            cases = pathlib.Path(folder) / "cases.yml"
            cases.write_text(RULE_TESTS.format(rules=RULES))
            run = subprocess.run(["promtool", "test", "rules", cases], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_every_reason_is_there_before_it_happens(self):
        self.start()
        served = metrics_test.scrape(self.hallmark)
        reasons = "|".join(re.findall(r'reason=~?"([A-Z_|]+)"', RULES.read_text())).split("|")
        self.assertIn("SIGNATURE_INVALID", reasons)
        for reason in reasons:
            self.assertEqual(float(served[f'hallmark_refused_total{{reason="{reason}"}}']), 0)

    def test_an_alert_fires_when_its_condition_is_true(self):
        self.start(re.sub(r"^ *for: .*\n", "", RULES.read_text(), flags=re.MULTILINE))
        self.prometheus.wait_for(lambda: self.prometheus.query('hallmark_token_state{state="ready"} == 1'), "the token")
        self.assertNotIn("HallmarkTokenNotReady", self.prometheus.firing())
        pin = self.hallmark.pin_file()
        good = pin.read_text()
        pin.write_text("0000\n")
        for pid in self.hallmark.tokend_pids():
            os.kill(pid, signal.SIGKILL)
        self.prometheus.wait_for(lambda: "HallmarkTokenNotReady" in self.prometheus.firing(), "the alert")
        pin.write_text(good)
        self.prometheus.wait_for(lambda: "HallmarkTokenNotReady" not in self.prometheus.firing(), "its end")
        for _ in range(DAY_S_LIMIT * 95 // 100):
            self.hallmark.sign(metrics_test.MESSAGE)
        self.prometheus.wait_for(lambda: "HallmarkQuotaNearlyUsed" in self.prometheus.firing(), "the alert")
        self.hallmark.stop()
        self.prometheus.wait_for(lambda: "HallmarkDown" in self.prometheus.firing(), "the alert")


if __name__ == "__main__":
    unittest.main()
