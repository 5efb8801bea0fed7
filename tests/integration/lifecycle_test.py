"""Starting and stopping: state outlives the daemon, SIGTERM lets calls finish, and a broken start says why."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time
import unittest

import grpc

import deployment
import ledger_files
import ledger_test
import messages
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2


class LifecycleTest(unittest.TestCase):
    def test_state_outlives_the_daemon(self):
        with deployment.Deployment() as hallmark:
            keys = hallmark.add_domain("example.com")
            self.assertEqual(hallmark.stop(), 0)
            hallmark.start()
            answer = hallmark.sign(messages.MESSAGE)
            self.assertEqual({signature.selector for signature in answer.signatures}, {key.selector for key in keys})

    def test_state_outlives_a_crash(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            hallmark.process.send_signal(signal.SIGKILL)
            hallmark.process.wait()
            hallmark.stop()
            hallmark.start()
            self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)

    def test_stop_answers_what_is_in_flight(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            stub = hallmark.signing()
            calls = [stub.Sign.future(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=30) for _ in range(200)]
            calls[0].result()
            hallmark.process.terminate()
            codes = {call.code() for call in calls}  # Waits for each.
            self.assertLessEqual(codes, {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE})
            self.assertEqual(hallmark.process.wait(30), 0)

    def test_the_time_of_a_signature_is_utc_wherever_the_box_stands(self):
        for zone in ("Asia/Kathmandu", "<+0545>-5:45"):  # the same one, where its file is missing too
            with self.subTest(zone), deployment.Deployment(start=False) as hallmark:
                hallmark.start(environment={"TZ": zone})
                hallmark.add_domain("example.com")
                for signature in hallmark.sign(messages.MESSAGE).signatures:
                    age = time.time() - int(messages.tags(signature.header_field)["t"])
                    self.assertTrue(0 <= age <= 60, f"t= is {age} s old")

    def test_sighup_ends_nothing(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            hallmark.process.send_signal(signal.SIGHUP)
            self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)
            self.assertTrue(hallmark.running())

    def test_stop_with_an_idle_stream(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            done = threading.Event()

            def requests():
                yield signing_pb2.SignRequest(message=messages.MESSAGE, options=signing_pb2.SignOptions(request_id="1"))
                done.wait(60)

            stream = hallmark.signing().SignStream(requests(), timeout=60)
            next(stream)
            try:
                self.assertEqual(hallmark.stop(), 0)
            finally:
                done.set()

    def test_stop_does_not_wait_for_a_key(self):
        """A token may take minutes to make one; systemd does not wait as long."""
        with deployment.Deployment(start=False) as hallmark:
            faults = hallmark.use_faulty_module("")
            hallmark.start()
            hallmark.add_domain("example.com")
            hallmark.sign(messages.MESSAGE)
            ledger = hallmark.folder / "state" / "ledger"
            wait_for((ledger / "verifier-key").exists, "there is no key for checkpoints")
            rules = faults.with_suffix(".next")
            rules.write_text("C_GenerateKeyPair * hang\n")
            rules.rename(faults)
            errors = []

            def make():
                errors.append(hallmark.call_error(hallmark.admin().GenerateKey, admin_pb2.GenerateKeyRequest(
                    domain="example.com", algorithm=admin_pb2.KEY_ALGORITHM_RSA_2048)))

            making = threading.Thread(target=make)
            making.start()
            log = pathlib.Path(f"{faults}.log")
            wait_for(lambda: "hang" in log.read_text().splitlines(), "the key is not being made")
            hallmark.sign(messages.MESSAGE)
            hallmark.process.terminate()
            self.assertEqual(hallmark.process.wait(40), 0)  # 45 s is what systemd gives it
            making.join()
            self.assertEqual(errors[0].code(), grpc.StatusCode.UNAVAILABLE)
            key = ledger_test.public_key(hallmark)
            self.assertEqual(ledger_files.checkpoints(ledger, key)[-1][0], len(ledger_files.check(ledger, key)))

    def test_tokend_ends_with_the_daemon(self):
        with deployment.Deployment() as hallmark:
            [pid] = hallmark.tokend_pids()
            process = pathlib.Path(f"/proc/{pid}/comm")
            self.assertEqual(process.read_text().strip(), "tokend")
            hallmark.stop()
            self.assertFalse(process.exists())

    def test_crash_while_the_token_logs_in(self):
        """SoftHSM writes its token anew at a login: a tokend that is cut off in the middle of it leaves half a token."""
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            hallmark.stop()
            command = [deployment.BIN / "signerd", "--config", hallmark.config]
            for step in range(100):
                daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                                          preexec_fn=deployment.die_with_parent)
                time.sleep(0.02 + step * 0.001)
                daemon.kill()
                daemon.wait()
            hallmark.start()
            self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 2)

    def test_a_token_that_was_broken_off(self):
        """What a tokend that is killed, or a power cut, in the middle of a login leaves: the token comes back with its keys."""
        with deployment.Deployment() as hallmark:
            keys = hallmark.add_domain("example.com")
            [token] = (hallmark.folder / "softhsm" / "tokens").glob("*/token.object")
            whole = token.read_bytes()
            for rest in (0, 100, len(whole) - 1):
                with self.subTest(octets=rest):
                    self.assertEqual(hallmark.stop(), 0)
                    token.write_bytes(whole[:rest])
                    hallmark.start()
                    answer = hallmark.sign(messages.MESSAGE)
                    self.assertEqual({signature.selector for signature in answer.signatures}, {key.selector for key in keys})

    def test_tokend_is_killed_while_it_logs_in(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            for step in range(12):
                for pid in wait_for(hallmark.tokend_pids, "a tokend"):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(step * 0.005)

            def signed():
                with contextlib.suppress(grpc.RpcError):
                    return hallmark.sign(messages.MESSAGE)

            self.assertEqual(len(wait_for(signed, "the token").signatures), 2)

    def test_change_of_keys_while_messages_come(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            stop, outcomes = threading.Event(), []

            def load():
                stub = hallmark.signing()
                while not stop.is_set():
                    try:
                        answer = stub.Sign(signing_pb2.SignRequest(message=messages.MESSAGE), timeout=30)
                        outcomes.append(len(answer.signatures))
                    except grpc.RpcError as error:
                        outcomes.append(error.code())

            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                admin = hallmark.admin()
                for _ in range(3):
                    old = [key for key in admin.ListKeys(admin_pb2.ListKeysRequest(domain="example.com")).keys
                           if key.state == admin_pb2.KEY_STATE_ACTIVE]
                    for key in old:
                        new = admin.GenerateKey(admin_pb2.GenerateKeyRequest(domain="example.com", algorithm=key.algorithm))
                        admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain="example.com", selector=new.selector, unpublished=True))
                    for key in old:
                        admin.RetireKey(admin_pb2.RetireKeyRequest(domain="example.com", selector=key.selector))
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            # Never refused, never without a signature; while both sets are active there are more.
            self.assertLessEqual(set(outcomes), {2, 3, 4})


if __name__ == "__main__":
    unittest.main()
