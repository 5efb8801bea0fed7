"""What becomes of signing when tokend or its token fails, and that it comes back by itself."""

import os
import re
import shutil
import signal
import threading
import time
import unittest

import grpc

import deployment
import messages

from hallmark.admin.v1 import admin_pb2
from waiting import wait_for

RECOVERY_SECONDS = 2.0 * (5 if deployment.sanitized() else 1)


def token_state(hallmark):
    return hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens[0]


class KilledTest(unittest.TestCase):
    def test_killed_under_load(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            codes, stop, lock = [], threading.Event(), threading.Lock()

            def load():
                stub = hallmark.signing()
                while not stop.is_set():
                    try:
                        answer = stub.Sign(deployment.signing_pb2.SignRequest(message=messages.MESSAGE), timeout=10)
                        code = "OK" if len(answer.signatures) == 2 else "INCOMPLETE"
                    except grpc.RpcError as error:
                        code = error.code().name
                        time.sleep(0.01)
                    with lock:
                        codes.append((time.monotonic(), code))

            threads = [threading.Thread(target=load) for _ in range(8)]
            for thread in threads:
                thread.start()
            try:
                for _ in range(3):
                    wait_for(lambda: len(codes) > 50, "load runs")
                    with lock:
                        codes.clear()
                    [pid] = hallmark.tokend_pids()
                    killed = time.monotonic()
                    os.kill(pid, signal.SIGKILL)
                    # A call that was answered in this very moment may be from before; 50 ms later none is.
                    wait_for(lambda: any(code == "OK" and at > killed + 0.05 for at, code in list(codes)), "signing goes on")
                    with lock:
                        again = min(at for at, code in codes if code == "OK" and at > killed + 0.05)
                        self.assertLessEqual({code for _, code in codes}, {"OK", "UNAVAILABLE"})
                    self.assertLess(again - killed, RECOVERY_SECONDS)
                    wait_for(lambda: len(hallmark.tokend_pids()) == 1 and hallmark.tokend_pids() != [pid], "one new tokend")
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            self.assertTrue(hallmark.running())
            self.assertGreaterEqual(token_state(hallmark).starts, 4)

    def test_hung_is_replaced(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.edit_config(lambda text: re.sub(r"^(sessions = .*)$", r"\1\nsign_timeout_ms = 500", text, flags=re.MULTILINE))
            hallmark.start()
            hallmark.add_domain("example.com")
            [pid] = hallmark.tokend_pids()
            os.kill(pid, signal.SIGSTOP)
            codes = set()

            def signs():
                try:
                    return len(hallmark.sign(messages.MESSAGE, timeout=10).signatures) == 2
                except grpc.RpcError as error:
                    codes.add(error.code().name)
                    return False

            wait_for(signs, "signing works again")
            self.assertLessEqual(codes, {"UNAVAILABLE", "DEADLINE_EXCEEDED"})
            self.assertNotIn(pid, hallmark.tokend_pids())

    def test_making_a_key_on_a_smartcard_is_not_hanging(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.edit_config(lambda text: re.sub(r"^(sessions = .*)$", r"\1\nsign_timeout_ms = 500", text, flags=re.MULTILINE))
            faults = hallmark.use_faulty_module("", simulate="sessions=2")
            hallmark.start()
            hallmark.add_domain("example.com")
            [pid] = hallmark.tokend_pids()
            faults.write_text("C_GenerateKeyPair * delay 2000\n")
            request = admin_pb2.GenerateKeyRequest(domain="example.com", selector="slow",
                                                   algorithm=admin_pb2.KEY_ALGORITHM_ED25519)
            making = hallmark.admin().GenerateKey.future(request)
            while not making.done():
                self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)
            self.assertEqual(making.result().selector, "slow")
            self.assertEqual(hallmark.tokend_pids(), [pid])

    def test_error_says_when_to_retry(self):
        with deployment.Deployment(start=False) as hallmark:
            pin = hallmark.pin_file()
            right = pin.read_text()
            hallmark.start()
            hallmark.add_domain("example.com")
            hallmark.stop()
            pin.write_text("00000000\n")
            hallmark.start()
            error = hallmark.call_error(hallmark.sign, messages.MESSAGE)
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertIn(deployment.error_reason(error), ("TOKEN_DOWN", "PIN_REJECTED"))
            self.assertIsNotNone(deployment.retry_info(error))
            self.assertNotRegex(error.details(), r"CKR_|0x[0-9a-f]{3}|PIN", "the inside is not for relays")
            pin.write_text(right)


class StartTest(unittest.TestCase):
    def test_calls_wait_for_a_slow_start(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.use_faulty_module("C_Login 1 delay 1500\n")
            hallmark.start()
            self.assertEqual(token_state(hallmark).state, admin_pb2.TOKEN_STATE_STARTING)
            hallmark.add_domain("example.com")  # Keys are made as soon as the token is there.
            self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)


class PinTest(unittest.TestCase):
    def test_wrong_pin_is_tried_once(self):
        with deployment.Deployment(start=False) as hallmark:
            pin = hallmark.pin_file()
            right = pin.read_text()
            pin.write_text("87654321\n")
            hallmark.start()  # It starts, and says so, though the token is not usable.
            wait_for(lambda: token_state(hallmark).state == admin_pb2.TOKEN_STATE_PIN_REJECTED, "the PIN is rejected")
            # Everything that might tempt it to try again.
            hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name="example.com"))
            for _ in range(5):
                hallmark.call_error(hallmark.admin().GenerateKey, admin_pb2.GenerateKeyRequest(
                    domain="example.com", algorithm=admin_pb2.KEY_ALGORITHM_ED25519))
            pin.touch()  # The same content is the same PIN.
            for pid in hallmark.tokend_pids():
                os.kill(pid, signal.SIGKILL)  # Even a new process has been told.
            time.sleep(3)
            self.assertEqual(token_state(hallmark).state, admin_pb2.TOKEN_STATE_PIN_REJECTED)
            log = hallmark.log_text()
            self.assertEqual(len(re.findall(r"(?i)CKR_PIN_INCORRECT|pin (?:was )?(?:rejected|refused|incorrect)", log)) > 0, True,
                             log)
            self.assertNotIn("87654321", log)
            pin.write_text(right)
            wait_for(lambda: token_state(hallmark).state == admin_pb2.TOKEN_STATE_READY, "the new PIN is taken")
            hallmark.add_domain("example.net")
            self.assertEqual(len(hallmark.sign(messages.MESSAGE.replace(b"example.com", b"example.net")).signatures), 2)


class AbsentTest(unittest.TestCase):
    def test_token_appears_later(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            hallmark.stop()
            tokens = hallmark.folder / "softhsm/tokens"
            away = tokens.with_name("away")
            tokens.rename(away)
            tokens.mkdir(mode=0o700)
            hallmark.start()
            wait_for(lambda: token_state(hallmark).state == admin_pb2.TOKEN_STATE_ABSENT, "the token is absent")
            error = hallmark.call_error(hallmark.sign, messages.MESSAGE)
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(deployment.error_reason(error), "TOKEN_DOWN")
            for entry in away.iterdir():
                shutil.move(str(entry), str(tokens))
            wait_for(lambda: token_state(hallmark).state == admin_pb2.TOKEN_STATE_READY, "the token is there", 60)
            self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)


if __name__ == "__main__":
    unittest.main()
