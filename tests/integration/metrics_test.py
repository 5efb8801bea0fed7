"""Metrics: what /metrics says about what was signed and refused, the tokens, the ledger and the certificates."""

import os
import re
import signal
import unittest
import urllib.request

import deployment
from waiting import wait_for

from hallmark.signing.v1 import signing_pb2

MESSAGE = b"From: a@example.com\r\nSubject: Hello\r\n\r\nHello\r\n"


def add_metrics(hallmark, more=""):
    """Has signerd serve metrics on a free port."""
    hallmark.edit_config(lambda text: text + f'\n[metrics]\nlisten = "127.0.0.1:0"\n{more}')


def metrics_address(hallmark):
    return re.findall(r"metrics on (\S+)", hallmark.log_text())[-1]


def scrape(hallmark):
    """{'name{label="value"}': value} of everything that is served."""
    with urllib.request.urlopen(f"http://{metrics_address(hallmark)}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


class MetricsTest(unittest.TestCase):
    def setUp(self):
        self.hallmark = deployment.Deployment(start=False)
        self.addCleanup(self.hallmark.close)
        add_metrics(self.hallmark)
        self.hallmark.start()
        self.hallmark.add_domain("example.com")

    def test_every_answer_is_counted_once(self):
        for request_id in ("", "", "again", "again"):  # the last gets the answer of the one before
            self.hallmark.sign(MESSAGE, request_id=request_id)
        self.hallmark.call_error(self.hallmark.sign, b"From: a@example.net\r\n\r\n")
        # Refused before it is a message of the pipeline: the request's options, and a body hash of the wrong size.
        self.hallmark.call_error(self.hallmark.sign, MESSAGE, request_id="with space")
        self.hallmark.call_error(self.hallmark.signing().SignDigest,
                                 signing_pb2.SignDigestRequest(header=MESSAGE, body_hash=b"short"))
        # And on a stream: one whose answer could not be told from another's.
        nameless, = self.hallmark.signing().SignStream(iter([signing_pb2.SignRequest(message=MESSAGE)]), timeout=30)
        self.assertIn("request_id", nameless.error.message)
        values = scrape(self.hallmark)
        self.assertEqual(values["hallmark_signed_total"], 3)
        self.assertEqual(values['hallmark_partner_signed_total{partner="own"}'], 3)
        self.assertEqual(values['hallmark_partner_octets_total{partner="own"}'], 3 * len(MESSAGE))
        self.assertEqual(values['hallmark_refused_total{reason="INVALID_ARGUMENT"}'], 3)
        refused = {name: value for name, value in values.items() if name.startswith("hallmark_refused_total")}
        self.assertEqual(sum(refused.values()), 4, refused)
        for stage in ("queue", "prepare", "token", "finish", "ledger", "whole"):
            self.assertEqual(values[f'hallmark_stage_seconds_count{{stage="{stage}"}}'], 3)
            self.assertGreater(values[f'hallmark_stage_seconds_sum{{stage="{stage}"}}'], 0)
            self.assertEqual(values[f'hallmark_stage_seconds_bucket{{stage="{stage}",le="+Inf"}}'], 3)
        self.assertEqual(values["hallmark_in_flight"], 0)
        self.assertEqual(values["hallmark_queue_depth"], 0)

    def test_the_state_of_the_parts_is_told(self):
        self.hallmark.sign(MESSAGE)
        values = scrape(self.hallmark)
        names = {re.match(r"\w+", name).group() for name in values}
        self.assertEqual(values["hallmark_ledger_available"], 1)
        self.assertGreater(values["hallmark_ledger_records"], 2)
        self.assertEqual(values['hallmark_quota_used_messages{partner="own"}'], 1)
        ready = [name for name, value in values.items() if name.startswith("hallmark_token_state") and value == 1]
        self.assertEqual(len(ready), 1)
        depth, = (value for name, value in values.items() if name.startswith("hallmark_token_queue_depth"))
        self.assertEqual(depth, 0)
        self.assertIn('state="ready"', ready[0])
        self.assertIn("hallmark_build_info", names)
        certificates = [value for name, value in values.items() if name.startswith("hallmark_certificate_expiry_seconds")]
        self.assertGreaterEqual(len(certificates), 4)
        self.assertTrue(all(value > 0 for value in certificates))

    def test_each_start_of_a_tokend_is_counted(self):
        def starts():
            count, = (value for name, value in scrape(self.hallmark).items() if name.startswith("hallmark_token_starts_total"))
            return count

        self.assertEqual(starts(), 1)
        for pid in self.hallmark.tokend_pids():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: starts() == 2, lambda: f"it was started twice; it says {starts()}")

    def test_answers_that_a_retry_would_not_get_any_more_are_counted(self):
        self.assertEqual(scrape(self.hallmark)["hallmark_request_ids_forgotten_total"], 0)
        self.hallmark.stop()
        self.hallmark.edit_config(lambda text: text + "\n[ledger]\nrequest_ids = 2\n")
        self.hallmark.start()
        for number in range(5):
            self.hallmark.sign(MESSAGE, request_id=str(number))
        self.assertEqual(scrape(self.hallmark)["hallmark_request_ids_forgotten_total"], 3)

    def test_only_loopback_is_taken(self):
        self.hallmark.stop()
        for listen in ("0.0.0.0:9461", "192.0.2.1:9461", "nonsense"):
            with self.subTest(listen):
                self.hallmark.edit_config(lambda text, l=listen: re.sub(r'(\[metrics\]\nlisten = )".*"', rf'\1"{l}"', text))
                with self.assertRaisesRegex(AssertionError, "metrics.listen"):
                    self.hallmark.start()


if __name__ == "__main__":
    unittest.main()
