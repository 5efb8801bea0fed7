"""Alerts: raised by what a partner sends, listed, ledgered, told to a webhook, and acted upon."""

import contextlib
import hashlib
import hmac
import http.server
import json
import pathlib
import sqlite3
import ssl
import tempfile
import threading
import time
import unittest

import deployment
import ledger_files
import metrics_test
import pki

from hallmark.admin.v1 import alerts_pb2

MESSAGE = b"From: a@example.com\r\nSubject: Hello\r\n\r\nHello\r\n"
SECRET = "a secret of the webhook"
SECONDS = 60  # How long an alert may take; it takes some two.


class Receiver:
    """A webhook's server. `behave` says for each request what happens: a status, "close", "hang", or "cut": it takes the alert, with an
    answer that ends when TCP does. `choose`: the same, for an alert's id, where `behave` says nothing."""

    TAKES = (204, "cut")

    def __init__(self, *behave, tls=None, choose=lambda _: 204):
        self.received, self._behave = [], list(behave)
        self._hanging = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                behaviour = receiver._behave.pop(0) if receiver._behave else choose(int(self.headers["X-Hallmark-Alert"]))
                receiver.received.append((behaviour, self.headers, body))
                if behaviour == "hang":
                    receiver._hanging.wait(60)
                elif behaviour == "cut":  # no length, and TLS is not ended
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"taken")
                elif behaviour != "close":
                    self.send_response(behaviour)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def delivered(self):
        return [(headers, json.loads(body)) for behaviour, headers, body in list(self.received) if behaviour in self.TAKES]

    def close(self):
        self._hanging.set()
        self.server.shutdown()
        self.server.server_close()


class Case(unittest.TestCase):
    def start(self, watch="", webhook="", hard_limit=3, suspend_on=()):
        """A deployment whose partner may have `hard_limit` messages a minute, and is suspended on these kinds of alerts."""
        self.hallmark = hallmark = deployment.Deployment(start=False)
        self.addCleanup(hallmark.close)
        secret = hallmark.folder / "webhook.secret"
        secret.touch(0o600)
        secret.write_text(SECRET + "\n")
        metrics_test.add_metrics(hallmark, f"[watch]\n{watch}\n" + (
            f'[watch.webhook]\nsecret_file = "webhook.secret"\n{webhook}\n' if webhook else ""))
        lines = f"watch.hard_limit_per_minute = {hard_limit}\n" if hard_limit else ""
        lines += f"watch.suspend_on = {json.dumps(suspend_on)}\n" if suspend_on else ""
        if lines:
            hallmark.edit_policy(lambda text: text.replace("[[partner]]\n", "[[partner]]\n" + lines, 1))
        hallmark.start()
        hallmark.add_domain("example.com", algorithms=deployment.KEY_ALGORITHMS[1:])

    def alerts(self):
        return self.hallmark.dkimctl_json("alerts", "list")["alerts"]

    def wait_for(self, find, what):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            found = find()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come within {SECONDS} s:\n{self.hallmark.log_text()}")

    def send(self, count):
        for _ in range(count):
            self.hallmark.sign(MESSAGE)

    def records(self):
        return ledger_files.records(self.hallmark.folder / "state" / "ledger")


class AlertsTest(Case):
    def test_a_hard_limit_alerts_once_and_is_on_the_ledger(self):
        self.start()
        self.send(3)
        time.sleep(2)
        self.assertEqual(self.alerts(), [])
        self.send(3)
        alert, = self.wait_for(self.alerts, "the alert")
        self.assertEqual((alert["kind"], alert["partner"], alert["action"]), ("HARD_LIMIT", "own", ""))
        self.assertIn("its limit is 3", alert["message"])
        self.send(3)
        time.sleep(2)
        self.assertEqual(len(self.alerts()), 1)
        self.assertEqual(metrics_test.scrape(self.hallmark)['hallmark_alerts_total{kind="HARD_LIMIT"}'], 1)

        # Seen to; and it is there after a restart, on the ledger once.
        text = self.hallmark.dkimctl("alerts", "list").stdout
        self.assertIn("open", text)
        self.assertLessEqual(len(text.splitlines()[0]), 80)
        self.hallmark.dkimctl("alerts", "ack", alert["id"])
        self.assertEqual(self.hallmark.dkimctl_json("alerts", "list", "--open")["alerts"], [])
        self.hallmark.dkimctl("alerts", "ack", "4711", status=1)
        self.hallmark.stop()
        self.hallmark.start()
        again, = self.alerts()
        self.assertTrue(again["acknowledged_by"])
        self.hallmark.stop()
        recorded = [record.alert for record in self.records() if record.HasField("alert")]
        self.assertEqual([(alert.kind, alert.partner) for alert in recorded], [("HARD_LIMIT", "own")])

    def test_the_policy_has_the_partner_suspended(self):
        self.start(suspend_on=("HARD_LIMIT",))
        self.send(4)
        alert, = self.wait_for(self.alerts, "the alert")
        self.assertEqual(alert["action"], "SUSPENDED")
        error = self.hallmark.call_error(self.hallmark.sign, MESSAGE)
        self.assertEqual(deployment.error_reason(error), "PARTNER_SUSPENDED")
        # Again, though the same was told a moment ago.
        self.hallmark.dkimctl("partner", "resume", "own")
        self.send(4)
        self.wait_for(lambda: [alert["action"] for alert in self.alerts()] == ["SUSPENDED"] * 2, "the second alert")
        error = self.hallmark.call_error(self.hallmark.sign, MESSAGE)
        self.assertEqual(deployment.error_reason(error), "PARTNER_SUSPENDED")

    def test_a_surge_alerts_when_learning_is_over(self):
        self.start("learning_days = 0\nmin_volume = 5", hard_limit=0)
        # In one minute of the clock, which is the shortest window.
        if time.time() % 60 > 45:
            time.sleep(60 - time.time() % 60)
        self.send(5)
        time.sleep(2)
        self.assertEqual(self.alerts(), [])
        self.send(6)
        alert, = self.wait_for(self.alerts, "the alert")
        self.assertEqual(alert["kind"], "SURGE")

    def check_delivery(self, receiver):
        headers, body = self.wait_for(receiver.delivered, "the webhook")[0]
        raw = receiver.received[-1][2]
        self.assertEqual(headers["X-Hallmark-Signature"],
                         "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest())
        self.assertEqual((body["kind"], body["partner"]), ("HARD_LIMIT", "own"))
        self.assertEqual(headers["X-Hallmark-Alert"], body["id"])

    def test_the_webhook_is_told_again_until_it_takes_it(self):
        receiver = Receiver(500, "close", 503)
        self.addCleanup(receiver.close)
        self.start(webhook=f'url = "http://127.0.0.1:{receiver.port}/hook?a=b"')
        self.send(4)
        self.check_delivery(receiver)
        self.assertEqual([behaviour for behaviour, _, _ in receiver.received], [500, "close", 503, 204])
        time.sleep(3)
        self.assertEqual(len(receiver.received), 4)

    def test_alerts_that_are_not_taken_do_not_hide_newer_ones(self):
        old = 120
        receiver = Receiver(choose=lambda alert: 500 if alert <= old else 204)
        self.addCleanup(receiver.close)
        self.start(webhook=f'url = "http://127.0.0.1:{receiver.port}/"')
        self.hallmark.stop()
        with contextlib.closing(sqlite3.connect(self.hallmark.folder / "state/hallmark.db")) as database, database:
            for _ in range(old):
                database.execute("INSERT INTO alert (kind, partner, signing_domain, message, action, raised, journaled, delivery) "
                                 "VALUES ('HEALTH', '', '', 'a fan stands still', '', 1, 1, 1)")
        self.hallmark.start()
        def tried():
            return {headers["X-Hallmark-Alert"] for _, headers, _ in list(receiver.received)}
        self.wait_for(lambda: len(tried()) == old, "an attempt of each")
        self.send(4)
        (headers, body), = self.wait_for(receiver.delivered, "the new alert")
        self.assertEqual((body["kind"], headers["X-Hallmark-Alert"]), ("HARD_LIMIT", str(old + 1)))
        self.wait_for(lambda: metrics_test.scrape(self.hallmark)["hallmark_webhook_waiting"] == old, "the number of the others")

    def test_an_answer_that_only_the_connection_ends_is_one(self):
        authority = pki.Authority()
        receiver = self.tls_receiver(authority, "localhost", "cut")
        self.start(webhook=f'url = "https://localhost:{receiver.port}/"\nca = "{self.folder_of("ca.pem", authority.pem)}"')
        self.send(4)
        self.check_delivery(receiver)
        self.wait_for(lambda: metrics_test.scrape(self.hallmark)['hallmark_webhook_attempts_total{result="delivered"}'] == 1, "the end")
        self.assertEqual([behaviour for behaviour, _, _ in receiver.received], ["cut"])

    def test_a_webhook_that_hangs_holds_nothing_up_and_a_restart_sends(self):
        receiver = Receiver("hang")
        self.addCleanup(receiver.close)
        self.start(webhook=f'url = "http://127.0.0.1:{receiver.port}/"')
        self.send(4)
        self.wait_for(lambda: receiver.received, "the attempt")
        self.send(3)
        self.wait_for(self.alerts, "the alert")
        self.assertEqual(self.hallmark.stop(), 0)
        self.assertEqual(receiver.delivered(), [])
        self.hallmark.start()
        self.check_delivery(receiver)

    def test_the_webhook_s_certificate_must_verify(self):
        authority, other = pki.Authority(), pki.Authority("Other")
        receiver = self.tls_receiver(authority, "localhost")
        wrong_name = self.tls_receiver(authority, "elsewhere.example")
        for name, port, ca, taken in (("another CA", receiver.port, other, False),
                                      ("another name", wrong_name.port, authority, False),
                                      ("as it should be", receiver.port, authority, True)):
            with self.subTest(name):
                path = self.folder_of("ca.pem", ca.pem)
                self.start(webhook=f'url = "https://localhost:{port}/"\nca = "{path}"')
                self.send(4)
                if taken:
                    self.check_delivery(receiver)
                else:
                    self.wait_for(lambda: "certificate verify failed" in self.hallmark.log_text(), "the refusal")
                    self.assertEqual(receiver.received, [])
                self.hallmark.close()

    def tls_receiver(self, authority, name, *behave):
        certificate, key = authority.issue(dns=[name], server=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder_of("server.pem", certificate), self.folder_of("server.key", key))
        receiver = Receiver(*behave, tls=context)
        self.addCleanup(receiver.close)
        return receiver

    def folder_of(self, name, content):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / name
        path.write_bytes(content)
        return path

    def test_what_cannot_be_a_webhook_is_refused(self):
        self.start(hard_limit=0)
        self.hallmark.stop()
        for url in ("http://example.com/", "ftp://127.0.0.1/", "https://", "https://user@example.com/"):
            with self.subTest(url):
                text = self.hallmark.config.read_text()
                self.hallmark.config.write_text(text + f'[watch.webhook]\nurl = "{url}"\nsecret_file = "webhook.secret"\n')
                with self.assertRaisesRegex(AssertionError, "watch.webhook.url"):
                    self.hallmark.start()
                self.hallmark.config.write_text(text)

    def test_the_service_pages_and_checks(self):
        self.start(hard_limit=0)
        stub = self.hallmark.officer().alerts()
        self.assertEqual(len(stub.ListAlerts(alerts_pb2.ListAlertsRequest(page_size=5)).alerts), 0)
        error = self.hallmark.call_error(stub.ListAlerts, alerts_pb2.ListAlertsRequest(page_size=5000))
        self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")
        error = self.hallmark.call_error(stub.AcknowledgeAlert, alerts_pb2.AcknowledgeAlertRequest(id=1))
        self.assertEqual(deployment.error_reason(error), "NOT_FOUND")


if __name__ == "__main__":
    unittest.main()
