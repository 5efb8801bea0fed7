"""What the load was told of each message, held against what the ledger has of it, both ways."""

import collections

KEYS = 2  # of each domain
NOTHING, NO_ANSWER, REFUSED = 0, 254, 255  # beside these: so many signatures


class Accounts:
    """Of all runs of dkimload that kept their outcomes (--keep). A request_id is RUN-NUMBER."""

    def __init__(self):
        self._told, self._kept = {}, {}  # run -> of each number: what the load was told; how many records there are
        self._strange = collections.Counter()  # request_ids on the ledger that no run has
        self.messages = self.acknowledged = self.no_answer = 0

    def add(self, outcomes):
        """The lines of a run's file."""
        run, told = None, bytearray()
        for line in outcomes:
            request_id, *words = line.split()
            run, number = _split(request_id)
            told.extend(bytes(max(0, number + 1 - len(told))))
            if told[number] != NOTHING:
                raise AssertionError(f"{request_id} ended twice")
            told[number] = _outcome(words)
            self.messages += 1
        self.acknowledged += sum(0 < one < NO_ANSWER for one in told)
        self.no_answer += told.count(NO_ANSWER)
        if run is not None:
            self._told[run], self._kept[run] = told, bytearray(len(told))

    def count(self, request_id):
        """A record of the ledger."""
        run, number = _split(request_id)
        kept = self._kept.get(run, b"")
        if number >= len(kept):
            self._strange[request_id] += 1
        elif kept[number] < 255:
            kept[number] += 1

    def judge(self):
        """Sentences about what does not agree; none where all of it does."""
        lost = more = refused = partly = signatures = 0
        for run, told in self._told.items():
            for one, kept in zip(told, self._kept[run]):
                if one == REFUSED:
                    refused += kept > 0
                elif one == NO_ANSWER:
                    # It may have been signed. Then it was signed as the others were.
                    partly += kept not in (0, KEYS)
                else:
                    lost += kept < one
                    more += kept > one
                    signatures += one
        problems = [f"{count} {what}" for count, what in (
            (lost, "messages of the load were given signatures that have no record"),
            (more, "messages of the load have more records than they were given signatures"),
            (refused, "messages of the load were refused with a reason, and have a record"),
            (partly, "messages of the load that were not answered have records of some signatures, or more than of each"),
            (len(self._strange), "request_ids are on the ledger that nobody sent")) if count]
        if not signatures:
            problems.append("no message of the load was signed")
        return problems


def _split(request_id):
    run, _, number = request_id.rpartition("-")
    return run, int(number) if number.isdigit() else 0


def _outcome(words):
    """"2" is a number of signatures, "UNAVAILABLE TOKEN_DOWN" a refusal; without a reason of signerd's it is known to nobody."""
    if words[0].isdigit():
        return int(words[0])
    return REFUSED if len(words) > 1 and words[0] != "OK" else NO_ANSWER
