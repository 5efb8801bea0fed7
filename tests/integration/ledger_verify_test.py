"""tools/ledger-verify where retention deleted records, with ledgers that are made here, without a daemon."""

import base64
import hashlib
import pathlib
import subprocess
import tempfile
import unittest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import ledger_files
from hallmark.ledger.v1 import segment_pb2

VERIFY = pathlib.Path(__file__).resolve().parents[2] / "tools" / "ledger-verify"
ORIGIN = "hallmark/test"
WHOLE, NOT_WHOLE, NOT_COMPARED = 0, 1, 3
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
            self.path(first).write_bytes(ledger_files.MAGIC + ledger_files.frame(self.header(first).SerializeToString())
                                         + b"".join(ledger_files.frame(record) for record in RECORDS[first:end]))
        self.kept = self.ledger / "kept"
        (self.ledger / "checkpoints").write_text("".join(self.note(size) + "\n" for size in (20, 37, 100, 127, 150)))

    def path(self, first, suffix="seg"):
        return self.ledger / "segments" / f"{first:020}.{suffix}"

    def header(self, first):
        return segment_pb2.SegmentHeader(first=first, frontier=cover(0, first), created_us=1)

    def note(self, size, root=None):
        root = root or ledger_files.roots(RECORDS, [size])[size]
        body = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = base64.b64encode(self.key_id + self.key.sign(body.encode())).decode()
        return f"{body}\n\u2014 {ORIGIN} {signature}\n"

    def delete(self, first, end):
        """What retention keeps of a segment."""
        pruned = segment_pb2.PrunedSegment(header=self.header(first), count=end - first, nodes=cover(first, end - first),
                                           checkpoint=self.note(150))
        self.path(first, "pruned").write_bytes(b"HMPRUNE1" + ledger_files.frame(pruned.SerializeToString()))
        self.path(first).unlink()

    def verify(self, *kept, status):
        """What is said where it is not whole."""
        self.kept.write_text("".join(note + "\n" for note in kept))
        run = subprocess.run([VERIFY, self.ledger, "--checkpoint", self.kept], capture_output=True, text=True, timeout=120,
                             check=False)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run.stderr

    def test_a_checkpoint_within_deleted_records_is_not_taken_for_one_that_was_compared(self):
        self.verify(self.note(20), self.note(100), status=WHOLE)
        self.delete(*SEGMENTS[0])
        self.delete(*SEGMENTS[1])
        self.verify(status=WHOLE)
        for size in (20, 100):
            self.assertIn(f"checkpoint of {size} records that was kept cannot be compared",
                          self.verify(self.note(37), self.note(size), status=NOT_COMPARED))
        # Where a segment or one of the hashes that were kept of it ends, there is a tree.
        self.verify(self.note(37), self.note(96), self.note(127), self.note(150), status=WHOLE)
        self.assertIn("is not of these records", self.verify(self.note(37, bytes(32)), status=NOT_WHOLE))
        # What is wrong is said before what is not known.
        self.assertIn("is not of these records", self.verify(self.note(20), self.note(150, bytes(32)), status=NOT_WHOLE))
        self.assertIn("cut off or put back", self.verify(self.note(20), self.note(1000, bytes(32)), status=NOT_WHOLE))

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


if __name__ == "__main__":
    unittest.main()
