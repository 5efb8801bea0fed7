"""Two tokens with keys of different domains, one of them slow: mail of the other does not wait for it."""

import collections
import concurrent.futures
import re
import statistics
import threading
import time
import unittest

import groups_test
import messages

from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2
from waiting import wait_for

DELAY = 0.3  # seconds that each signature of the slow token takes
SLOW, FAST = "slow.example", "fast.example"
TOKENS = {SLOW: groups_test.FIRST, FAST: groups_test.SECOND}


def request_of(domain, number):
    return signing_pb2.SignRequest(message=messages.MESSAGE.replace(b"@example.com", b"@" + domain.encode()),
                                   options=signing_pb2.SignOptions(request_id=f"{domain}-{number}"))


class SlowTokenTest(groups_test.GroupCase):
    def setUp(self):
        super().setUp()
        self.hallmark.edit_config(lambda text: re.sub(r'^group = ".*"\n', "", text, flags=re.MULTILINE))
        change_faults = self.use_faults("")
        self.hallmark.start()
        self.wait_until_all_sign()
        admin = self.hallmark.admin()
        for domain, token in TOKENS.items():
            admin.CreateDomain(admin_pb2.CreateDomainRequest(name=domain))
            key = admin.GenerateKey(admin_pb2.GenerateKeyRequest(domain=domain, algorithm=groups_test.RSA_2048, token=token))
            admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain=domain, selector=key.selector, unpublished=True))
        change_faults(f"C_Sign * delay {DELAY * 1000:.0f}\n")

    def test_calls_for_the_slow_one_hold_up_no_other(self):
        # More at once than the slow token has sessions, so that there is always one that waits for it.
        relays = {SLOW: 12, FAST: 2}
        seconds, stop = collections.defaultdict(list), threading.Event()

        def relay(domain, number):
            stub = self.hallmark.signing()
            while not stop.is_set():
                begun = time.monotonic()
                answer = stub.Sign(request_of(domain, f"{number}-{time.monotonic_ns()}"), timeout=60)
                seconds[domain].append(time.monotonic() - begun)
                self.assertEqual(answer.signing_domain, domain)

        with concurrent.futures.ThreadPoolExecutor(sum(relays.values())) as pool:
            calls = [pool.submit(relay, domain, number) for domain, count in relays.items() for number in range(count)]
            try:
                wait_for(lambda: all(len(seconds[domain]) >= 50 for domain in relays) or any(call.done() for call in calls), "answers")
            finally:
                stop.set()
        for call in calls:
            call.result()
        self.assertGreater(statistics.median(seconds[SLOW]), DELAY)
        self.assertLess(statistics.median(seconds[FAST]), DELAY / 2)

    def test_nor_do_messages_for_it_on_the_same_stream(self):
        count = 40
        requests = [request_of(domain, number) for domain in (SLOW, FAST) for number in range(count)]
        signed = []
        for answer in self.hallmark.signing().SignStream(iter(requests), timeout=120):
            self.assertTrue(answer.HasField("response"), answer)
            signed.append(answer.response.signing_domain)
        self.assertEqual(collections.Counter(signed), {SLOW: count, FAST: count})
        # They came behind all of the slow ones, and are signed before half of these.
        last_fast = max(at for at, domain in enumerate(signed) if domain == FAST)
        self.assertLess(signed[:last_fast].count(SLOW), count / 2)


if __name__ == "__main__":
    unittest.main()
