"""The ledger holds every signature that was given, and every act of an operator, whatever happens to the daemon.

HALLMARK_CRASHES says how often the daemon is killed (12 unless told).
"""

import contextlib
import os
import pathlib
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
import unittest

import grpc

import deployment
import ledger_files
import messages

from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERIFY = ROOT / "tools" / "ledger-verify"
MANUAL = ROOT / "docs" / "operations.md"
CRASHES = int(os.environ.get("HALLMARK_CRASHES", "12"))


def public_key(hallmark):
    """The raw key that signs checkpoints, as recorded (SubjectPublicKeyInfo ends with it)."""
    with contextlib.closing(sqlite3.connect(hallmark.folder / "state" / "hallmark.db")) as store:
        return store.execute("SELECT public_key FROM ledger_key").fetchone()[0][-32:]


def signatures(records):
    return [record.signature for record in records if record.HasField("signature")]


class LedgerTest(unittest.TestCase):
    def ledger(self, hallmark):
        return hallmark.folder / "state" / "ledger"

    def test_says_who_what_and_with_which_key(self):
        with deployment.Deployment() as hallmark:
            keys = hallmark.add_domain("example.com")
            answer = hallmark.sign(messages.MESSAGE, request_id="one", envelope_sender="bounces@example.com",
                                   envelope_recipients=["bob@example.net", "eve@example.net"])
            hallmark.stop()
            records = ledger_files.check(self.ledger(hallmark), public_key(hallmark))
            made = signatures(records)
            self.assertEqual([one.selector for one in made], [one.selector for one in answer.signatures])
            self.assertEqual({one.selector for one in made}, {key.selector for key in keys})
            for index, (one, given) in enumerate(zip(made, answer.signatures)):
                self.assertEqual((one.relay, one.partner, one.signing_domain, one.author_domain),
                                 ("relay1", "own", "example.com", "example.com"))
                self.assertEqual((one.index, one.count, one.request_id), (index, 2, "one"))
                self.assertEqual(one.body_hash, given.body_hash)
                self.assertEqual((one.octets, one.envelope_sender), (len(messages.MESSAGE), "bounces@example.com"))
                self.assertEqual((one.recipient_count, len(one.recipient_hashes), list(one.recipients)), (2, 2, []))
            # All of it is under a signed head after a stop.
            self.assertEqual(ledger_files.checkpoints(self.ledger(hallmark), public_key(hallmark))[-1][0], len(records))

    def test_operators_acts_are_on_it(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            hallmark.dkimctl("domain", "add", "example.com", status=1)
            hallmark.stop()
            acts = [record.admin_act for record in ledger_files.records(self.ledger(hallmark))
                    if record.HasField("admin_act") and record.admin_act.method == "CreateDomain"]
            told = [(act.method, act.outcome) for act in acts]
            self.assertEqual(told[:2], [("CreateDomain", "BEGUN"), ("CreateDomain", "OK")])
            self.assertEqual(told[-2:], [("CreateDomain", "BEGUN"), ("CreateDomain", "ALREADY_EXISTS")])
            self.assertIn("example.com", acts[0].request)
            self.assertTrue(acts[0].operator)

    def test_a_disk_without_room_stops_signing_and_nothing_else(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            many = [f"user{number}@example.net" for number in range(1000)]
            for _ in range(40):
                hallmark.sign(messages.MESSAGE, envelope_recipients=many)
            [segment] = (self.ledger(hallmark) / "segments").iterdir()
            # No file of the daemon may grow beyond this, and only the segment is as large; a record is cut after five octets.
            size = segment.stat().st_size
            resource.prlimit(hallmark.process.pid, resource.RLIMIT_FSIZE, (size + 5, resource.RLIM_INFINITY))
            for _ in range(2):
                error = hallmark.call_error(hallmark.sign, messages.MESSAGE)
                self.assertEqual((error.code(), deployment.error_reason(error)),
                                 (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE"))
            hallmark.dkimctl("domain", "add", "example.org", status=3)
            self.await_alert(hallmark)
            self.assertIn("NO: nothing is signed", hallmark.dkimctl("ledger", "status").stdout)
            resource.prlimit(hallmark.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            self.await_signature(hallmark)
            self.assertEqual([domain.name for domain in hallmark.admin().ListDomains(admin_pb2.ListDomainsRequest()).domains],
                             ["example.com"])
            hallmark.stop()
            records = ledger_files.check(self.ledger(hallmark), public_key(hallmark))
            self.assertEqual(len(signatures(records)), 82)
            self.assertEqual([record.alert.kind for record in records if record.HasField("alert")], ["LEDGER_UNAVAILABLE"])

    def await_alert(self, hallmark):
        deadline = time.monotonic() + 30
        while not hallmark.dkimctl_json("alerts", "list")["alerts"]:
            self.assertLess(time.monotonic(), deadline, "no alert within 30 s")
            time.sleep(0.2)

    def await_signature(self, hallmark):
        deadline = time.monotonic() + 30
        while True:
            try:
                return hallmark.sign(messages.MESSAGE)
            except grpc.RpcError as error:
                self.assertEqual(deployment.error_reason(error), "LEDGER_UNAVAILABLE")
                self.assertLess(time.monotonic(), deadline, "it does not go on by itself")
            time.sleep(0.2)

    def test_a_start_cuts_off_a_write_that_was_cut_short_and_nothing_else(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.edit_config(lambda text: text + "\n[ledger]\ncheckpoint_seconds = 60\n")
            hallmark.start()
            hallmark.add_domain("example.com")
            for _ in range(3):
                hallmark.sign(messages.MESSAGE)
            hallmark.kill()  # nothing is under a checkpoint
            [segment] = (self.ledger(hallmark) / "segments").iterdir()
            whole = segment.read_bytes()
            records = ledger_files.leaves(self.ledger(hallmark))
            # A bit of the last one that was answered but one: a disk does that, and no crash.
            at = len(whole) - len(ledger_files.frame(records[-1])) - 20
            segment.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1:])
            with self.assertRaisesRegex(AssertionError, rf"record {len(records) - 2}: .* that is damage, and no write that was cut short"):
                hallmark.start()
            hallmark.stop()
            self.assertEqual(len(segment.read_bytes()), len(whole), "it is gone")
            # The beginning of a write, of which nobody was told.
            torn = ledger_files.frame(records[-1])[:-5]
            segment.write_bytes(whole + torn)
            hallmark.start()
            self.assertEqual(segment.with_name(segment.name + ".torn").read_bytes(), torn)
            self.assertIn(f"cut off {len(torn)} octets", hallmark.log_text())
            hallmark.sign(messages.MESSAGE)
            hallmark.stop()
            kept = ledger_files.leaves(self.ledger(hallmark))
            self.assertEqual(kept[:len(records)], records)
            self.assertEqual(self.verify(self.ledger(hallmark)), "")

    def follow(self, hallmark, first, **values):
        """What docs/operations.md has a person type, from the line on that begins so; with these values for the example's."""
        block = re.search(rf"^(?:    .*\n)*    {re.escape(first)}.*\n(?:    .*\n)*", MANUAL.read_text(), re.MULTILINE).group()
        for name, value in values.items():
            block, count = re.subn(rf"\b{name}=\S+", f"{name}={value}", block)
            self.assertEqual(count, 1, name)
        block = block.replace("/var/lib/hallmark", str(hallmark.folder / "state"))
        subprocess.run(["bash", "-e", "-c", block], check=True, timeout=60)

    def damage(self, hallmark, record):
        """Changes a bit of a record, and starts. Gives its segment, offset, and what signerd says."""
        [segment] = (self.ledger(hallmark) / "segments").glob("*.seg")
        octets = segment.read_bytes()
        at = octets.index(ledger_files.leaves(self.ledger(hallmark))[record])
        segment.write_bytes(octets[:at + 9] + bytes([octets[at + 9] ^ 16]) + octets[at + 10:])
        said = self.refused(hallmark)
        told = re.search(rf"/([0-9]+\.seg): at offset ([0-9]+), record {record}: ", said)
        self.assertEqual(told.groups(), (segment.name, str(at - 8)))
        return segment, int(told[2]), said

    def refused(self, hallmark):
        """What signerd says that does not start, and changes nothing of the ledger."""
        def files():
            return {path: path.read_bytes() for path in self.ledger(hallmark).rglob("*") if path.is_file()}
        before = files()
        run = subprocess.run([deployment.BIN / "signerd", "--config", hallmark.config], capture_output=True, text=True,
                             timeout=60, check=False)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertEqual(files(), before)
        return run.stderr

    def test_damage_that_no_checkpoint_is_of_is_mended_as_the_manual_says(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.edit_config(lambda text: text + "\n[ledger]\ncheckpoint_seconds = 60\n")
            hallmark.start()
            hallmark.add_domain("example.com")
            hallmark.stop()  # so far a checkpoint is of it
            signed = len(ledger_files.leaves(self.ledger(hallmark)))
            hallmark.start()
            for number in range(3):
                hallmark.sign(messages.MESSAGE, request_id=f"lost-{number}")
            hallmark.kill()
            records = ledger_files.leaves(self.ledger(hallmark))
            segment, offset, said = self.damage(hallmark, len(records) - 4)
            self.assertGreaterEqual(len(records) - 4, signed)
            self.assertIn("docs/operations.md, The ledger, says what to do", said)
            damaged = segment.read_bytes()
            self.follow(hallmark, "tail -c", SEGMENT=segment.name, OFFSET=offset)
            hallmark.start()
            hallmark.sign(messages.MESSAGE, request_id="after")
            self.assertEqual(len(hallmark.dkimctl_json("ledger", "search", "--domain", "example.com")["records"]), 4)
            hallmark.stop()
            self.assertEqual(segment.with_name(segment.name + ".damaged").read_bytes(), damaged[offset:])
            self.assertEqual(ledger_files.leaves(self.ledger(hallmark))[:len(records) - 4], records[:-4])
            self.assertEqual(self.verify(self.ledger(hallmark)), "")

    def test_damage_that_a_checkpoint_is_of_takes_the_segment_back_or_a_new_ledger(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            hallmark.sign(messages.MESSAGE, request_id="one")
            hallmark.stop()
            records = ledger_files.leaves(self.ledger(hallmark))
            [segment] = (self.ledger(hallmark) / "segments").iterdir()
            whole = segment.read_bytes()
            _, offset, said = self.damage(hallmark, len(records) - 3)
            self.assertNotIn("says what to do", said)
            damaged = segment.read_bytes()
            self.follow(hallmark, "tail -c", SEGMENT=segment.name, OFFSET=offset)
            self.assertIn("it was cut off or put back", self.refused(hallmark))
            cut_off = segment.with_name(segment.name + ".damaged")
            self.assertEqual(segment.read_bytes() + cut_off.read_bytes(), damaged)
            # With a copy all is as it was.
            segment.write_bytes(whole)
            cut_off.unlink()
            hallmark.start()
            hallmark.stop()
            self.assertEqual(self.verify(self.ledger(hallmark)), "")
            # Without one the old ledger stays, and a new one begins.
            kept = hallmark.folder / "kept"
            kept.write_text((self.ledger(hallmark) / "checkpoints").read_text())
            self.follow(hallmark, "mv ledger/segments")
            hallmark.edit_config(lambda text: text + '\n[ledger]\norigin = "hallmark/new"\n')
            hallmark.start()
            hallmark.sign(messages.MESSAGE, request_id="two")
            hallmark.stop()
            self.assertEqual(self.verify(self.ledger(hallmark)), "")
            self.assertEqual(self.verify(hallmark.folder / "state/ledger.before", "--checkpoint", kept), "")
            said = self.verify(self.ledger(hallmark), "--checkpoint", kept)
            self.assertIn("is not a checkpoint of hallmark/new", said)
            self.assertNotIn("cut off", said)
            self.assertEqual(len({(hallmark.folder / "state" / name / "recipient.key").read_bytes() for name in ("ledger", "ledger.before")}), 1)

    def test_killed_at_any_instant_it_has_all_that_was_answered(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            answered, chance = [], random.Random(20261124)
            for crash in range(CRASHES):
                stop = threading.Event()

                def load(name, stop=stop):
                    stub, number = hallmark.signing(), 0
                    while not stop.is_set():
                        number += 1
                        request_id = f"{name}-{number}"
                        try:
                            stub.Sign(signing_pb2.SignRequest(message=messages.MESSAGE, options=signing_pb2.SignOptions(
                                request_id=request_id)), timeout=10)
                        except grpc.RpcError:
                            return
                        answered.append(request_id)

                threads = [threading.Thread(target=load, args=(f"{crash}-{thread}",)) for thread in range(4)]
                for thread in threads:
                    thread.start()
                time.sleep(0.05 + chance.random() * 0.4)
                hallmark.process.kill()
                stop.set()
                for thread in threads:
                    thread.join()
                hallmark.process.wait()
                hallmark.start()
            # Until here no life may have been long enough for the token to make the key of the checkpoints.
            hallmark.sign(messages.MESSAGE, request_id="last")
            answered.append("last")
            hallmark.stop()
            self.assertGreater(len(answered), CRASHES)
            made = signatures(ledger_files.check(self.ledger(hallmark), public_key(hallmark)))
            kept = {}
            for one in made:
                kept.setdefault(one.request_id, []).append(one.index)
            for request_id in answered:
                self.assertEqual(kept.get(request_id), [0, 1], request_id)

    def verify(self, folder, *arguments):
        """What tools/ledger-verify says; "" when the ledger is whole."""
        run = subprocess.run([VERIFY, folder, *arguments], capture_output=True, text=True, timeout=120, check=False)
        self.assertIn(run.returncode, (0, 1), run.stderr)
        self.assertEqual(run.returncode == 0, run.stdout.startswith("whole: "), run.stdout + run.stderr)
        return run.stderr

    def test_whatever_is_done_to_it_is_found(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            for number in range(10):
                hallmark.sign(messages.MESSAGE, request_id=f"before-{number}")
            hallmark.stop()
            early = hallmark.folder / "early"
            shutil.copytree(self.ledger(hallmark), early)
            hallmark.start()
            for number in range(10):
                hallmark.sign(messages.MESSAGE, request_id=f"after-{number}")
            hallmark.stop()
            whole = self.ledger(hallmark)
            self.assertEqual(self.verify(whole), "")
            kept = hallmark.folder / "kept"
            kept.write_text((whole / "checkpoints").read_text())
            [name] = [path.name for path in (whole / "segments").iterdir()]
            octets = (whole / "segments" / name).read_bytes()
            payloads = list(ledger_files.frames(whole / "segments" / name))

            def rebuilt(changed):
                """The segment of other records, with right lengths and CRCs: as one who knows the format would forge it."""
                return ledger_files.MAGIC + b"".join(ledger_files.frame(payload) for payload in changed)

            def segment(content):
                copy = hallmark.folder / "copy"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(whole, copy)
                (copy / "segments" / name).write_bytes(content)
                return self.verify(copy)

            self.assertEqual(segment(rebuilt(payloads)), "")
            chance = random.Random(5)
            for at in [8, 12, 16, len(octets) - 1, *(chance.randrange(len(octets)) for _ in range(40))]:
                flipped = bytearray(octets)
                flipped[at] ^= 1 << chance.randrange(8)
                self.assertNotEqual(segment(bytes(flipped)), "", f"a flipped bit in octet {at}")
            self.assertIn("checkpoint", segment(rebuilt(payloads[:5] + payloads[6:])), "a removed record")
            self.assertIn("checkpoint", segment(rebuilt(payloads[:5] + payloads[4:])), "a record put in")
            swapped = payloads[:5] + [payloads[6], payloads[5]] + payloads[7:]
            self.assertIn("changed, removed, put in or moved", segment(rebuilt(swapped)), "a swapped pair")
            forged = payloads[5][:-1] + bytes([payloads[5][-1] ^ 1])
            self.assertIn("changed", segment(rebuilt(payloads[:5] + [forged] + payloads[6:])), "a changed record")
            self.assertIn("ends within a frame", segment(octets[:-5]), "a cut frame")
            self.assertIn("cut off or put back", segment(rebuilt(payloads[:-3])), "a cut-off ledger")
            # Put back as a whole, with its own checkpoints: only who kept a newer one can tell.
            self.assertEqual(self.verify(early), "")
            self.assertIn("cut off or put back", self.verify(early, "--checkpoint", kept))
            # An old checkpoint played again behind the newer one.
            with open(hallmark.folder / "copy" / "checkpoints", "a", encoding="utf-8") as file:
                file.write((early / "checkpoints").read_text())
            (hallmark.folder / "copy" / "segments" / name).write_bytes(octets)
            self.assertIn("comes after one of", self.verify(hallmark.folder / "copy"))

    def test_a_ledger_that_was_put_back_is_refused(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            hallmark.stop()
            shutil.copytree(self.ledger(hallmark) / "segments", hallmark.folder / "old")
            hallmark.start()
            hallmark.sign(messages.MESSAGE)
            hallmark.stop()
            shutil.rmtree(self.ledger(hallmark) / "segments")
            shutil.copytree(hallmark.folder / "old", self.ledger(hallmark) / "segments")
            run = subprocess.run([deployment.BIN / "signerd", "--config", hallmark.config], capture_output=True, text=True,
                                 timeout=60, check=False)
            self.assertEqual(run.returncode, 1)
            self.assertIn("but a checkpoint says", run.stderr)


if __name__ == "__main__":
    unittest.main()
