"""What becomes of signing when tokend or its token fails, and that it comes back by itself."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import struct
import threading
import time
import unittest

import grpc

import deployment
import messages

from hallmark.admin.v1 import admin_pb2
from waiting import wait_for


def token_state(hallmark):
    return hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens[0]


def change_rules(faults, rules):
    following = faults.with_suffix(".next")
    following.write_text(rules)
    following.rename(faults)  # a reader sees the old rules or the new ones


def times_obeyed(faults):
    """How often one of the present rules was obeyed: the first number of the file that the module keeps with them."""
    facts = faults.stat()
    since = pathlib.Path(f"{faults}.since-{facts.st_ino}-{facts.st_mtime_ns // 10**9}.{facts.st_mtime_ns % 10**9}")
    return struct.unpack_from("=Q", since.read_bytes())[0] if since.exists() else 0


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
                    print(f"signed again {again - killed:.2f} s after the kill")
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
            change_rules(faults, "C_GenerateKeyPair * delay 2000\n")
            request = admin_pb2.GenerateKeyRequest(domain="example.com", selector="slow",
                                                   algorithm=admin_pb2.KEY_ALGORITHM_ED25519)
            signed = 0
            with concurrent.futures.ThreadPoolExecutor() as executor:
                making = executor.submit(hallmark.admin().GenerateKey, request)
                while not making.done():
                    self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)
                    signed += 1
            self.assertEqual(making.result().selector, "slow")
            self.assertEqual(times_obeyed(faults), 1, "it took longer than a signature may")
            self.assertGreater(signed, 0)
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
            faults = hallmark.use_faulty_module("C_Login * delay 600000\n")
            hallmark.start()
            self.assertEqual(token_state(hallmark).state, admin_pb2.TOKEN_STATE_STARTING)
            change_rules(faults, "C_Login * delay 1500\n")
            starts = token_state(hallmark).starts
            for pid in hallmark.tokend_pids():
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: token_state(hallmark).starts > starts, "another tokend")
            hallmark.add_domain("example.com")  # Keys are made as soon as the token is there.
            self.assertGreater(times_obeyed(faults), 0, "the login was slow")
            self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)


class PinTest(unittest.TestCase):
    def test_wrong_pin_is_tried_once(self):
        with deployment.Deployment(start=False) as hallmark:
            pin = hallmark.pin_file()
            right = pin.read_text()
            pin.write_text("87654321\n")
            faults = hallmark.use_faulty_module("")  # SoftHSM itself locks no token, however often a PIN is tried
            hallmark.start()  # It starts, and says so, though the token is not usable.
            wait_for(lambda: token_state(hallmark).state == admin_pb2.TOKEN_STATE_PIN_REJECTED, "the PIN is rejected")
            # Everything that might tempt it to try again.
            hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name="example.com"))
            for _ in range(5):
                hallmark.call_error(hallmark.admin().GenerateKey, admin_pb2.GenerateKeyRequest(
                    domain="example.com", algorithm=admin_pb2.KEY_ALGORITHM_ED25519))
            pin.touch()  # The same content is the same PIN.
            time.sleep(3)
            for pid in hallmark.tokend_pids():
                os.kill(pid, signal.SIGKILL)  # No new process tries it either.
            wait_for(lambda: "when its file changes" in token_state(hallmark).message, "signerd knows that tokend is gone")
            time.sleep(3)
            self.assertEqual(token_state(hallmark).state, admin_pb2.TOKEN_STATE_PIN_REJECTED)
            self.assertEqual(pathlib.Path(f"{faults}.log").read_text().split().count("C_Login"), 1)
            log = hallmark.log_text()
            self.assertIn("CKR_PIN_INCORRECT", log)
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
