"""What the soak judges by can fail, and says why. (The soak itself: tools/check --soak.)"""

import dataclasses
import types
import unittest

import accounts
import figures

TOLD = ["run-0 2", "run-1 2", "run-2 UNAVAILABLE TOKEN_DOWN", "run-3 DEADLINE_EXCEEDED ", "run-5 2"]
KEPT = ["run-0", "run-1", "run-5"] * 2
FAULT = types.SimpleNamespace(name="a-fault", seen=("INTERNAL SIGNATURE_INVALID",), well=10)
PROCESS = figures.Process(50, 20, 30, 6)


class AccountsTest(unittest.TestCase):
    def judge(self, told, kept):
        books = accounts.Accounts()
        books.add(told)
        for request_id in kept:
            books.count(request_id)
        return books.judge()

    def test_what_agrees(self):
        self.assertEqual(self.judge(TOLD, KEPT), [])
        self.assertEqual(self.judge(TOLD, KEPT + ["run-3", "run-3"]), [])  # signed, and nobody heard of it

    def test_counts(self):
        books = accounts.Accounts()
        books.add(TOLD)
        self.assertEqual((books.messages, books.acknowledged, books.no_answer), (5, 3, 1))

    def test_one_record_too_few_or_too_many(self):
        for kept, said in ((KEPT[1:], "1 messages of the load were given signatures that have no record"),
                           (KEPT + ["run-1"], "1 messages of the load have more records"),
                           (KEPT + ["run-2"], "1 messages of the load were refused with a reason"),
                           (KEPT + ["run-3"], "1 messages of the load that were not answered"),
                           (KEPT + ["run-4"] * 3, "1 messages of the load have more records"),
                           (KEPT + ["run-6"], "1 request_ids are on the ledger that nobody sent"),
                           (KEPT + ["other-0"], "1 request_ids are on the ledger that nobody sent")):
            with self.subTest(said):
                problems = self.judge(TOLD, kept)
                self.assertEqual(len(problems), 1, problems)
                self.assertTrue(problems[0].startswith(said), problems)

    def test_an_answer_with_code_ok_that_is_no_good_is_no_refusal(self):
        self.assertEqual(self.judge(TOLD + ["run-6 OK NO_SIGNATURE"], KEPT), [])

    def test_nothing_signed(self):
        self.assertEqual(self.judge([], []), ["no message of the load was signed"])

    def test_a_message_that_ends_twice(self):
        with self.assertRaises(AssertionError):
            self.judge(["run-0 2", "run-0 2"], [])


class FiguresTest(unittest.TestCase):
    def minute(self, **more):
        return figures.Minute(**{"number": 1, "signed": 1000, "refused": {}, "unsent": 0, "p50_ms": 1, "p99_ms": 5, "max_ms": 9, "signerd": PROCESS,
                                 "tokend": PROCESS, "fault": "a-fault"} | more)

    def problems(self, **more):
        return figures.judge_minute(self.minute(**more), 55, FAULT)

    def test_a_minute_as_it_may_be(self):
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.problems(refused={"UNAVAILABLE TOKEN_DOWN": 50, "RESOURCE_EXHAUSTED OVERLOADED": 50,
                                                "INTERNAL SIGNATURE_INVALID": 50}), [])

    def test_what_no_minute_may_show(self):
        for seen in ("OK NO_SIGNATURE", "OK ANSWER_MALFORMED", "INTERNAL", "PERMISSION_DENIED RELAY_UNKNOWN"):
            self.assertIn(f"the load saw {seen}, 1 times", " ".join(self.problems(refused={seen: 1})))

    def test_too_little_signed(self):
        # 10 s of 55 belong to the fault; of the others' load four fifths are signed.
        self.assertEqual(self.problems(signed=660, refused={"UNAVAILABLE TOKEN_DOWN": 300}, unsent=40), [])
        self.assertIn("650 of 1000 were signed", self.problems(signed=650, refused={"UNAVAILABLE TOKEN_DOWN": 300}, unsent=50)[0])
        self.assertEqual(figures.judge_share([self.minute(unsent=100)] * 3), [])
        self.assertEqual(figures.judge_share([self.minute(unsent=120)] * 3), ["3000 of 3360 were signed"])

    def test_growth(self):
        self.assertEqual(figures.judge([self.minute()] * 8), [])
        for name in ("signerd", "tokend"):
            for field, more in (("mib", 30), ("files", 9), ("threads", 3), ("sessions", 9)):
                grown = dataclasses.replace(PROCESS, **{field: getattr(PROCESS, field) + more})
                with self.subTest(name, field=field):
                    problems = figures.judge([self.minute()] * 6 + [self.minute(**{name: grown})] * 2)
                    self.assertEqual(len(problems), 1, problems)
                    self.assertIn(f"{name}: {field} grew", problems[0])


if __name__ == "__main__":
    unittest.main()
