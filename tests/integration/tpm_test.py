"""Keys in a TPM 2.0, through tpm2-pkcs11: RSA from the key to a message that dkimpy accepts; no Ed25519, and that is said; the TPM
goes and comes back; a wrong PIN counts once."""

import time
import unittest

import grpc

import deployment
import messages
import soft_tpm
from hallmark.admin.v1 import admin_pb2
from token_box import GONE, PIN_REJECTED, READY, Box
from waiting import wait_for

PIN = "tpm-1234"
TOKEN = "hallmark-tpm"


class TpmBox(Box):
    """The TPM is the first token, SoftHSM the second: where `ledger` is, it signs the ledger's checkpoints."""

    def __init__(self, case, *, pin=PIN, ledger=True, **tpm):
        super().__init__(case, "tpm")
        self.tpm = soft_tpm.SoftTpm(self.hallmark.folder / "tpm", **tpm)
        case.addCleanup(self.tpm.stop)
        self.tpm.start()
        self.pin_file.write_text(PIN + "\n")
        self.tpm.make_token(TOKEN, self.pin_file)
        self.add_token(module=soft_tpm.MODULE, token=f"token={TOKEN}", pin=pin, environment=self.tpm.environment, first=True, sessions=4,
                       more="[ledger]\ncheckpoint_seconds = 1\n" + ('token = "softhsm"\n\n' if ledger else "\n"))

    def make_key(self, domain):
        """A domain that signs with a key of the TPM."""
        self.hallmark.add_domain(domain, algorithms=(admin_pb2.KEY_ALGORITHM_RSA_2048,))


@unittest.skipIf(soft_tpm.why_not(), soft_tpm.why_not())
class TpmTest(unittest.TestCase):
    def test_rsa_and_no_ed25519(self):
        box = TpmBox(self)
        dkimctl, listing = box.hallmark.dkimctl, lambda: box.hallmark.dkimctl("key", "list", "example.com").stdout
        box.start()
        dkimctl("domain", "add", "example.com")
        dkimctl("key", "generate", "example.com", "--activate")
        box.check_signs("example.com")
        self.assertNotIn(PIN, box.hallmark.log_text())
        before = listing()

        with self.subTest("Ed25519 is refused, with the token's name and what to do"):
            run = dkimctl("key", "generate", "example.com", "--algorithm", "ed25519", status=1)
            self.assertRegex(run.stderr, r"token tpm \(.*\) makes no Ed25519 keys")
            self.assertIn("--algorithm rsa2048", run.stderr)
            self.assertIn("--token", run.stderr)
            self.assertEqual(listing(), before)
        with self.subTest("so is a rotation by the default policy, and nothing is begun"):
            run = dkimctl("key", "rotate", "example.com", "--now", status=1)
            self.assertRegex(run.stderr, r"token tpm \(.*\) makes no Ed25519 keys")
            self.assertIn("dkimctl key policy set --algorithms rsa2048", run.stderr)
            self.assertEqual(listing(), before)
        with self.subTest("RSA-4096, which this TPM has not"):
            run = dkimctl("key", "generate", "example.com", "--algorithm", "rsa4096", status=1)
            self.assertIn("token tpm: the token refused: no RSA-4096 key was made", run.stderr)
        with self.subTest("the other token makes what the TPM does not"):
            dkimctl("key", "generate", "example.com", "--algorithm", "ed25519", "--token", "softhsm")
        with self.subTest("with RSA alone a rotation makes its key"):
            dkimctl("key", "policy", "set", "--algorithms", "rsa2048")
            keys = len(listing().splitlines())
            dkimctl("key", "rotate", "example.com", "--now")
            wait_for(lambda: len(listing().splitlines()) == keys + 1, "the rotation made a key in the TPM")
        with self.subTest("checkpoints are signed in the token that ledger.token names"):
            wait_for(lambda: dkimctl("ledger", "checkpoint", status=None).returncode == 0, "there is a checkpoint")

    def test_tpm_alone_says_that_no_checkpoint_is_signed(self):
        box = TpmBox(self, ledger=False)
        box.start()
        box.make_key("example.com")
        box.check_signs("example.com")
        wait_for(lambda: "ledger.token in hallmark.toml" in box.hallmark.log_text(), "the log says what to do")
        self.assertRegex(box.hallmark.log_text(), r"no checkpoint could be signed: token tpm \(.*\) makes no Ed25519 keys")

    def test_more_keys_than_there_is_room_for(self):
        """tpm2-pkcs11 keeps each key that signed in the TPM's resource manager, which has room for few."""
        box = TpmBox(self, objects=4)
        box.start()
        domains = [f"example{i}.com" for i in range(6)]
        for domain in domains:
            self.make_in_room(box, domain)
        for domain in domains * 2:
            box.check_signs(domain)

    def make_in_room(self, box, domain):
        """Making a key takes room too, and is not tried again by itself: a pair could be made twice."""
        admin = box.hallmark.admin()
        admin.CreateDomain(admin_pb2.CreateDomainRequest(name=domain))
        request, keys = admin_pb2.GenerateKeyRequest(domain=domain, algorithm=admin_pb2.KEY_ALGORITHM_RSA_2048), []

        def made():
            try:
                keys.append(admin.GenerateKey(request))
            except grpc.RpcError as error:
                self.assertEqual(deployment.error_reason(error), "TOKEN_DOWN")
            return keys

        wait_for(made, "a key is made")
        admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain=domain, selector=keys[0].selector, unpublished=True))

    def test_away_and_back(self):
        box = TpmBox(self)
        self.check_comes_back(box, box.tpm.power_off)

    def test_message_bus_away_and_back(self):
        """tpm2-pkcs11 gets over that in a new process only."""
        box = TpmBox(self)
        self.check_comes_back(box, box.tpm.stop)
        self.assertEqual(box.token().starts, 2)

    def check_comes_back(self, box, away):
        box.start()
        box.make_key("example.com")
        box.check_signs("example.com")
        away()
        # The first one finds out.
        error = box.hallmark.call_error(box.hallmark.sign, messages.MESSAGE, timeout=20)
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error)
        box.wait_for_state(*GONE)
        error = box.hallmark.call_error(box.hallmark.sign, messages.MESSAGE, timeout=20)
        self.assertEqual(deployment.error_reason(error), "TOKEN_DOWN")
        wait_for(lambda: not box.hallmark.serving(), "relays hear NOT_SERVING, though the ledger's token is there")
        if away == box.tpm.stop:
            wait_for(lambda: "cannot be initialized again in this process" in box.hallmark.log_text(), "tokend ends")
        box.tpm.start()
        box.wait_for_state(READY, seconds=60)
        box.check_signs("example.com")
        wait_for(lambda: box.hallmark.serving(), "SERVING")

    def test_wrong_pin_counts_once(self):
        box = TpmBox(self, pin="wrong-1")
        box.hallmark.start()
        box.wait_for_state(PIN_REJECTED)
        for _ in range(3):  # Whatever is asked for: the PIN is not tried for it.
            box.hallmark.call_error(box.make_key, "example.com")
        time.sleep(2)  # Long enough for whoever tried again.
        self.assertEqual(box.tpm.wrong_tries(), 1)
        box.pin_file.write_text(PIN + "\n")
        box.wait_for_state(READY)
        box.make_key("example.net")
        box.check_signs("example.net")
        self.assertNotIn("wrong-1", box.hallmark.log_text())


if __name__ == "__main__":
    unittest.main()
