"""Each kind of alert that a partner's own mail raises, by real calls; HARD_LIMIT and SURGE are in alerts_test.py. What takes weeks to learn
is put where signerd keeps it, between two starts."""

import contextlib
import itertools
import re
import sqlite3
import time
import unittest

import grpc

import alerts_test
import deployment
import metrics_test

from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2
from hallmark.watch.v1 import profile_pb2

DAY = 86400
# Nothing is learnt for days, and nothing here is a surge.
AT_ONCE, NO_SURGE = "learning_days = 0\nmin_volume = 1000", "min_volume = 1000"


def message(author="a@example.com", body=b"Hello\r\n"):
    return f"From: {author}\r\nSubject: Hello\r\n\r\n".encode() + body


class AlertKindsTest(alerts_test.Case):
    def learnt(self, change=lambda profile: None, domain=""):
        """Starts signerd anew with change(what it has learnt of the partner, or of one of its domains)."""
        self.hallmark.stop()
        key = f"own\n{domain}" if domain else "own"
        with contextlib.closing(sqlite3.connect(self.hallmark.folder / "state/hallmark.db")) as database, database:
            (octets,), = database.execute("SELECT profile FROM watch_profile WHERE key = ?", (key,))
            profile = profile_pb2.Profile.FromString(octets)
            change(profile)
            database.execute("UPDATE watch_profile SET profile = ? WHERE key = ?", (profile.SerializeToString(), key))
        self.hallmark.start()

    def send_until_alert(self, kind, make, action=""):
        """Sends make(0), make(1) and so on until there is an alert, and gives it. A window of the clock may end in between, so it is not
        said how many it takes."""
        numbers = itertools.count()

        def some():
            stub = self.hallmark.signing()
            for number in itertools.islice(numbers, 10):
                with contextlib.suppress(grpc.RpcError):
                    stub.Sign(signing_pb2.SignRequest(message=make(number)), timeout=30)
            return self.alerts()

        alert, = self.wait_for(some, kind)
        self.check(alert, kind, action=action)
        return alert

    def check(self, alert, kind, domain="", action=""):
        self.assertEqual((alert["kind"], alert["partner"], alert["signing_domain"], alert["action"]), (kind, "own", domain, action))

    def assert_refused(self, sent, reason):
        self.assertEqual(deployment.error_reason(self.hallmark.call_error(self.hallmark.sign, sent)), reason)

    def sign_for_the_first_time(self, watch="", **options):
        """Mail of example.com within the time in which the partner is learnt; other.example is never used."""
        self.start(watch, **options)
        self.hallmark.add_domain("other.example", algorithms=deployment.KEY_ALGORITHMS[1:])
        self.send(1)

    def age(self, days):
        """What was just learnt was learnt so long ago."""
        def change(profile):
            profile.first_seen -= days * DAY
            profile.last_seen -= days * DAY
        self.learnt(change)
        self.learnt(change, "example.com")

    def test_a_domain_that_wakes_up_and_one_that_was_never_used(self):
        self.sign_for_the_first_time(hard_limit=0)
        self.age(31)
        self.assertEqual(self.alerts(), [])
        self.send(3)
        alert, = self.wait_for(self.alerts, "the alert")
        self.check(alert, "DORMANT_DOMAIN", "example.com")
        self.assertIn("again after 31 days", alert["message"])
        for _ in range(3):
            self.hallmark.sign(message("a@other.example"))
        self.wait_for(lambda: len(self.alerts()) == 2, "the other alert")
        self.hallmark.stop()  # it looks a last time
        told = [record.alert for record in self.records() if record.HasField("alert")]
        self.assertEqual([(alert.kind, alert.signing_domain) for alert in told],
                         [("DORMANT_DOMAIN", "example.com"), ("DORMANT_DOMAIN", "other.example")])
        self.assertIn("never done before", told[1].message)

    def test_a_domain_that_was_used_lately_is_no_alert(self):
        self.sign_for_the_first_time(hard_limit=0)
        self.age(29)
        self.send(3)
        self.learnt()
        self.assertEqual(self.alerts(), [])

    def test_only_the_kinds_that_the_policy_names_suspend(self):
        self.sign_for_the_first_time(suspend_on=("DORMANT_DOMAIN", "OFF_HOURS"))
        self.age(8)
        self.send(4)
        alert, = self.wait_for(self.alerts, "the alert")
        self.check(alert, "HARD_LIMIT")
        self.hallmark.sign(message("a@other.example"))
        self.wait_for(lambda: len(self.alerts()) == 2, "the other alert")
        alert, = [alert for alert in self.alerts() if alert["kind"] != "HARD_LIMIT"]
        self.check(alert, "DORMANT_DOMAIN", "other.example", "SUSPENDED")
        for author in ("a@other.example", "a@example.com"):
            self.assert_refused(message(author), "PARTNER_SUSPENDED")
        self.assertEqual(metrics_test.scrape(self.hallmark)["hallmark_suspended_total"], 1)
        self.hallmark.dkimctl("partner", "resume", "own")
        self.hallmark.sign(message("a@other.example"))

    def test_a_burst_of_refusals_suspends(self):
        self.start(AT_ONCE, hard_limit=0, suspend_on=("REFUSAL_BURST",))
        # What the signer has no key for is not what the sender did.
        self.hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name="keyless.example"))
        for _ in range(30):
            self.assert_refused(message("a@keyless.example"), "NO_ACTIVE_KEY")
        self.send(1)
        self.learnt()
        self.assertEqual(self.alerts(), [])
        alert = self.send_until_alert("REFUSAL_BURST", lambda _: message("a@elsewhere.example"), "SUSPENDED")
        self.assertGreaterEqual(int(re.search(r"had (\d+) messages refused in a minute", alert["message"]).group(1)), 20)
        self.assert_refused(message(), "PARTNER_SUSPENDED")

    def test_authors_that_were_never_seen(self):
        self.start(AT_ONCE, hard_limit=0)
        self.send(60)
        self.learnt()
        self.assertEqual(self.alerts(), [])
        alert = self.send_until_alert("AUTHOR_CHANGE", lambda number: message(f"new{number}@example.com"))
        self.assertIn("had authors that it has not had before", alert["message"])

    def test_messages_that_become_large(self):
        self.start(NO_SURGE, hard_limit=0)
        self.send(1)

        def change(profile):  # 60 messages of 2 kB an hour
            profile.first_seen -= 8 * DAY
            profile.volume[2].mean = 60
            profile.octets.mean = 60 * 2000
        self.learnt(change)
        alert = self.send_until_alert("SIZE_CHANGE", lambda _: message(body=b"x" * 78 + b"\r\n" + b"y" * 40_000 + b"\r\n"))
        self.assertIn("had 40 kB each as a rule; usual are 2 kB", alert["message"])

    def test_mail_in_an_hour_that_is_quiet(self):
        self.start("min_volume = 20", hard_limit=0)
        self.send(1)
        self.wait_for(lambda: time.time() % 3600 < 3570, "an hour that does not end meanwhile")
        now = time.gmtime()
        hour = now.tm_wday * 24 + now.tm_hour

        def change(profile):  # three weeks of mail at all other hours
            profile.first_seen -= 22 * DAY
            for window in profile.volume:
                window.mean = 1000
            profile.hours[:] = [0 if min((hour - other) % 168, (other - hour) % 168) < 3 else 100 for other in range(168)]
            profile.weeks[:] = [3] * 168
        self.learnt(change)
        self.send_until_alert("OFF_HOURS", lambda _: message())


if __name__ == "__main__":
    unittest.main()
