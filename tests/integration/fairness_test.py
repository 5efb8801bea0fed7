"""Two relays of one partner, one of which sends far more than the token can sign: the other hardly notices."""

import threading
import time
import unittest

import grpc

import deployment
import messages
import pki

from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc

IN_FLIGHT = 200  # of the pipeline
FLOOD = 300      # calls that the flooding relay always has under way: more than it gets room for
QUIET = 30       # messages of the other, one after the other


class Flood:
    """Keeps FLOOD calls under way, each begun anew when it is answered; a refused one a moment later, as a relay would."""

    def __init__(self, stub):
        self._stub, self._stopped, self._lock = stub, threading.Event(), threading.Lock()
        self._free = threading.Semaphore(FLOOD)
        self._thread = threading.Thread(target=self._run)
        self.signed, self.refused = [], {}  # seconds of each; how many by reason

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()
        for _ in range(FLOOD):
            self._free.acquire()

    def _run(self):
        while not self._stopped.is_set():
            self._free.acquire()
            begin = time.monotonic()
            call = self._stub.Sign.future(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=60)
            call.add_done_callback(lambda call, begin=begin: self._answered(call, begin))

    def _answered(self, call, begin):
        error = call.exception()
        with self._lock:
            if error is None:
                self.signed.append(time.monotonic() - begin)
            else:
                reason = deployment.error_reason(error)
                self.refused[reason] = self.refused.get(reason, 0) + 1
        timer = threading.Timer(0 if error is None else 0.2, self._free.release)
        timer.daemon = True
        timer.start()


class FairnessTest(unittest.TestCase):
    def setUp(self):
        self.hallmark = hallmark = deployment.Deployment(start=False)
        self.addCleanup(hallmark.close)
        authority = pki.Authority()
        hallmark.trust(authority.pem)
        hallmark.edit_policy(lambda text: text + '\n[[relay]]\nname = "flood"\nidentity = "dns:flood.localdomain"\npartners = ["own"]\n')
        hallmark.edit_config(lambda text: text + f"\n[pipeline]\nin_flight = {IN_FLIGHT}\n")
        hallmark.use_faulty_module("", simulate="sessions=2,rate=100")
        hallmark.start()
        hallmark.add_domain("example.com")
        self.flood = signing_pb2_grpc.SigningServiceStub(hallmark.channel(
            hallmark.signing_address, *authority.issue(dns=["flood.localdomain"])))

    def test_a_relay_beside_a_flood_of_another_of_its_partner(self):
        stub, times = self.hallmark.signing(), []
        request = signing_pb2.SignRequest(message=messages.MESSAGE)
        stub.Sign(request, timeout=30)
        with Flood(self.flood) as flood:
            while not flood.refused:  # until there is no more room for it
                time.sleep(0.05)
            for _ in range(QUIET):
                begin = time.monotonic()
                try:
                    stub.Sign(request, timeout=30)
                except grpc.RpcError as error:
                    self.fail(f"after {len(times)} messages: {deployment.error_reason(error)} {error.details()}")
                times.append(time.monotonic() - begin)
        median = [sorted(seconds)[len(seconds) // 2] for seconds in (times, flood.signed)]
        print(f"\na message took {median[0]:.2f} s, one of the flood {median[1]:.2f} s; of the flood {len(flood.signed)} were signed, "
              f"refused: {flood.refused}")
        self.assertEqual(set(flood.refused), {"OVERLOADED"})
        self.assertGreater(len(flood.signed), IN_FLIGHT // 4)
        # It waits for its own turn and not for the flood's.
        self.assertLess(median[0], median[1] / 2)


if __name__ == "__main__":
    unittest.main()
