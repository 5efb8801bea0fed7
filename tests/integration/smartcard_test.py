"""A smartcard through OpenSC and pcscd: its key is taken up and signs; the card is pulled out and put back while signing; a wrong
PIN does not use up the card's tries; a slow card keeps deadlines."""

import threading
import time
import unittest

import grpc
from cryptography.hazmat.primitives.asymmetric import rsa

import card_reader
import messages
import piv_card
from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2
from token_box import PIN_REJECTED, Box
from waiting import wait_for

PIN = "471147"
LABEL = "Signing%20card%2C%20slot%209A"  # OpenSC: the name in the card's certificate.
SLOT_9A, SLOT_9C = "01", "02"  # OpenSC's CKA_ID of the keys.


class CardBox(Box):
    """SoftHSM is the first token, a card with a key in slot 9A and one in slot 9C the second."""

    keys = {slot: rsa.generate_private_key(65537, 2048) for slot in (0x9A, 0x9C)}

    def __init__(self, case, pin=PIN, seconds_a_signature=0.0):
        super().__init__(case, "card")
        self.reader = card_reader.CardReader(self.hallmark.folder / "reader")
        case.addCleanup(self.reader.close)
        self.reader.start()
        self.card = piv_card.PivCard(pin=PIN, slots=self.keys, seconds_a_signature=seconds_a_signature)
        self.reader.insert(self.card)
        case.addCleanup(lambda: self.card.inserted and self.card.remove())
        self.add_token(module=card_reader.MODULE, token=f"token={LABEL}", pin=pin, environment=self.reader.environment,
                       first=False, sessions=1)

    def adopt(self):
        """example.com signs with the key of slot 9A."""
        admin = self.hallmark.admin()
        admin.CreateDomain(admin_pb2.CreateDomainRequest(name="example.com"))
        admin.AdoptKey(admin_pb2.AdoptKeyRequest(domain="example.com", selector="card1", token="card", cka_id=bytes.fromhex(SLOT_9A)))
        admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain="example.com", selector="card1", unpublished=True))

    def check_signs(self):
        super().check_signs("example.com", "card1")


@unittest.skipIf(card_reader.why_not(), card_reader.why_not())
class SmartcardTest(unittest.TestCase):
    def test_key_of_the_card(self):
        box = CardBox(self)
        dkimctl = box.hallmark.dkimctl
        box.start()
        dkimctl("domain", "add", "example.com")
        dkimctl("key", "adopt", "example.com", "card1", "--cka-id", SLOT_9A, "--token", "card")
        dkimctl("key", "activate", "example.com", "card1", "--unpublished")
        box.check_signs()
        with self.subTest("no key is made on it, and what to do is said"):
            run = dkimctl("key", "generate", "example.com", "--token", "card", status=1)
            self.assertRegex(run.stderr, r"token card \(.*\) makes no RSA keys")
            self.assertIn("dkimctl key adopt", run.stderr)
        with self.subTest("a key that wants the PIN for each signature is not taken"):
            run = dkimctl("key", "adopt", "example.com", "card2", "--cka-id", SLOT_9C, "--token", "card", status=1)
            self.assertIn("CKA_ALWAYS_AUTHENTICATE", run.stderr)
        self.assertEqual((box.card.tries, box.card.wrong_pins), (piv_card.TRIES, 0))
        self.assertNotIn(PIN, box.hallmark.log_text())

    def test_pulled_and_put_back_while_signing(self):
        box = CardBox(self, seconds_a_signature=0.05)
        box.start()
        box.adopt()
        codes, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                try:
                    box.hallmark.sign(messages.MESSAGE, timeout=10)
                    codes.append(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    codes.append(error.code())

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for _ in range(2):
                wait_for(lambda: codes[-5:] == [grpc.StatusCode.OK] * 5, "the card signs")
                box.reader.remove(box.card)
                wait_for(lambda: codes[-5:] == [grpc.StatusCode.UNAVAILABLE] * 5, "relays hear that the card is away")
                box.reader.insert(box.card)
                wait_for(lambda: codes[-1] == grpc.StatusCode.OK, "the card signs again", 60)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(set(codes), {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE})
        box.check_signs()
        self.assertEqual((box.card.tries, box.card.wrong_pins), (piv_card.TRIES, 0))

    def test_wrong_pin_leaves_a_try(self):
        box = CardBox(self, pin="000000")
        box.hallmark.start()
        box.wait_for_state(PIN_REJECTED)
        for _ in range(2):  # A card that comes back is the same card.
            box.reader.remove(box.card)
            box.reader.insert(box.card)
        box.pin_file.touch()
        time.sleep(3)  # Long enough for whoever tried again.
        self.assertEqual(box.card.wrong_pins, 1)
        for _ in range(3):  # Each start may try once, as the PIN may have been corrected; the last try is left to a person.
            box.hallmark.stop()
            box.hallmark.start()
            box.wait_for_state(PIN_REJECTED)
        self.assertEqual((box.card.tries, box.card.wrong_pins), (1, piv_card.TRIES - 1))
        self.assertIn("one more wrong PIN would lock the token", box.token().message)

    def test_slow_card(self):
        """One session, 200 ms a signature: what can be signed in time is; the rest is told so before its time is over."""
        box = CardBox(self, seconds_a_signature=0.2)
        box.start()
        self.assertEqual(box.token().sessions, 1)
        box.adopt()
        box.check_signs()
        sign = box.hallmark.signing().Sign

        def codes_of(count, timeout):
            calls = [sign.future(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=timeout) for _ in range(count)]
            return [call.code().name for call in calls]

        # While these wait for each other signerd learns how fast the card is.
        self.assertEqual(set(codes_of(10, timeout=120)), {"OK"})
        # 20 s of work, for which each has 5: a call that came to its deadline would have another code.
        codes = codes_of(100, timeout=5)
        self.assertGreaterEqual(codes.count("OK"), 3, codes)
        self.assertGreater(codes.count("RESOURCE_EXHAUSTED"), 0, codes)
        self.assertLessEqual(set(codes), {"OK", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
        box.check_signs()


if __name__ == "__main__":
    unittest.main()
