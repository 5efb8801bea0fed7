"""What stops somebody is in force at once, also while the token takes its time for a key."""

import concurrent.futures
import os
import signal
import time
import unittest

import grpc

import deployment
import messages
import pki
from tokend_test import change_rules, times_obeyed
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2, certificates_pb2, operators_pb2, policy_pb2, rotation_pb2
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc

AT_ONCE = 10  # s; the token's call takes 600


class UrgentTest(unittest.TestCase):
    def setUp(self):
        self.hallmark = hallmark = deployment.Deployment(start=False)
        self.addCleanup(hallmark.close)
        self.faults = hallmark.use_faulty_module("")
        authority = pki.Authority()
        self.operators = pki.Authority("Operators")
        hallmark.trust(authority.pem)
        hallmark.trust(self.operators.pem, "admin")
        hallmark.start()
        _, self.ed25519 = hallmark.add_domain("example.com")
        self.officer, self.second = hallmark.officer(), hallmark.as_officer2()
        self.lost = authority.issue(dns=["relay1.localdomain"])
        self.relay = signing_pb2_grpc.SigningServiceStub(hallmark.channel(hallmark.signing_address, *self.lost))

    def refusal(self, stub):
        error = self.hallmark.call_error(stub.Sign, signing_pb2.SignRequest(message=messages.MESSAGE), timeout=AT_ONCE)
        return deployment.error_reason(error) or error.details()

    def set_partner(self, state):
        self.officer.policy().SetPartnerState(policy_pb2.SetPartnerStateRequest(name="own", state=state), timeout=AT_ONCE)

    def approve(self, error):
        request = operators_pb2.ApproveRequest(id=self.hallmark.approval_of(error))
        return self.second.operators().Approve(request, timeout=AT_ONCE).state

    def ask_with_a_certificate_that_is_revoked(self, executor, key):
        """What waits for the token when its certificate is revoked."""
        folder = self.hallmark.folder / "tls"
        certificate, private_key = self.operators.issue(uris=["hallmark:operator:officer2"])
        (folder / "renewed.pem").write_bytes(certificate)
        (folder / "renewed.key").write_bytes(private_key)
        (folder.parent / "secrets/renewed.totp").write_bytes((folder.parent / "secrets/officer2.totp").read_bytes())
        renewed = self.hallmark.officer("renewed")
        renewed.log_in()
        asked = executor.submit(renewed.admin().GetKey, admin_pb2.GetKeyRequest(**key))
        time.sleep(1)  # until it waits its turn in signerd
        self.officer.certificates().RevokeCertificate(
            certificates_pb2.RevokeCertificateRequest(pem=certificate.decode()), timeout=AT_ONCE)
        return asked

    def test_beside_a_token_that_hangs_over_a_key(self):
        hallmark, admin, rotation = self.hallmark, self.officer.admin(), self.officer.rotation()
        key = {"domain": "example.com", "selector": self.ed25519.selector}
        admin.RetireKey(admin_pb2.RetireKeyRequest(**key))
        revoking = hallmark.call_error(admin.RevokeKey, admin_pb2.RevokeKeyRequest(**key))
        change_rules(self.faults, "C_GenerateKeyPair * hang\n")
        with concurrent.futures.ThreadPoolExecutor() as executor:
            making = executor.submit(admin.GenerateKey, admin_pb2.GenerateKeyRequest(
                domain="example.com", selector="slow", algorithm=admin_pb2.KEY_ALGORITHM_ED25519))
            try:
                wait_for(lambda: times_obeyed(self.faults) == 1, "the token hangs")
                # What needs the token waits its turn.
                asked = executor.submit(admin.GetKey, admin_pb2.GetKeyRequest(**key))
                stopped = self.ask_with_a_certificate_that_is_revoked(executor, key)

                paused = rotation.PauseRotation(rotation_pb2.PauseRotationRequest(domain="example.com"), timeout=AT_ONCE)
                self.assertTrue(paused.paused)
                self.assertEqual(self.approve(revoking), operators_pb2.APPROVAL_STATE_DONE)
                self.set_partner(policy_pb2.PARTNER_STATE_SUSPENDED)
                self.assertEqual(self.refusal(hallmark.signing()), "PARTNER_SUSPENDED")
                self.set_partner(policy_pb2.PARTNER_STATE_ACTIVE)
                self.relay.Sign(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=AT_ONCE)
                self.officer.certificates().RevokeCertificate(
                    certificates_pb2.RevokeCertificateRequest(pem=self.lost[0].decode()), timeout=AT_ONCE)
                self.assertEqual(self.refusal(self.relay), "CERTIFICATE_REVOKED")
                eve = operators_pb2.CreateOperatorRequest(name="eve", identity="uri:test:eve", role=operators_pb2.ROLE_AUDITOR)
                added = self.approve(hallmark.call_error(self.officer.operators().CreateOperator, eve, timeout=AT_ONCE))
                self.assertEqual(added, operators_pb2.APPROVAL_STATE_DONE)
                self.officer.operators().RemoveOperator(operators_pb2.RemoveOperatorRequest(name="eve"), timeout=AT_ONCE)
                self.officer.log_in()

                self.assertEqual([act.done() for act in (making, asked, stopped)], [False] * 3)
                self.assertEqual(times_obeyed(self.faults), 1)
            finally:
                change_rules(self.faults, "")
                for pid in hallmark.tokend_pids():
                    os.kill(pid, signal.SIGKILL)
            self.assertIsInstance(making.exception(120), grpc.RpcError)
            self.assertEqual(asked.result(120).state, admin_pb2.KEY_STATE_REVOKED)
            self.assertEqual(deployment.error_reason(stopped.exception(120)), "CERTIFICATE_REVOKED")

    def test_a_message_that_waits_for_the_token(self):
        """Its relay's certificate is revoked before the token answers."""
        change_rules(self.faults, "C_Sign * delay 4000\n")
        with concurrent.futures.ThreadPoolExecutor() as executor:
            signing = executor.submit(self.relay.Sign, signing_pb2.SignRequest(message=messages.MESSAGE), timeout=60)
            wait_for(lambda: times_obeyed(self.faults) >= 1, "the token signs")
            self.officer.certificates().RevokeCertificate(
                certificates_pb2.RevokeCertificateRequest(pem=self.lost[0].decode()), timeout=AT_ONCE)
            self.assertEqual(deployment.error_reason(signing.exception(120)), "CERTIFICATE_REVOKED")


if __name__ == "__main__":
    unittest.main()
