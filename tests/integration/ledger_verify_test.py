"""tools/ledger-verify where retention deleted records, where the folder is written to meanwhile, and with a proof that was made up, with
ledgers that are made here, without a daemon."""

import base64
import errno
import hashlib
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys
import tempfile
import unittest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import deployment
import ledger_files
from waiting import wait_for
from hallmark.ledger.v1 import segment_pb2

VERIFY = pathlib.Path(__file__).resolve().parents[2] / "tools" / "ledger-verify"
ORIGIN = "hallmark/test"
WHOLE, NOT_WHOLE, WRONG_USAGE, NOT_COMPARED = 0, 1, 2, 3
SEGMENTS = ((0, 37), (37, 127), (127, 153))
RECORDS = [f"record {number}".encode() for number in range(153)]


def cover(first, count):
    """The hashes of the perfect subtrees of RECORDS[first:first + count], each as large as the whole tree allows."""
    hashes = []
    while count:
        size = 1 << count.bit_length() - 1
        if first:
            size = min(size, first & -first)
        level = [hashlib.sha256(b"\0" + record).digest() for record in RECORDS[first:first + size]]
        while len(level) > 1:
            level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2])]
        hashes += level
        first, count = first + size, count - size
    return hashes


class LedgerVerifyTest(unittest.TestCase):
    def setUp(self):
        self.key = Ed25519PrivateKey.generate()
        raw = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.key_id = hashlib.sha256(ORIGIN.encode() + b"\n\1" + raw).digest()[:4]
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.ledger = pathlib.Path(folder.name)
        (self.ledger / "segments").mkdir()
        (self.ledger / "verifier-key").write_text(f"{ORIGIN}+{self.key_id.hex()}+{base64.b64encode(bytes([1]) + raw).decode()}\n")
        for first, end in SEGMENTS:
            self.path(first).write_bytes(self.segment(first, end))
        self.kept = self.ledger / "kept"
        (self.ledger / "checkpoints").write_text("".join(self.note(size) + "\n" for size in (20, 37, 100, 127, 150)))

    def segment(self, first, end):
        return ledger_files.MAGIC + b"".join(map(ledger_files.frame, [self.header(first).SerializeToString(), *RECORDS[first:end]]))

    def path(self, first, suffix="seg"):
        return self.ledger / "segments" / f"{first:020}.{suffix}"

    def header(self, first):
        return segment_pb2.SegmentHeader(first=first, frontier=cover(0, first), created_us=1)

    def note(self, size, root=None, key_id=None, key=None):
        root = root or ledger_files.roots(RECORDS, [size])[size]
        body = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = base64.b64encode((key_id or self.key_id) + (key or self.key).sign(body.encode())).decode()
        return f"{body}\n\u2014 {ORIGIN} {signature}\n"

    def delete(self, first, end, newest=150):
        """What retention keeps of a segment."""
        pruned = segment_pb2.PrunedSegment(header=self.header(first), count=end - first, nodes=cover(first, end - first),
                                           checkpoint=self.note(newest))
        self.path(first, "pruned").write_bytes(b"HMPRUNE1" + ledger_files.frame(pruned.SerializeToString()))
        self.path(first).unlink()

    def verify(self, *kept, status):
        """What is said where it is not whole."""
        self.kept.write_text("".join(note + "\n" for note in kept))
        run = subprocess.run([VERIFY, self.ledger, *(["--checkpoint", self.kept] if kept else [])], capture_output=True, text=True,
                             timeout=120, check=False)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run.stderr

    def offline(self, *arguments, status):
        """What is said where it is whole, or what is wrong."""
        run = subprocess.run([VERIFY, *arguments], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run.stdout or run.stderr

    def test_a_checkpoint_within_deleted_records_is_not_taken_for_one_that_was_compared(self):
        self.verify(self.note(20), self.note(100), status=WHOLE)
        self.delete(*SEGMENTS[0])
        self.delete(*SEGMENTS[1])
        self.verify(status=WHOLE)
        for size in (20, 100):
            said = self.verify(self.note(37), self.note(size), status=NOT_COMPARED)
            self.assertIn(f"checkpoint of {size} records that was kept cannot be compared", said)
            self.assertIn("of records 0 to 126 only hashes are left", said)
        # Where a segment or one of the hashes that were kept of it ends, there is a tree.
        self.verify(self.note(37), self.note(96), self.note(127), self.note(150), status=WHOLE)
        self.assertIn("is not of these records", self.verify(self.note(37, bytes(32)), status=NOT_WHOLE))
        # What is wrong is said before what is not known.
        self.assertIn("is not of these records", self.verify(self.note(20), self.note(150, bytes(32)), status=NOT_WHOLE))
        self.assertIn("cut off or put back", self.verify(self.note(20), self.note(1000, bytes(32)), status=NOT_WHOLE))

    def test_what_was_kept_of_two_keys_may_be_in_any_order(self):
        successor = Ed25519PrivateKey.generate()
        raw = successor.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        key_id = hashlib.sha256(ORIGIN.encode() + b"\n\1" + raw).digest()[:4]
        with open(self.ledger / "verifier-key", "a", encoding="utf-8") as keys:
            keys.write(f"{ORIGIN}+{key_id.hex()}+{base64.b64encode(bytes([1]) + raw).decode()}\n")
        newest = self.note(153, key_id=key_id, key=successor)
        with open(self.ledger / "checkpoints", "a", encoding="utf-8") as checkpoints:
            checkpoints.write(newest + "\n")
        self.verify(newest, self.note(150), self.note(20), status=WHOLE)
        self.verify(self.note(20), self.note(150), newest, status=WHOLE)
        self.assertIn("is not of these records", self.verify(newest, self.note(20, bytes(32)), status=NOT_WHOLE))
        # In the ledger's own file the one that was replaced signs nothing more.
        with open(self.ledger / "checkpoints", "a", encoding="utf-8") as checkpoints:
            checkpoints.write(self.note(153) + "\n")
        self.assertIn("with a key that was replaced", self.verify(status=NOT_WHOLE))

    def test_a_file_without_a_checkpoint_is_not_taken_for_one_that_was_compared(self):
        for octets in ("", "\n\n"):
            self.kept.write_text(octets)
            said = self.offline(self.ledger, "--checkpoint", self.kept, status=WRONG_USAGE)
            self.assertIn(f"there is no checkpoint in {self.kept}", said)

    def test_a_deleted_segment_behind_one_that_is_there_was_not_deleted_by_retention(self):
        oldest = self.path(0).read_bytes()
        self.delete(*SEGMENTS[0])
        self.assertIn("of records 0 to 36 only hashes are left", self.offline(self.ledger, status=WHOLE))
        self.delete(*SEGMENTS[1])
        self.assertIn("of records 0 to 126 only hashes are left", self.offline(self.ledger, status=WHOLE))
        self.path(0).write_bytes(oldest)
        says = f"{self.path(37, 'pruned').name}: records 37 to 126 are deleted, but older ones are there"
        self.assertIn(says, self.offline(self.ledger, status=NOT_WHOLE))
        self.path(0, "pruned").unlink()
        self.assertIn(says, self.offline(self.ledger, status=NOT_WHOLE))

    def test_checkpoints_are_read_one_after_the_other(self):
        checkpoints = self.ledger / "checkpoints"
        notes = [self.note(size) for size in range(1, 151)]
        checkpoints.write_text("".join(note + "\n" for note in notes))
        self.verify(status=WHOLE)
        for wrong, says in ((notes[:90] + notes[40:], "comes after one of"), (notes + [self.note(154, bytes(32))], "cut off or put back"),
                            (notes[:140] + [self.note(141, bytes(32))] + notes[141:], "is not of these records"),
                            (notes[:9] + [notes[9].replace("A", "B")] + notes[10:], "checkpoint 10"),
                            (notes[:9] + ["nonsense\n"] + notes[9:], "checkpoint 10")):
            checkpoints.write_text("".join(note + "\n" for note in wrong))
            self.assertIn(says, self.verify(status=NOT_WHOLE))

    def test_what_comes_while_a_folder_is_read_is_no_damage(self):
        self.path(127).write_bytes(self.segment(127, 140))
        (self.ledger / "checkpoints").write_text("".join(self.note(size) + "\n" for size in (20, 37, 100, 127)))
        # The verifier has seen what there is when it opens the first segment, and waits for its octets.
        first = self.path(0).read_bytes()
        self.path(0).unlink()
        os.mkfifo(self.path(0))
        process = subprocess.Popen([VERIFY, self.ledger], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=deployment.die_with_parent)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        with open(wait_for(lambda: self.opened(self.path(0)), "it opens no segment"), "wb") as pipe:
            self.path(140).write_bytes(self.segment(140, 153))
            with open(self.ledger / "checkpoints", "a", encoding="utf-8") as checkpoints:
                checkpoints.write(self.note(153) + "\n")
            for segment in SEGMENTS[:2]:
                self.delete(*segment, newest=153)
            pipe.write(first)
        said, wrong = process.communicate(timeout=120)
        self.assertEqual((process.returncode, wrong), (WHOLE, ""))
        self.assertIn("whole: 140 records, 127 of them under a signed checkpoint", said)
        self.assertIn("of records 0 to 126 only hashes are left", said)
        self.assertIn("whole: 153 records, 153 of them", self.offline(self.ledger, status=WHOLE))

    @staticmethod
    def opened(pipe):
        """The pipe's end to write to, as soon as it is being read."""
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise

    def test_only_a_last_record_that_no_checkpoint_is_of_may_be_written_half(self):
        whole = self.path(127).read_bytes()
        last, covered = len(ledger_files.frame(RECORDS[152])), len(self.segment(127, 150))
        for cut in (1, last - 8, last - 1):
            self.path(127).write_bytes(whole[:-cut])
            said = self.offline(self.ledger, status=WHOLE)
            self.assertIn("whole: 152 records, 150 of them", said)
            self.assertIn(f"not counted: {self.path(127).name}, offset {len(whole) - last}: the file ends within a frame", said)
        self.path(127).write_bytes(whole[:covered - 1])
        said = self.offline(self.ledger, status=NOT_WHOLE)
        self.assertIn("149 records, but a checkpoint is of 150: it was cut off or put back", said)
        self.assertIn("ends within a frame", said)
        self.path(127).write_bytes(whole[:-1])
        self.assertIn("cut off or put back", self.verify(self.note(153), status=NOT_WHOLE))
        # A record that is there and is another one is no half one.
        self.path(127).write_bytes(whole[:-1] + b"!")
        self.assertIn("the CRC is wrong", self.offline(self.ledger, status=NOT_WHOLE))

    def test_a_last_checkpoint_that_is_not_whole_is_not_counted(self):
        checkpoints = self.ledger / "checkpoints"
        whole = checkpoints.read_bytes()
        last = len(self.note(150).encode()) + 1
        offset = len(whole) - last
        says = f"not counted: checkpoints, offset {offset}: the last checkpoint is not whole"
        program = runpy.run_path(str(VERIFY))

        def check(octets):
            checkpoints.write_bytes(octets)
            keys = [program["parse_key"]((self.ledger / "verifier-key").read_text())]
            return program["Ledger"](self.ledger, keys, []).check()
        for cut in range(1, last):
            said = check(whole[:-cut])
            self.assertIn("whole: 153 records, 127 of them", said)
            self.assertIn(says, said)
        # After a power cut some of its blocks are there, in any order.
        for first, end in [*((0, end) for end in range(1, last + 1, 7)), *((first, last) for first in range(0, last, 7)), (50, 120)]:
            self.assertIn(says, check(whole[:offset + first] + bytes(end - first) + whole[offset + end:]))
        self.assertIn(says, self.offline(self.ledger, status=WHOLE))
        checkpoints.write_bytes(whole[:offset])
        self.assertNotIn("not counted", self.offline(self.ledger, status=WHOLE))
        checkpoints.write_bytes(whole[offset:-1])
        said = self.offline(self.ledger, status=WHOLE)
        self.assertIn("whole: 153 records, 0 of them", said)
        self.assertIn("not counted: checkpoints, offset 0", said)
        # Only the last can be so, and only in the folder's own file.
        checkpoints.write_bytes(whole[:offset - 40] + bytes(20) + whole[offset - 20:])
        self.assertIn("checkpoint 4", self.offline(self.ledger, status=NOT_WHOLE))
        checkpoints.write_bytes(whole[:offset - 40] + whole[offset:])
        self.offline(self.ledger, status=NOT_WHOLE)
        checkpoints.write_bytes(whole)
        self.verify(self.note(150)[:-20], status=NOT_WHOLE)
        self.verify(self.note(127), self.note(150).replace("150", "1\0\x30"), status=NOT_WHOLE)

    def test_a_hole_at_the_end_of_the_records_is_told_from_other_damage(self):
        whole = self.path(127).read_bytes()
        hint = "torn by a power cut: let signerd start once"
        two = len(ledger_files.frame(RECORDS[151]) + ledger_files.frame(RECORDS[152]))
        longer = whole + ledger_files.frame(2000 * b"x")
        for torn, offset in ((whole[:-two] + bytes(two), len(whole) - two),
                             (longer[:1024] + bytes(512) + longer[1536:], len(whole))):
            self.path(127).write_bytes(torn)
            said = self.offline(self.ledger, status=NOT_WHOLE)
            self.assertIn(f"{self.path(127).name}, offset {offset}: ", said)
            self.assertIn(hint, said)
        self.path(127).write_bytes(whole[:-1] + b"!")
        self.assertNotIn(hint, self.offline(self.ledger, status=NOT_WHOLE))

    def test_a_segment_that_is_being_begun_is_the_end(self):
        begun = self.segment(153, 153)
        for octets in (0, 5, 8, 12, len(begun) - 1):
            self.path(153).write_bytes(begun[:octets])
            said = self.offline(self.ledger, status=WHOLE)
            self.assertIn("whole: 153 records, 150 of them", said)
            self.assertIn(f"not counted: {self.path(153).name}", said)
        self.path(153).write_bytes(begun)
        self.assertNotIn("not counted", self.offline(self.ledger, status=WHOLE))
        self.path(153).write_bytes(b"HMPRUNE1")
        self.assertIn("does not begin as a segment does", self.offline(self.ledger, status=NOT_WHOLE))
        # Behind it there is nothing that was begun later.
        self.path(153).unlink()
        for octets in (0, 12, 100):
            self.path(37).write_bytes(self.segment(37, 127)[:octets])
            self.assertIn(f"{self.path(37).name}", self.offline(self.ledger, status=NOT_WHOLE))

    def test_it_is_short_enough_to_be_read_before_it_is_believed(self):
        lines = VERIFY.read_text().splitlines()
        self.assertLessEqual(len(lines), 300)
        self.assertLess(max(map(len, lines)), 145)
        modules = set(re.findall(r"^(?:import|from) (\w+)", VERIFY.read_text(), re.MULTILINE))
        self.assertLessEqual(modules - set(sys.stdlib_module_names), {"cryptography"})

    def test_what_is_kept_of_deleted_records_must_be_all_that_the_tree_needs(self):
        self.delete(*SEGMENTS[0])
        self.delete(*SEGMENTS[1])
        self.verify(status=WHOLE)
        path = self.path(37, "pruned")
        whole = segment_pb2.PrunedSegment.FromString(path.read_bytes()[16:])
        for change, says in ((lambda one: one.nodes.pop(), "has not the hashes of its records"),
                             (lambda one: one.nodes.append(bytes(32)), "has not the hashes of its records"),
                             (lambda one: one.nodes.__setitem__(0, b"short"), "has not the hashes of its records"),
                             (lambda one: one.nodes.__setitem__(1, bytes(32)), "is not of these records"),
                             (lambda one: setattr(one, "count", one.count + 1), "has not the hashes of its records"),
                             (lambda one: setattr(one, "count", 0), "has not the hashes of its records"),
                             (lambda one: setattr(one, "count", 1 << 63), "was deleted before a checkpoint was of its records"),
                             (lambda one: setattr(one, "checkpoint", self.note(100)), "was deleted before a checkpoint"),
                             (lambda one: setattr(one, "checkpoint", ""), "was deleted before a checkpoint"),
                             (lambda one: setattr(one.header, "first", 38), "does not begin with record 37"),
                             (lambda one: one.header.frontier.pop(), "was begun behind other records")):
            changed = segment_pb2.PrunedSegment()
            changed.CopyFrom(whole)
            change(changed)
            path.write_bytes(b"HMPRUNE1" + ledger_files.frame(changed.SerializeToString()))
            self.assertIn(says, self.verify(status=NOT_WHOLE))
        path.write_bytes(b"HMPRUNE1" + 2 * ledger_files.frame(whole.SerializeToString()))
        self.verify(status=NOT_WHOLE)

    def test_every_record_of_trees_of_every_shape_is_proved_and_no_other(self):
        key = self.ledger / "verifier-key"
        proof = self.ledger / "proof.json"
        for size, index in ((1, 0), (2, 1), (5, 4), (7, 3), (8, 0), (100, 99), (153, 64), (153, 152)):
            # The siblings from the record up, as RFC 6962 section 2.1.1 has them.
            hashes, first, end = [], 0, size
            while end - first > 1:
                middle = first + (1 << (end - first - 1).bit_length() - 1)
                other = RECORDS[middle:end] if index < middle else RECORDS[first:middle]
                hashes.insert(0, ledger_files.roots(other, [len(other)])[len(other)])
                first, end = (first, middle) if index < middle else (middle, end)
            good = {"index": index, "tree_size": size, "record": base64.b64encode(RECORDS[index]).decode(),
                    "hashes": [base64.b64encode(one).decode() for one in hashes], "checkpoint": self.note(size)}
            bad = [{"record": base64.b64encode(b"another").decode()}, {"index": size}, {"index": -1}, {"tree_size": size + 1},
                   {"hashes": good["hashes"] + good["hashes"][:1] + [base64.b64encode(bytes(32)).decode()]}, {"tree_size": float(size)},
                   *([{"hashes": good["hashes"][:-1]}, {"index": (index + 1) % size}] if size > 1 else [])]
            proof.write_text(json.dumps(good))
            self.assertIn(f"proved: record {index} is in the ledger of {size}", self.offline("--proof", proof, "--key", key, status=WHOLE))
            for change in bad:
                proof.write_text(json.dumps({**good, **change}))
                with self.subTest(size=size, index=index, change=change):
                    run = subprocess.run([VERIFY, "--proof", proof, "--key", key], capture_output=True, text=True, timeout=120,
                                         check=False)
                    proved = change == {"tree_size": 1.0}  # the same number
                    self.assertEqual((run.returncode, "Traceback" in run.stderr), (WHOLE if proved else NOT_WHOLE, False), run.stderr)

    def test_a_proof_is_not_believed_by_the_key_in_it(self):
        theirs = Ed25519PrivateKey.generate()
        raw = theirs.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        key_id = hashlib.sha256(ORIGIN.encode() + b"\n\1" + raw).digest()[:4]
        verifier_key = f"{ORIGIN}+{key_id.hex()}+{base64.b64encode(bytes([1]) + raw).decode()}\n"
        record = b"never written"
        proof = self.ledger / "proof.json"
        made_up = self.note(1, hashlib.sha256(b"\0" + record).digest(), key_id, theirs)
        proof.write_text(json.dumps({"index": 0, "tree_size": 1, "record": base64.b64encode(record).decode(), "hashes": [],
                                     "checkpoint": made_up, "verifier_key": verifier_key}))
        self.assertIn("--proof takes --key", self.offline("--proof", proof, status=WRONG_USAGE))
        self.assertIn("is not signed by", self.offline("--proof", proof, "--key", self.ledger / "verifier-key", status=NOT_WHOLE))
        theirs_given = self.ledger / "theirs"
        theirs_given.write_text(verifier_key)
        self.assertIn("proved: record 0", self.offline("--proof", proof, "--key", theirs_given, status=WHOLE))


if __name__ == "__main__":
    unittest.main()
