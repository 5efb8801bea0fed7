"""The table of what verifiers wrongly refuse (known_refusals.toml), and the properties of messages that it names."""

import dataclasses
import pathlib
import re
import tomllib

import common


def _signed_fields(message, domain, selector):
    """The raw fields that the signature of this domain and selector covers."""
    fields = common.split_header(message)[0]
    names = set()
    for field in fields:
        if common.is_signature(field):
            identity = common.tags(field)
            if (identity["domain"], identity["selector"]) == (domain, selector):
                listed = re.search(rb"[;:\s]h=([^;]*)", field).group(1)
                names = {name.strip().lower() for name in listed.split(b":")}
    return [field for field in fields if field.split(b":", 1)[0].strip().lower() in names]


def _nbsp_in_signed_field(message, finding):
    return any(b"\xa0" in field for field in _signed_fields(message, finding["domain"], finding["selector"]))


def _signed_field_over_64k(message, finding):
    return any(len(field) > 65536 for field in _signed_fields(message, finding["domain"], finding["selector"]))


def _space_before_colon(message, _):
    return any(re.match(rb"[!-9;-~]+[ \t]+:", field) for field in common.split_header(message)[0])


def _no_blank_line(message, _):
    return common.split_header(message)[1] == b""


PROPERTIES = {
    "nbsp-in-signed-field": _nbsp_in_signed_field,
    "no-blank-line": _no_blank_line,
    "signed-field-over-64k": _signed_field_over_64k,
    "space-before-colon": _space_before_colon,
}


@dataclasses.dataclass
class Row:
    """One line of the table, with what came of it in this run."""
    verifier: str
    reason: str
    files: tuple = ()
    when: str = ""
    detail: str = ""
    pairs: tuple = ()
    met: int = 0      # findings whose message and pair it speaks of
    refused: int = 0  # of these, how many were refused

    def concerns(self, finding, path, pair, message):
        """Whether the row speaks of this message and pair, whatever the verdict was."""
        return (finding["verifier"] == self.verifier and (not self.pairs or pair in self.pairs)
                and (not self.files or any(path.endswith(name) for name in self.files))
                and (not self.when or PROPERTIES[self.when](message, finding)))

    def explains(self, finding):
        return not self.detail or re.search(self.detail, finding["detail"]) is not None


class Table:
    def __init__(self, path=pathlib.Path(__file__).with_name("known_refusals.toml")):
        with open(path, "rb") as file:
            self.rows = [Row(**row) for row in tomllib.load(file)["refusal"]]

    def judge(self, finding, path, pair, message):
        """"pass", "known" or "unexpected" for a finding that is not "unsupported"."""
        passed, explained = finding["result"] == "pass", False
        for row in self.rows:
            if row.concerns(finding, path, pair, message):
                row.met += 1
                if not passed and row.explains(finding):
                    row.refused += 1
                    explained = True
        return "pass" if passed else "known" if explained else "unexpected"

    def outdated(self):
        """Rows that named messages of this run by file or property, none of which was refused."""
        return [row for row in self.rows if row.met and not row.refused and (row.files or row.when)]
