"""Signs a folder of messages in all four canonicalization pairs by RSA and Ed25519, and lets every verifier judge the result.

The integration test and tools/verify-corpus both run this. Author domains are many, so each one that the daemon meets is
made on the way, with an RSA and an Ed25519 key of its own.
"""

import collections
import concurrent.futures
import os
import pathlib
import re

import grpc

import deployment
import messages
import paths  # noqa: F401  (makes tests/verifiers importable)
import known_refusals
import verifiers

from hallmark.admin.v1 import admin_pb2
from hallmark.signing.v1 import signing_pb2

PAIRS = tuple(f"{header}/{body}" for header in ("simple", "relaxed") for body in ("simple", "relaxed"))
# What a message can be refused for; anything else is a fault of the daemon.
REFUSALS = {"FROM_MISSING", "FROM_REPEATED", "FROM_UNUSABLE", "HEADER_MALFORMED", "HEADER_TOO_LARGE", "MESSAGE_TOO_LARGE"}
NOT_MESSAGES = re.compile(r"(\.(pem|key|pub|json|ya?ml|md|dns|bind9|tinydns|b64|toml|gitattributes)|LICEN[SC]E[^/]*|LICENSES/.*|NOTICE[^/]*)$",
                          re.IGNORECASE)


# What stands before a message and is no part of it: a mailbox's separator, or the keys of a test of another project.
PREFACE = re.compile(rb"From (?![ \t]*:)[^\r\n]*\r?\n|(?:[^\s:]+\._domainkey\.[^\s:]+ [^\r\n]*\r?\n)+\r?\n")


def find_messages(folder):
    """{path below the folder: octets} of every file that is not evidently something else, in order of path."""
    folder, found = pathlib.Path(folder), {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = pathlib.Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if not NOT_MESSAGES.search(relative):
                message = path.read_bytes()
                preface = PREFACE.match(message)
                found[relative] = message[preface.end():] if preface else message
    return found


class Signer:
    """Signs whatever it is given, making the author domains that it meets."""

    def __init__(self, hallmark):
        self._hallmark, self._admin, self._signing = hallmark, hallmark.admin(), hallmark.signing()
        self._profile, self._profiles = "", set()
        self.domains = set()

    def use_pair(self, pair):
        """From now on every domain signs with this canonicalization pair."""
        header, body = pair.split("/")
        self._profile = pair.replace("/", "-")
        if self._profile not in self._profiles:
            self._profiles.add(self._profile)
            self._admin.CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(profile=admin_pb2.SigningProfile(
                name=self._profile, header_canonicalization=header, body_canonicalization=body)))
        for domain in self.domains:
            self._admin.UpdateDomain(admin_pb2.UpdateDomainRequest(name=domain, profile=self._profile))

    def sign(self, message):
        """(SignResponse, "") or (None, reason)."""
        for _ in range(2):
            try:
                return self._signing.Sign(signing_pb2.SignRequest(message=message), timeout=60), ""
            except grpc.RpcError as error:
                reason = deployment.error_reason(error)
                if reason != "DOMAIN_NOT_CONFIGURED":
                    return None, reason or f"{error.code().name}: {error.details()}"
                domain = re.search(r"author domain (\S+)", error.details()).group(1)
                self._hallmark.add_domain(domain, self._profile)
                self.domains.add(domain)
        raise AssertionError("the domain was made, and still the message was refused")


class Run:
    """The outcome: what was signed or refused, and what each verifier says.

    refused     {path: reason}
    findings    every finding of every verifier, with "path", "pair" and "judgement" (pass, known, unsupported, unexpected)
    mistakes    sentences on what the daemon did wrong by itself (wrong d=, missing signature, ...)
    """

    def __init__(self, hallmark, found, folder):
        self.signed, self.refused, self.findings, self.mistakes = set(), {}, [], []
        self.table = known_refusals.Table()
        self.folder = pathlib.Path(folder)
        self._hallmark, self._found, self.signer = hallmark, found, Signer(hallmark)
        self._names = {path: f"{number:05d}.eml" for number, path in enumerate(found)}
        self.key_file = self.folder / "keys"

    def sign_all(self, progress=lambda text: None):
        for pair in PAIRS:
            progress(f"signing {len(self._found)} messages, {pair}")
            self.signer.use_pair(pair)
            target = self.signed_folder(pair)
            target.mkdir(parents=True)
            for path, message in self._found.items():
                response, reason = self.signer.sign(message)
                if response is None:
                    if self.refused.setdefault(path, reason) != reason or path in self.signed:
                        self.mistakes.append(f"{path}: {pair} is refused ({reason}), another pair is not or otherwise")
                    continue
                self.signed.add(path)
                self._check(path, pair, message, response)
                (target / self._names[path]).write_bytes(messages.signed(message, response))
        self.key_file.write_text("".join(self._hallmark.key_lines(sorted(self.signer.domains))))

    def domains(self):
        return sorted(self.signer.domains)

    def file_of(self, path):
        """The name of a message's file in each of the folders."""
        return self._names[path]

    def signed_folder(self, pair):
        return self.folder / "signed" / pair.replace("/", "-")

    def signed_messages(self):
        """[(path, pair, file)] of every signed message."""
        return [(path, pair, self.signed_folder(pair) / name) for pair in PAIRS for path, name in self._names.items()
                if path in self.signed]

    def _check(self, path, pair, message, response):
        """What can be seen without a verifier."""
        algorithms = [signature.algorithm for signature in response.signatures]
        if sorted(algorithms) != [deployment.RSA, deployment.ED25519]:
            self.mistakes.append(f"{path}: {pair}: signed by {algorithms}")
        for signature in response.signatures:
            field = signature.header_field
            found = messages.tags(field)
            if (found["c"], found["d"], found["s"]) != (pair, response.signing_domain, signature.selector):
                self.mistakes.append(f"{path}: {pair}: c={found['c']} d={found['d']} s={found['s']}")
            if not field.isascii() or max(map(len, field.splitlines())) > 998:
                self.mistakes.append(f"{path}: {pair}: the field is not plain ASCII in lines that mail may have")
            if field.count(b"\n") != field.count(b"\r\n") and b"\r" in field:
                self.mistakes.append(f"{path}: {pair}: the field mixes line ends")

    def verify_all(self, progress=lambda text: None, names=None):
        """Lets the verifiers (all by default) judge every signed message."""
        files = {self._names[path]: path for path in sorted(self.signed)}
        jobs = [(name, pair) for name in (names or verifiers.names()) for pair in PAIRS]

        def judge(job):
            progress(f"{job[0]} verifies {job[1]}")
            return job, verifiers.run(job[0], self.signed_folder(job[1]), self.key_file)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for (name, pair), findings in pool.map(judge, jobs):
                self.findings += judged(self.table, name, pair, self.signed_folder(pair), findings, files)

    def unexpected(self):
        return [finding for finding in self.findings if finding["judgement"] == "unexpected"]


def judged(table, name, pair, folder, findings, files):
    """What a verifier found of our signatures of the messages in `folder`, {file: path in the corpus}, each with its judgement."""
    ours, result = collections.defaultdict(dict), []
    for finding in findings:
        ours[finding["file"]].setdefault((finding["domain"].lower(), finding["selector"], finding["algorithm"]), finding)
    for file, path in files.items():
        message = (folder / file).read_bytes()
        for found in our_signatures(message):
            identity = found["d"], found["s"], found["a"]
            finding = ours[file].get(identity) or {
                "file": file, "domain": identity[0], "selector": identity[1], "algorithm": identity[2], "result": "error",
                "detail": "the verifier says nothing of this signature", "verifier": name}
            finding.update(path=path, pair=pair)
            if finding["result"] == "unsupported" and (name, finding["algorithm"]) in verifiers.UNSUPPORTED:
                finding["judgement"] = "unsupported"
            else:
                finding["judgement"] = table.judge(finding, path, pair, message)
            result.append(finding)
    return result


def our_signatures(message):
    """The tags of the two fields that the daemon put on top."""
    return [messages.tags(field) for field in re.split(rb"\r\n(?![ \t])", message, maxsplit=2)[:2]]
