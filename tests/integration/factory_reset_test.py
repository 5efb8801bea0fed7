"""Factory reset: two officers end a box; its keys are destroyed, and its state is marked for the box to erase."""

import concurrent.futures
import itertools
import json
import os
import re
import subprocess
import unittest

import grpc

import deployment
import ledger_files
import messages
from hallmark.admin.v1 import admin_pb2, appliance_pb2, operators_pb2
from waiting import wait_for


class FactoryResetTest(unittest.TestCase):
    def setUp(self):
        self.hallmark = deployment.Deployment(start=False)
        self.addCleanup(self.hallmark.close)
        self.mark = self.hallmark.folder / "state/factory-reset"

    def start(self, *arguments):
        self.hallmark.arguments = list(arguments)
        self.hallmark.start()
        self.hallmark.add_domain("example.com")
        self.box = self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).box

    def objects(self):
        """What is in the token."""
        module = re.search(r'^module = "(.*)"$', self.hallmark.config.read_text(), re.MULTILINE).group(1)
        label = re.search(r"token=([^;?\"]+)", self.hallmark.config.read_text()).group(1)
        run = subprocess.run(["pkcs11-tool", "--module", module, "--token-label", label, "--login", "--pin",
                              self.hallmark.pin_file().read_text().strip(), "--list-objects"], capture_output=True, text=True,
                             check=True, timeout=60,
                             env={**os.environ, "SOFTHSM2_CONF": str(self.hallmark.folder / "softhsm/softhsm2.conf")})
        return run.stdout

    def outcomes(self):
        records = ledger_files.records(self.hallmark.folder / "state/ledger")
        return [record.admin_act.outcome for record in records if record.admin_act.method == "FactoryReset"]

    def test_two_officers_destroy_the_keys_and_mark_the_state(self):
        self.start("--appliance")
        self.assertTrue(self.box)
        self.assertIn("Private Key Object", self.objects())
        self.hallmark.dkimctl("factory-reset", status=1, input="")  # nobody to ask
        self.hallmark.dkimctl("factory-reset", "--box", "another", "--yes", status=1)
        error = self.hallmark.call_error(self.hallmark.officer().appliance().FactoryReset,
                                         appliance_pb2.FactoryResetRequest(box="another"))
        self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")
        waiting = self.hallmark.dkimctl("factory-reset", "--box", self.box, "--yes", status=5)
        self.assertEqual(len(self.hallmark.sign(messages.MESSAGE).signatures), 2)  # one person alone does nothing
        self.assertFalse(self.mark.exists())

        number = re.search(r"dkimctl approvals approve (\d+)", waiting.stderr).group(1)
        self.hallmark.as_officer2()
        approved = self.hallmark.dkimctl("approvals", "approve", number, "--yes", "--as", "officer2")
        self.assertIn("done", approved.stdout)
        self.assertEqual(self.hallmark.process.wait(60), 0)
        self.hallmark.stop()
        self.assertTrue(self.mark.exists())
        self.assertNotIn("Object", self.objects().replace("Profile object", ""))
        self.assertEqual(self.outcomes(), ["BEGUN", "INVALID_ARGUMENT", "BEGUN", "APPROVAL_REQUIRED", "BEGUN", "OK"])
        # What is left of the box does not serve.
        run = subprocess.run([deployment.BIN / "signerd", "--config", self.hallmark.config, "--appliance"], capture_output=True,
                             text=True, timeout=60, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("factory reset", run.stderr)

    def test_no_key_is_made_once_the_keys_are_destroyed(self):
        """What operators ask for while the reset goes on waits behind it."""
        self.hallmark.edit_config(lambda text: text.replace("drain_seconds = 0", "drain_seconds = 1"))  # calls go on coming in
        self.start("--appliance")
        waiting = self.hallmark.call_error(self.hallmark.officer().appliance().FactoryReset,
                                           appliance_pb2.FactoryResetRequest(box=self.box))
        officer2 = self.hallmark.as_officer2()
        made, reasons = [], set()

        def make(thread):
            admin = self.hallmark.admin()
            for number in itertools.count():
                try:
                    made.append(admin.GenerateKey(admin_pb2.GenerateKeyRequest(
                        domain="example.com", selector=f"k{thread}-{number}", algorithm=admin_pb2.KEY_ALGORITHM_ED25519), timeout=60))
                except grpc.RpcError as error:
                    reasons.add(deployment.error_reason(error))
                    if not deployment.error_reason(error):
                        return  # there is nobody any more

        with concurrent.futures.ThreadPoolExecutor() as executor:
            makers = [executor.submit(make, thread) for thread in range(4)]
            wait_for(lambda: len(made) > len(makers), "keys are made")
            approval = officer2.approve(self.hallmark.approval_of(waiting))
            self.assertEqual(self.hallmark.process.wait(60), 0)
            for maker in makers:
                maker.result()
        self.assertEqual(approval.state, operators_pb2.APPROVAL_STATE_DONE, approval)
        self.hallmark.stop()
        self.assertTrue(self.mark.exists())
        self.assertNotIn("Object", self.objects().replace("Profile object", ""))
        self.assertLessEqual(reasons, {"", "SHUTTING_DOWN"})
        self.assertIn("SHUTTING_DOWN", reasons)

    def test_only_on_a_box_that_can_start_as_new(self):
        self.start()
        refused = self.hallmark.dkimctl("factory-reset", "--box", self.box, "--yes", status=1)
        self.assertIn("stop it, and delete its state", refused.stderr)
        self.assertEqual(len(self.hallmark.sign(messages.MESSAGE).signatures), 2)

    def test_keys_that_a_token_will_not_destroy_stay_where_two_officers_say_so(self):
        faults = self.hallmark.use_faulty_module("")
        self.hallmark.edit_config(lambda text: text.replace("test_signature_seconds = 0\n", ""))  # which an appliance refuses
        self.start("--appliance")
        token = self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens[0].name
        officer2 = self.hallmark.as_officer2()
        new = faults.with_suffix(".new")
        new.write_text("C_DestroyObject * return 0x1b\n")  # CKR_ACTION_PROHIBITED
        new.rename(faults)
        reset = self.hallmark.officer().appliance().FactoryReset
        approval = officer2.approve(self.hallmark.approval_of(self.hallmark.call_error(reset, appliance_pb2.FactoryResetRequest(box=self.box))))
        self.assertNotEqual(approval.state, operators_pb2.APPROVAL_STATE_DONE, approval)
        self.assertFalse(self.mark.exists())
        self.hallmark.admin().GenerateKey(admin_pb2.GenerateKeyRequest(  # nor is anything else at its end
            domain="example.com", selector="after", algorithm=admin_pb2.KEY_ALGORITHM_ED25519))
        error = self.hallmark.call_error(reset, appliance_pb2.FactoryResetRequest(box=self.box, leave_keys_in=["none"]))
        self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")

        waiting = self.hallmark.dkimctl("factory-reset", "--box", self.box, "--leave-keys-in", token, "--yes", status=5)
        self.assertIn(f"Keys that cannot be destroyed in {token} stay there", waiting.stderr)
        number = re.search(r"dkimctl approvals approve (\d+)", waiting.stderr).group(1)
        self.assertIn("done", self.hallmark.dkimctl("approvals", "approve", number, "--yes", "--as", "officer2").stdout)
        self.assertEqual(self.hallmark.process.wait(60), 0)
        self.hallmark.stop()
        self.assertTrue(self.mark.exists())
        records = ledger_files.records(self.hallmark.folder / "state/ledger")
        left = [key for record in records if record.admin_act.method == "LeaveKeys" for key in json.loads(record.admin_act.request)["left_keys"]]
        named = [re.fullmatch(rf"{token}: (\S+)\._domainkey\.example\.com, CKA_ID [0-9a-f]+: .*CKR_ACTION_PROHIBITED", key) for key in left]
        self.assertEqual(len([match for match in named if match]), 3, left)  # beside the ledger's, once that is made

    def test_a_token_that_does_not_answer_keeps_the_state(self):
        self.start("--appliance")
        waiting = self.hallmark.call_error(self.hallmark.officer().appliance().FactoryReset,
                                           appliance_pb2.FactoryResetRequest(box=self.box))
        (self.hallmark.folder / "softhsm/tokens").rename(self.hallmark.folder / "softhsm/away")
        for pid in self.hallmark.tokend_pids():
            os.kill(pid, 9)
        wait_for(lambda: self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens[0].state !=
                 admin_pb2.TOKEN_STATE_READY, "the token is gone")
        approval = self.hallmark.as_officer2().approve(self.hallmark.approval_of(waiting))
        self.assertNotEqual(approval.state, operators_pb2.APPROVAL_STATE_DONE, approval)
        self.assertFalse(self.mark.exists())
        self.assertTrue(self.hallmark.running())
        for pid in self.hallmark.tokend_pids():
            os.kill(pid, 9)
        (self.hallmark.folder / "softhsm/tokens").rmdir() if (self.hallmark.folder / "softhsm/tokens").exists() else None
        (self.hallmark.folder / "softhsm/away").rename(self.hallmark.folder / "softhsm/tokens")
        self.assertIn("Private Key Object", self.objects())


if __name__ == "__main__":
    unittest.main()
