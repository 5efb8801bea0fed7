"""What `dkimctl ledger` says of the ledger of a running daemon: search, proofs, verification, export, retention, and quotas
that outlive a restart."""

import csv
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import threading
import time
import unittest

import grpc
from google.protobuf import json_format

import deployment
import ledger_files
import metrics_test
import pki

from hallmark.admin.v1 import ledger_pb2, ledger_pb2_grpc
from hallmark.signing.v1 import signing_pb2

VERIFY = pathlib.Path(__file__).resolve().parents[2] / "tools" / "ledger-verify"


def message(number, author="alice@example.com"):
    return (f"From: {author}\r\nTo: bob@example.net\r\nSubject: Number {number}\r\nMessage-ID: <{number}@example.com>\r\n"
            f"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nHello {number}\r\n").encode()


def quick_checkpoints(hallmark, more=""):
    """A checkpoint each second, and keys of [ledger]."""
    hallmark.edit_config(lambda text: text + f"\n[ledger]\ncheckpoint_seconds = 1\n{more}")


class LedgerSearchTest(unittest.TestCase):
    def setUp(self):
        self.hallmark = self.enterContext(deployment.Deployment(start=False))
        self.authority = pki.Authority()
        self.hallmark.trust(self.authority.pem, "admin")
        quick_checkpoints(self.hallmark)
        self.hallmark.start()
        self.hallmark.add_domain("example.com")

    def ledger(self):
        return self.hallmark.folder / "state" / "ledger"

    def search(self, *arguments):
        """The records that a search finds, once the index has come as far as the ledger."""
        self.await_status(lambda status: status.indexed_records == status.records or None)
        return self.hallmark.dkimctl_json("ledger", "search", *arguments)["records"]

    def await_status(self, wanted):
        stub, deadline = self.hallmark.officer().ledger(), time.monotonic() + 60
        while time.monotonic() < deadline:
            # Each look is on the ledger itself, so the index is always a record or so behind.
            status = stub.GetLedgerStatus(ledger_pb2.GetLedgerStatusRequest())
            if wanted(status) is not None:
                return status
            time.sleep(0.2)
        self.fail(f"the ledger did not come so far: {status}")

    def offline(self, *arguments):
        return subprocess.run([VERIFY, *arguments], capture_output=True, text=True, timeout=120, check=False)

    def test_finds_by_everything_and_in_pages(self):
        for number in range(7):
            self.hallmark.sign(message(number), envelope_sender="bounces@example.com",
                               envelope_recipients=[f"bob{number % 2}@example.net"])
        by = self.search
        self.assertEqual(len(by("--message-id", "<3@example.com>")), 2)
        self.assertEqual(by("--message-id", "3@example.com", "--from", "other@example.com"), [])
        self.assertEqual(len(by("--recipient", "bob1@EXAMPLE.net")), 6)
        self.assertEqual(by("--recipient", "Bob1@example.net"), [])
        self.assertEqual(len(by("--partner", "own", "--domain", "example.com", "--from", "alice@example.com")), 14)
        self.assertEqual(by("--since", "1h", "--until", "30m"), [])
        acts = [entry["record"]["admin_act"]["method"] for entry in by("--kind", "admin_act", "--oldest-first")]
        self.assertEqual(acts.count("CreateDomain"), 2)  # that it was begun, and how it ended

        pages, token = [], []
        while True:
            page = self.hallmark.dkimctl_json("ledger", "search", "--kind", "signature", "--limit", "4", *token)
            pages.append([int(entry["sequence"]) for entry in page["records"]])
            if not page["next_page_token"]:
                break
            token = ["--page", page["next_page_token"]]
        found = [sequence for page in pages for sequence in page]
        self.assertEqual(len(found), 14)
        self.assertEqual(found, sorted(set(found), reverse=True))

        text = self.hallmark.dkimctl("ledger", "search", "--kind", "signature", "--output", "csv").stdout
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual([int(row["sequence"]) for row in rows], found)
        self.assertEqual({row["signing_domain"] for row in rows}, {"example.com"})
        table = self.hallmark.dkimctl("ledger", "search").stdout
        self.assertLessEqual(max(map(len, table.splitlines())), 80)
        shown = self.hallmark.dkimctl("ledger", "show", found[0]).stdout
        self.assertIn("6@example.com", shown)
        self.hallmark.dkimctl("ledger", "show", 10 ** 9, status=1)
        self.hallmark.dkimctl("ledger", "search", "--since", "yesterday", status=2)

    def prove(self, sequence, out):
        deadline = time.monotonic() + 30
        while True:
            run = self.hallmark.dkimctl("ledger", "prove", sequence, "--out", out, status=None)
            if run.returncode == 0 or time.monotonic() > deadline:
                self.assertEqual(run.returncode, 0, run.stderr)
                return
            self.assertIn("try again", run.stderr)
            time.sleep(0.3)

    def test_a_proof_holds_without_hallmark_and_only_as_it_is(self):
        for number in range(5):
            self.hallmark.sign(message(number))
        [last, *_] = [int(entry["sequence"]) for entry in self.search("--kind", "signature")]
        for sequence in (0, last):
            out = self.hallmark.folder / f"proof-{sequence}.json"
            self.prove(sequence, out)
            checked = self.offline("--proof", out, "--key", self.ledger() / "verifier-key")
            self.assertEqual(checked.returncode, 0, checked.stderr)
            self.assertIn(f"record {sequence} is in the ledger", checked.stdout)
            proof = json.loads(out.read_text())
            for change in ({"index": proof["index"] + 1}, {"hashes": proof["hashes"][1:]},
                           {"record": proof["record"][:-8] + "AAAAAAA="},
                           {"checkpoint": proof["checkpoint"].replace("\n" + str(proof["tree_size"]) + "\n", "\n1\n", 1)}):
                out.write_text(json.dumps({**proof, **change}))
                self.assertEqual(self.offline("--proof", out, "--key", self.ledger() / "verifier-key").returncode, 1,
                                 change.keys())

    def verify(self, *arguments):
        """What is wrong, as `dkimctl ledger verify` says it; "" when the ledger is whole."""
        run = self.hallmark.dkimctl("ledger", "verify", *arguments, status=None)
        self.assertIn(run.returncode, (0, 4), run.stderr)
        self.assertEqual(run.returncode == 0, run.stdout.startswith("whole: "), run.stdout)
        return "" if run.returncode == 0 else run.stdout

    def test_whatever_is_done_to_a_running_ledger_is_found_by_both_verifiers(self):
        for number in range(8):
            self.hallmark.sign(message(number))
        # Begun anew, so that what is tampered with is not being written.
        self.hallmark.stop()
        early = (self.ledger() / "checkpoints").read_bytes()
        self.hallmark.start()
        for number in range(8, 16):
            self.hallmark.sign(message(number))
        self.await_status(lambda status: status.checkpointed_records > early.count(b"\n\n") or None)
        [segment] = (self.ledger() / "segments").iterdir()
        self.assertEqual(self.verify(), "")
        part = self.hallmark.dkimctl("ledger", "verify", "--from", "3", "--to", "5").stdout
        self.assertRegex(part, r"whole: records 0 to \d+ of \d+ records")
        self.hallmark.dkimctl("ledger", "verify", "--from", 10 ** 9, status=1)
        self.hallmark.dkimctl("ledger", "verify", "--from", "5", "--to", "3", status=2)

        def tampered(change):
            """What both say while the octets of the segment are changed; then they are as before."""
            with open(segment, "r+b") as file:
                octets = file.read()
                changed = change(octets)
                file.seek(0)
                file.write(changed)
                file.truncate()
                file.flush()
                said = self.verify()
                alone = self.offline(self.ledger())
                # What the daemon wrote meanwhile stands behind.
                file.seek(0)
                file.write(octets)
            self.assertEqual(alone.returncode, 1, alone.stdout)
            self.assertNotEqual(said, "")
            return said

        chance = random.Random(3)
        for at in [9, 20, *(chance.randrange(8, segment.stat().st_size) for _ in range(8))]:
            bit = 1 << chance.randrange(8)
            tampered(lambda octets, at=at, bit=bit: octets[:at] + bytes([octets[at] ^ bit]) + octets[at + 1:])

        def payloads(octets):
            at = len(ledger_files.MAGIC)
            while at < len(octets):
                length = int.from_bytes(octets[at:at + 4], "little")
                yield octets[at + 8:at + 8 + length]
                at += 8 + length

        def rebuilt(change):
            def apply(octets):
                parts = list(payloads(octets))
                return ledger_files.MAGIC + b"".join(ledger_files.frame(part) for part in change(parts))
            return apply

        self.assertIn("changed, removed, put in or moved", tampered(rebuilt(lambda p: p[:5] + [p[6], p[5]] + p[7:])), "swapped")
        tampered(rebuilt(lambda p: p[:5] + p[6:]))
        tampered(rebuilt(lambda p: p[:-3]))
        tampered(lambda octets: octets[:-5])
        self.assertEqual(self.verify(), "")
        # An old checkpoint played again behind the newer ones; the daemon writes its next one, which is no shorter, over that.
        early = b"".join(part + b"\n\n" for part in early.split(b"\n\n")[:2])
        checkpoints = self.ledger() / "checkpoints"
        for _ in range(5):
            whole = checkpoints.read_bytes()
            checkpoints.write_bytes(whole + early)
            said = self.verify()
            if said:
                break
        self.assertIn("comes after one of", said)
        self.hallmark.stop()
        checkpoints.write_bytes(whole + early)
        self.assertEqual(self.offline(self.ledger()).returncode, 1)

    def test_a_ledger_that_was_put_back_is_found_by_who_kept_a_checkpoint(self):
        self.hallmark.stop()
        early = self.hallmark.folder / "early"
        shutil.copytree(self.ledger(), early)
        self.hallmark.start()
        self.hallmark.sign(message(1))
        kept = self.hallmark.folder / "kept"
        self.await_status(lambda status: status.checkpointed_records == status.records or None
                          if status.records > 8 else None)
        self.hallmark.dkimctl("ledger", "checkpoint", "--out", kept)
        self.assertEqual(self.verify("--checkpoint", kept), "")
        self.hallmark.stop()
        shutil.rmtree(self.ledger())
        shutil.copytree(early, self.ledger())
        self.hallmark.start()
        self.assertEqual(self.verify(), "")
        self.assertNotEqual(self.verify("--checkpoint", kept), "")
        self.assertEqual(self.offline(self.ledger(), "--checkpoint", kept).returncode, 1)

    def test_an_export_is_whole_though_signing_goes_on(self):
        for number in range(20):
            self.hallmark.sign(message(number))
        self.await_status(lambda status: status.checkpointed_records or None)
        stop = threading.Event()

        def load():
            stub, number = self.hallmark.signing(), 20
            while not stop.is_set():
                stub.Sign(signing_pb2.SignRequest(message=message(number)), timeout=30)
                number += 1

        thread = threading.Thread(target=load)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        copy = self.hallmark.folder / "copy"
        self.hallmark.dkimctl("ledger", "export", copy)
        stop.set()
        checked = self.offline(copy, "--key", self.ledger() / "verifier-key")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(sorted(path.name for path in copy.iterdir()), ["checkpoints", "segments", "verifier-key"])
        self.hallmark.dkimctl("ledger", "export", copy, status=1)

    def test_the_index_is_made_anew_while_it_runs_and_when_it_is_lost(self):
        for number in range(6):
            self.hallmark.sign(message(number))
        self.assertIn("indexed", self.hallmark.dkimctl("ledger", "rebuild-index").stdout)
        self.assertEqual(len(self.search("--kind", "signature")), 12)
        self.hallmark.stop()
        for path in self.ledger().glob("index.db*"):
            path.write_bytes(b"nonsense")
        shutil.rmtree(self.ledger() / "hashes")
        self.hallmark.start()
        self.assertEqual(len(self.search("--kind", "signature")), 12)
        status = self.hallmark.dkimctl("ledger", "status").stdout
        self.assertIn("under a checkpoint", status)

    def test_retention_is_changed_by_two_officers(self):
        self.assertIn("for ever", self.hallmark.dkimctl("ledger", "retention").stdout)
        self.hallmark.dkimctl("ledger", "retention", "--keep-days", "30", status=1)  # without --yes
        self.hallmark.dkimctl_with_approval("ledger", "retention", "--keep-days", "30", "--yes")
        self.assertIn("30 days", self.hallmark.dkimctl("ledger", "retention").stdout)
        self.hallmark.stop()
        outcomes = [record.admin_act.outcome for record in ledger_files.records(self.ledger())
                    if record.admin_act.method == "SetRetention"]
        self.assertEqual(outcomes, ["BEGUN", "APPROVAL_REQUIRED", "BEGUN", "OK"])
        self.hallmark.start()
        self.assertIn("set by an operator", self.hallmark.dkimctl("ledger", "retention").stdout)
        # To keep them longer is a change too, and so is what the configuration says already: it may say something else tomorrow.
        for change in (("--keep-days", "40"), ("--keep-days", "0"), ("--default",)):
            self.hallmark.dkimctl_with_approval("ledger", "retention", *change)
        self.assertIn("configuration", self.hallmark.dkimctl("ledger", "retention").stdout)
        # What changes nothing takes nobody.
        self.assertIn("configuration", self.hallmark.dkimctl("ledger", "retention", "--default").stdout)

    def test_a_clock_that_is_far_ahead_waits_for_two_officers(self):
        self.hallmark.dkimctl_with_approval("ledger", "retention", "--keep-days", "30", "--yes")
        self.hallmark.stop()
        (self.ledger() / "retention-time").write_text("1000000000\n")  # 2001: where it was looked at last
        self.hallmark.start()
        doubted = self.await_status(lambda status: status.retention_problem or None)
        self.assertIn("the last time that is certain is 2001-09-09", doubted.retention_problem)
        self.assertIn("the clock says", self.hallmark.dkimctl("ledger", "status").stdout)
        self.hallmark.dkimctl("ledger", "retention", "--keep-days", "30", status=1)  # without --yes
        self.hallmark.dkimctl("ledger", "retention", "--keep-days", "30", "--yes", status=5)
        self.assertIn("and says that the clock is right", " ".join(self.hallmark.dkimctl("approvals", "list").stdout.split()))
        self.hallmark.dkimctl_with_approval("ledger", "retention", "--keep-days", "30", "--yes")
        self.await_status(lambda status: not status.retention_problem or None)

    def test_a_clock_that_is_days_ahead_is_told_where_nothing_is_ever_deleted(self):
        """The rotation of keys waits for it."""
        self.hallmark.stop()
        (self.ledger() / "retention-time").write_text(f"{int(time.time()) - 3 * 86400}\n")
        self.hallmark.start()
        self.await_status(lambda status: "the clock says" in status.retention_problem or None)
        self.hallmark.dkimctl("ledger", "retention", "--keep-days", "0", status=1)  # without --yes
        self.hallmark.dkimctl_with_approval("ledger", "retention", "--keep-days", "0", "--yes")
        self.await_status(lambda status: not status.retention_problem or None)

    def test_who_is_no_operator_reads_nothing(self):
        """Though the listener takes the certificate."""
        certificate = self.authority.issue(dns=["nobody.example"])
        nobody = ledger_pb2_grpc.LedgerServiceStub(self.hallmark.channel(self.hallmark.admin_address, *certificate))
        for call, request in ((nobody.SearchRecords, ledger_pb2.SearchRecordsRequest()),
                              (nobody.GetRecord, ledger_pb2.GetRecordRequest()),
                              (nobody.GetLedgerStatus, ledger_pb2.GetLedgerStatusRequest()),
                              (lambda r: list(nobody.VerifyLedger(r)), ledger_pb2.VerifyLedgerRequest()),
                              (lambda r: list(nobody.ExportLedger(r)), ledger_pb2.ExportLedgerRequest()),
                              (lambda r: list(nobody.RebuildIndex(r)), ledger_pb2.RebuildIndexRequest())):
            error = self.hallmark.call_error(call, request)
            self.assertEqual((error.code(), deployment.error_reason(error)), (grpc.StatusCode.PERMISSION_DENIED, "CALLER_UNKNOWN"))


class QuotaTest(unittest.TestCase):
    def test_a_restart_gives_nobody_a_new_day(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.edit_policy(lambda text: text.replace("[[relay]]", "[partner.quota]\nmessages_per_day = 3\n\n[[relay]]", 1))
            hallmark.start()
            hallmark.add_domain("example.com")
            hallmark.sign(message(1), envelope_recipients=["a@example.net"])
            hallmark.sign(message(2))
            hallmark.stop()
            hallmark.start()
            hallmark.sign(message(3))
            refused = hallmark.call_error(hallmark.sign, message(4))
            self.assertEqual(deployment.error_reason(refused), "DAILY_VOLUME_EXCEEDED")
            hallmark.kill()
            hallmark.start()
            refused = hallmark.call_error(hallmark.sign, message(5))
            self.assertEqual(deployment.error_reason(refused), "DAILY_VOLUME_EXCEEDED")


class RetryTest(unittest.TestCase):
    def signatures(self, hallmark):
        return [record for record in ledger_files.records(hallmark.folder / "state" / "ledger") if record.HasField("signature")]

    def test_a_request_that_comes_again_gets_the_same_answer(self):
        with deployment.Deployment() as hallmark:
            hallmark.add_domain("example.com")
            first = hallmark.sign(message(1), request_id="one")
            fields = [one.header_field for one in first.signatures]
            again = hallmark.sign(message(1), request_id="one")
            self.assertEqual([one.header_field for one in again.signatures], fields)
            self.assertEqual((again.request_id, again.signing_domain), ("one", "example.com"))
            other = hallmark.call_error(hallmark.sign, message(2), request_id="one")
            self.assertEqual(deployment.error_reason(other), "REQUEST_ID_REUSED")
            hallmark.kill()
            hallmark.start()
            again = hallmark.sign(message(1), request_id="one")
            self.assertEqual([one.header_field for one in again.signatures], fields)
            other = hallmark.call_error(hallmark.sign, message(2), request_id="one")
            self.assertEqual(deployment.error_reason(other), "REQUEST_ID_REUSED")
            hallmark.sign(message(1))  # without an id it is another request
            hallmark.stop()
            self.assertEqual(len(self.signatures(hallmark)), 4)


class RecipientsTest(unittest.TestCase):
    """The three ways to keep them. Where they are not in clear, a search for one must not put it there."""
    RECIPIENTS = ["Bob@example.net", "eve@example.net"]

    def start(self, how):
        hallmark = self.enterContext(deployment.Deployment(start=False))
        quick_checkpoints(hallmark, f'recipients = "{how}"\n')
        hallmark.start()
        hallmark.add_domain("example.com")
        hallmark.sign(message(1), envelope_recipients=self.RECIPIENTS)
        hallmark.sign(message(2), envelope_recipients=["someone.else@example.net"])
        stub, deadline = hallmark.officer().ledger(), time.monotonic() + 60
        while len(hallmark.dkimctl_json("ledger", "search", "--kind", "signature")["records"]) < 4:
            self.assertLess(time.monotonic(), deadline, stub.GetLedgerStatus(ledger_pb2.GetLedgerStatusRequest()))
            time.sleep(0.1)
        return hallmark

    def kept(self, hallmark):
        """Of each signature: recipients, their hashes, their number; and the files that name any: the ledger's, and the log."""
        folder = hallmark.folder / "state" / "ledger"
        hallmark.stop()
        files = [path for path in folder.rglob("*") if path.is_file()] + [hallmark.log]
        named = [path.name for path in files if b"@example.net" in path.read_bytes().lower()]
        return [(list(record.signature.recipients), len(record.signature.recipient_hashes), record.signature.recipient_count)
                for record in ledger_files.records(folder) if record.HasField("signature")], named

    def test_in_clear_they_are_found_and_shown(self):
        hallmark = self.start("clear")
        for address, found in (("nobody@example.net", 0), ("eve@example.net", 2), ("Bob@EXAMPLE.net", 2), ("Bob@example.net", 2)):
            records = hallmark.dkimctl_json("ledger", "search", "--recipient", address)["records"]
            self.assertEqual([record["record"]["signature"]["message_id"] for record in records], found * ["<1@example.com>"], address)
        self.assertIn("Bob@example.net", hallmark.dkimctl("ledger", "show", records[0]["sequence"]).stdout)
        kept, named = self.kept(hallmark)
        self.assertEqual(kept, 2 * [(self.RECIPIENTS, 0, 2)] + 2 * [(["someone.else@example.net"], 0, 1)])
        self.assertTrue(any(name.endswith(".seg") for name in named), named)

    def test_hashed_they_are_found_and_named_nowhere(self):
        hallmark = self.start("hashed")
        for address, found in (("nobody@example.net", 0), ("eve@example.net", 2), ("Bob@EXAMPLE.net", 2)):
            records = hallmark.dkimctl_json("ledger", "search", "--domain", "example.com", "--recipient", address)["records"]
            self.assertEqual(len(records), found, address)
        self.assertEqual(self.kept(hallmark), (2 * [([], 2, 2)] + 2 * [([], 1, 1)], []))
        searches = [json.loads(record.admin_act.request) for record in ledger_files.records(hallmark.folder / "state" / "ledger")
                    if record.admin_act.method == "SearchRecords"]
        self.assertEqual([search for search in searches if "signing_domain" in search], 3 * [{"signing_domain": "example.com"}])

    def test_where_none_are_kept_there_are_none(self):
        hallmark = self.start("none")
        refused = hallmark.dkimctl("ledger", "search", "--recipient", "eve@example.net", status=1)
        self.assertIn("this ledger holds none", refused.stderr)
        self.assertEqual(self.kept(hallmark), (2 * [([], 0, 2)] + 2 * [([], 0, 1)], []))


class ProgressTest(unittest.TestCase):
    """What takes long says how far it has come."""
    RECORDS = 400_000

    def setUp(self):
        self.hallmark = hallmark = self.enterContext(deployment.Deployment(start=False))
        quick_checkpoints(hallmark, "segment_octets = 1048576\n")
        hallmark.start()
        hallmark.stop()
        # One of its own records, very often, in the segment that it goes on behind.
        folder = hallmark.folder / "state" / "ledger"
        [segment] = (folder / "segments").glob("*.seg")
        with open(segment, "ab") as file:
            file.write(self.RECORDS * ledger_files.frame(ledger_files.leaves(folder)[-1]))
        hallmark.start()
        hallmark.add_domain("example.com")
        many = [f"user{number}@example.net" for number in range(1000)]
        for number in range(25):  # two segments more
            hallmark.sign(message(number), envelope_recipients=many)
        self.stub = hallmark.officer().ledger()

    def check(self, steps, most):
        """(done, total) of each message: it grows, and never beyond."""
        done = [step for step, _ in steps]
        self.assertEqual(done, sorted(done))
        self.assertGreaterEqual(len(set(done)), most, steps[:20])
        for step, total in steps:
            self.assertLessEqual(step, total)
            self.assertGreaterEqual(total, self.RECORDS)

    def test_verifying_exporting_and_indexing_tell_how_far_they_are(self):
        *steps, last = list(self.stub.VerifyLedger(ledger_pb2.VerifyLedgerRequest()))
        self.assertEqual([one.WhichOneof("what") for one in steps], len(steps) * ["progress"])
        # The first step is told at once, the others ten times a second, and it may be quicker than that.
        self.check([(one.progress.done, one.progress.total) for one in steps], 1)
        self.assertLess(steps[0].progress.done, self.RECORDS)
        self.assertTrue(last.result.whole, last)
        self.assertGreater(last.result.records, self.RECORDS)

        parts = [(one.path, len(one.octets), one.progress) for one in self.stub.ExportLedger(ledger_pb2.ExportLedgerRequest())]
        self.check([(progress.done, progress.total) for _, _, progress in parts], 3)
        self.assertGreater(sum(octets for _, octets, _ in parts), 50 * self.RECORDS)

        steps = [(one.progress.done, one.progress.total) for one in self.stub.RebuildIndex(ledger_pb2.RebuildIndexRequest())]
        self.check(steps, 3)
        self.assertLess(steps[0][0], self.RECORDS)
        self.assertGreater(steps[-1][0], self.RECORDS)


class SinkTest(unittest.TestCase):
    def test_a_second_file_has_every_record(self):
        with deployment.Deployment(start=False) as hallmark:
            copy = hallmark.folder / "copy.jsonl"
            quick_checkpoints(hallmark, f'[ledger.sink]\nkind = "file"\npath = "{copy}"\nmode = "required"\n')
            hallmark.start()
            hallmark.add_domain("example.com")
            hallmark.sign(message(1))
            status = hallmark.dkimctl_json("ledger", "status")["sink"]
            self.assertEqual((status["required"], status["available"], status["dropped_records"]), (True, True, "0"))
            hallmark.stop()
            lines = [json.loads(line) for line in copy.read_text().splitlines()]
            kept = ledger_files.records(hallmark.folder / "state" / "ledger")
            self.assertEqual([int(line.get("sequence", 0)) for line in lines], list(range(len(kept))))
            self.assertEqual([line["signature"]["selector"] for line in lines if "signature" in line],
                             [record.signature.selector for record in kept if record.HasField("signature")])

    def test_without_a_best_effort_one_signing_goes_on(self):
        """And what it did not take is counted."""
        for mode in ("", 'mode = "best-effort"\n'):  # as shipped, and said
            with self.subTest(mode), deployment.Deployment(start=False) as hallmark:
                pipe = hallmark.folder / "pipe"  # which nobody has open to read
                os.mkfifo(pipe)
                quick_checkpoints(hallmark, f'[ledger.sink]\nkind = "file"\npath = "{pipe}"\n{mode}')
                hallmark.start()
                hallmark.add_domain("example.com")
                for number in range(3):
                    self.assertEqual(len(hallmark.sign(message(number)).signatures), 2)

                def sink():
                    return hallmark.dkimctl_json("ledger", "status")["sink"]
                self.wait_for(lambda: int(sink()["dropped_records"]) >= 6)
                self.assertEqual((sink()["required"], sink()["available"], sink()["written_records"]), (False, False, "0"))
                self.assertRegex(hallmark.dkimctl("ledger", "status").stdout, r"second sink: +NO, \d+ written, [1-9]\d* dropped")
                self.wait_for(hallmark.serving)
                hallmark.stop()
                kept = ledger_files.records(hallmark.folder / "state" / "ledger")
                self.assertEqual(sum(record.HasField("signature") for record in kept), 6)

    def test_a_required_one_that_is_down_is_told_and_comes_back_by_itself(self):
        with deployment.Deployment(start=False) as hallmark:
            pipe = hallmark.folder / "pipe"
            os.mkfifo(pipe)
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(lambda: os.close(reader))
            metrics_test.add_metrics(hallmark)
            quick_checkpoints(hallmark, f'[ledger.sink]\nkind = "file"\npath = "{pipe}"\nmode = "required"\ntimeout_ms = 500\n')
            hallmark.start()
            hallmark.add_domain("example.com")
            self.wait_for(hallmark.serving)
            large = message(1).replace(b"Message-ID: <", b"Message-ID: <" + 900 * b"m")
            code = None  # a pipe that nobody reads takes 64 kB
            for _ in range(1000):
                try:
                    hallmark.sign(large)
                except grpc.RpcError as error:
                    code = deployment.error_reason(error)
                    break
            self.assertEqual(code, "LEDGER_UNAVAILABLE")
            self.wait_for(lambda: not hallmark.serving())
            values = metrics_test.scrape(hallmark)
            self.assertEqual(values["hallmark_ledger_available"], 0)
            self.wait_for(lambda: metrics_test.scrape(hallmark)['hallmark_alerts_total{kind="LEDGER_UNAVAILABLE"}'] == 1)
            self.assertGreater(values["hallmark_ledger_sink_dropped_total"], 0)
            records = values["hallmark_ledger_records"]
            for _ in range(3):
                self.assertEqual(deployment.error_reason(hallmark.call_error(hallmark.sign, message(2))), "LEDGER_UNAVAILABLE")
            self.assertEqual(metrics_test.scrape(hallmark)["hallmark_ledger_records"], records, "written, and nobody was told")
            stop = threading.Event()
            self.addCleanup(stop.set)

            def read():
                while not stop.wait(0.05):
                    try:
                        os.read(reader, 1 << 20)
                    except BlockingIOError:
                        pass
            threading.Thread(target=read, daemon=True).start()
            self.wait_for(hallmark.serving)
            hallmark.sign(message(3))
            self.assertEqual(metrics_test.scrape(hallmark)["hallmark_ledger_available"], 1)

    def test_how_a_step_of_a_key_ended_waits_for_no_sink(self):
        """It is done, and on the ledger: the log must not say that it is not. That it is begun waits for a required sink."""
        with deployment.Deployment(start=False) as hallmark:
            pipe = hallmark.folder / "pipe"
            os.mkfifo(pipe)
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            quick_checkpoints(hallmark, f'[ledger.sink]\nkind = "file"\npath = "{pipe}"\nmode = "required"\ntimeout_ms = 500\n')
            hallmark.use_faulty_module("C_GenerateKeyPair * delay 5000\n")
            go_on, stop = threading.Event(), threading.Event()

            def steps(lines):
                """(selector, outcome) of each step that makes a pair."""
                acts = [json.loads(line).get("admin_act", {}) for line in lines if line.strip()]
                shown = [(json.loads(act["request"]), act["outcome"]) for act in acts if act.get("method") == "KeyStep"]
                return [(request["selector"], outcome) for request, outcome in shown if request["to"] == "GENERATED"]

            def read():
                text, late = b"", False
                while not stop.is_set():
                    try:
                        text += os.read(reader, 1 << 20)
                    except BlockingIOError:
                        pass
                    # While the second pair is being made the sink becomes late.
                    if not late and len(steps(text[:text.rfind(b"\n") + 1].splitlines())) == 3:
                        late = True
                        self.fill(pipe)
                        go_on.wait()
                    stop.wait(0.01)
            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            self.addCleanup(thread.join)
            self.addCleanup(stop.set)
            self.addCleanup(go_on.set)
            hallmark.start()
            hallmark.dkimctl("domain", "add", "example.com")
            hallmark.dkimctl("key", "rotate", "example.com", "--compromised", "--now")
            self.wait_for(lambda: "no answer within 500 ms" in hallmark.log_text())
            self.wait_for(lambda: not hallmark.serving())
            go_on.set()
            self.wait_for(hallmark.serving)
            self.wait_for(lambda: len(hallmark.dkimctl_json("key", "status", "example.com")["keys"]) == 2)
            hallmark.stop()
            kept = [json_format.MessageToJson(record, preserving_proto_field_name=True)
                    for record in ledger_files.records(hallmark.folder / "state" / "ledger")]
            made = steps(kept)
            self.assertEqual([outcome for _, outcome in made], ["BEGUN", "OK", "BEGUN", "OK"])
            self.assertEqual([selector for selector, _ in made[::2]], [selector for selector, _ in made[1::2]])
            self.assertNotIn("is GENERATED is not on the ledger", hallmark.log_text())

    @staticmethod
    def fill(pipe):
        """So that nothing more fits into it."""
        writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        for octets in (4096, 1):
            try:
                while True:
                    os.write(writer, octets * b"\n")
            except BlockingIOError:
                pass
        os.close(writer)

    def wait_for(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)


if __name__ == "__main__":
    unittest.main()
