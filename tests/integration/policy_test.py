"""Who may sign what: a matrix against an oracle of its own, quotas, and changes of the policy while mail comes in."""

import collections
import itertools
import json
import re
import threading
import time
import unittest

import grpc

import deployment
import ledger_files
import messages
import pki
from waiting import wait_for

from hallmark.admin.v1 import admin_pb2, policy_pb2
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc

REFUSED = 4  # dkimctl explain
LATEST = 1  # How many seconds after the command that suspends a partner a signature of it may still be on the ledger.

POLICY = """
[[partner]]
name = "own"
author_domains = ["*"]
signing_domains = ["*"]

[[partner]]
name = "acme"
author_domains = [".acme.example"]
signing_domains = ["acme.example", "news.acme.example"]

[[partner]]
name = "beta"
author_domains = ["beta.example", "sub.beta.example"]
signing_domains = [".beta.example"]
addresses = ["sales@beta.example", "*@sub.beta.example"]
alignment = "strict"

[[partner]]
name = "bulk"
author_domains = ["*"]
signing_domains = ["bulk.example"]
alignment = "off"

[[partner]]
name = "late"
state = "suspended"
author_domains = ["*"]
signing_domains = ["*"]

[[relay]]
name = "relay1"
identity = "dns:relay1.localdomain"
partners = ["own"]

[[relay]]
name = "agency"
identity = "uri:hallmark:relay:agency"
partners = ["acme", "beta", "bulk", "late"]

[[relay]]
name = "solo"
identity = "dns:solo.localdomain"
partners = ["acme"]

[[relay]]
name = "gone"
identity = "dns:gone.localdomain"
partners = ["own", "acme"]
state = "revoked"
"""

# The oracle's own tables: what the policy above means.
RELAYS = {"relay1": {"own"}, "agency": {"acme", "beta", "bulk", "late"}, "solo": {"acme"}, "gone": {"own", "acme"}}
CONFIGURED = {"acme.example", "news.acme.example", "secret.acme.example", "beta.example", "bulk.example", "keyless.example"}
MAY_AUTHOR = {
    "own": lambda domain: True,
    "acme": lambda domain: domain == "acme.example" or domain.endswith(".acme.example"),
    "beta": lambda domain: domain in ("beta.example", "sub.beta.example"),
    "bulk": lambda domain: True,
    "late": lambda domain: True,
}
MAY_SIGN = {
    "own": lambda domain: True,
    "acme": lambda domain: domain in ("acme.example", "news.acme.example"),
    "beta": lambda domain: domain == "beta.example" or domain.endswith(".beta.example"),
    "bulk": lambda domain: domain == "bulk.example",
    "late": lambda domain: True,
}
ALIGNMENT = {"own": "relaxed", "acme": "relaxed", "beta": "strict", "bulk": "off", "late": "relaxed"}

PARTNERS = ("", "own", "acme", "beta", "bulk", "late", "nobody")
DOMAINS = ("", "acme.example", "news.acme.example", "beta.example", "bulk.example", "other.example")
AUTHORS = ("a@acme.example", "a@news.acme.example", "a@secret.acme.example", "sales@beta.example", "boss@beta.example",
           "x@sub.beta.example", "a@bulk.example", "a@keyless.example", "a@other.example")


def and_parents(domain):
    labels = domain.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


def organizational(domain):
    return ".".join(domain.split(".")[-2:])  # "example" is a public suffix by the list's default rule


def expected(relay, partner, requested, author):
    """(reason of the refusal or "", signing domain) by the tables above, without a look at signerd."""
    if relay == "gone":
        return "CERTIFICATE_REVOKED", ""
    if not partner:
        allowed = RELAYS[relay]
        partner = "own" if "own" in allowed else next(iter(allowed)) if len(allowed) == 1 else None
        if partner is None:
            return "PARTNER_UNKNOWN", ""
    if partner not in RELAYS[relay]:
        return "PARTNER_NOT_ALLOWED", ""
    if partner == "late":
        return "PARTNER_SUSPENDED", ""
    local, author_domain = author.split("@")
    if not MAY_AUTHOR[partner](author_domain):
        return "AUTHOR_NOT_ALLOWED", ""
    if partner == "beta" and author_domain == "beta.example" and local != "sales":
        return "AUTHOR_NOT_ALLOWED", ""
    if requested:
        if not MAY_SIGN[partner](requested):
            return "DOMAIN_NOT_ALLOWED", ""
        if requested not in CONFIGURED:
            return "DOMAIN_NOT_CONFIGURED", ""
        domain = requested
    else:
        if not any(MAY_SIGN[partner](name) for name in and_parents(author_domain)):
            return "DOMAIN_NOT_ALLOWED", ""
        domain = next((name for name in and_parents(author_domain) if name in CONFIGURED), None)
        if domain is None:
            return "DOMAIN_NOT_CONFIGURED", ""
        if not MAY_SIGN[partner](domain):
            return "DOMAIN_NOT_ALLOWED", ""
    aligned = {"off": True, "strict": domain == author_domain,
               "relaxed": organizational(domain) == organizational(author_domain)}[ALIGNMENT[partner]]
    if not aligned:
        return "NOT_ALIGNED", ""
    if domain == "keyless.example":
        return "NO_ACTIVE_KEY", ""
    return "", domain


def header_of(author):
    return f"From: {author}\r\nTo: you@example.net\r\nSubject: hello\r\nDate: Mon, 05 Jan 2026 09:30:00 +0100\r\n\r\n".encode()


def message_of(author, body=b"Hello.\r\n"):
    return header_of(author) + body


class Case(unittest.TestCase):
    """One signerd with the policy above and relays of the test's own authority."""

    @classmethod
    def setUpClass(cls):
        cls.hallmark = hallmark = deployment.Deployment(start=False)
        cls.addClassCleanup(hallmark.close)
        cls.authority = pki.Authority()
        hallmark.trust(cls.authority.pem)
        hallmark.edit_policy(lambda text: POLICY)
        hallmark.start()
        for domain in sorted(CONFIGURED - {"keyless.example"}):
            hallmark.add_domain(domain, algorithms=(admin_pb2.KEY_ALGORITHM_ED25519,))
        hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name="keyless.example"))
        cls.certificates = {"relay1": (hallmark.read("tls/relay1.pem"), hallmark.read("tls/relay1.key")),
                            "agency": cls.authority.issue(uris=["hallmark:relay:agency"]),
                            "solo": cls.authority.issue(dns=["solo.localdomain"]),
                            "gone": cls.authority.issue(dns=["gone.localdomain"])}

    def setUp(self):
        self.stubs = {name: self.stub(name) for name in self.certificates}
        self.policy = self.hallmark.policy()
        # Each test begins with the policy above, whatever the one before it did; new ones are not brought back silently.
        text = POLICY.replace('author_domains', 'state = "active"\nauthor_domains').replace('state = "suspended"\nstate = "active"', 'state = "suspended"')
        self.apply(text)

    def stub(self, relay):
        return signing_pb2_grpc.SigningServiceStub(
            self.hallmark.channel(self.hallmark.signing_address, *self.certificates[relay]))

    def sign(self, relay, author, body=b"Hello.\r\n", **options):
        request = signing_pb2.SignRequest(message=message_of(author, body), options=signing_pb2.SignOptions(**options))
        return self.stubs[relay].Sign(request, timeout=30)

    def outcome(self, relay, author, body=b"Hello.\r\n", **options):
        """(reason, signing domain) of a real call."""
        try:
            return "", self.sign(relay, author, body, **options).signing_domain
        except grpc.RpcError as error:
            return deployment.error_reason(error), ""

    def apply(self, text, *more, status=0):
        path = self.hallmark.folder / "next.toml"
        path.write_text(text)
        run = self.hallmark.dkimctl("apply", "-f", path, *more, status=None)
        if run.returncode == 5:  # it widens rights: a second officer approves it
            self.hallmark.as_officer2().approve(int(re.search(r"approvals approve (\d+)", run.stderr).group(1)))
        else:
            self.assertEqual(run.returncode, status, run.stderr)
        return run

    def with_acme(self, lines):
        """Applies the policy with these lines at partner acme."""
        head, tail = POLICY.split('name = "acme"\n')
        return self.apply(head + 'name = "acme"\nstate = "active"\n' + lines + tail)

    def acme_table(self, lines):
        """Applies the policy with a table of partner acme."""
        mark = 'signing_domains = ["acme.example", "news.acme.example"]\n'
        self.assertIn(mark, POLICY)
        return self.apply(POLICY.replace(mark, mark + lines))


class MatrixTest(Case):
    def test_matrix_and_explanation(self):
        cases = list(itertools.product(RELAYS, PARTNERS, DOMAINS, AUTHORS))
        self.assertGreaterEqual(len(cases), 200)
        seen = set()
        for relay, partner, domain, author in cases:
            wanted = expected(relay, partner, domain, author)
            seen.add(wanted[0])
            real = self.outcome(relay, author, partner=partner, signing_domain=domain)
            self.assertEqual(real, wanted, (relay, partner, domain, author))
            explained = self.policy.ExplainDecision(policy_pb2.ExplainDecisionRequest(
                relay=relay, partner=partner, signing_domain=domain, header=header_of(author), octets=len(message_of(author))))
            self.assertEqual((explained.reason, explained.allowed), (wanted[0], not wanted[0]), (relay, partner, domain, author))
            if explained.allowed:
                self.assertEqual(explained.signing_domain, wanted[1])
            outcomes = [step.outcome for step in explained.steps]
            refused = outcomes.count(policy_pb2.ExplainDecisionResponse.REFUSED)
            self.assertEqual(refused, 0 if explained.allowed else 1)
            if refused:
                rest = outcomes[outcomes.index(policy_pb2.ExplainDecisionResponse.REFUSED) + 1:]
                self.assertEqual(set(rest) - {policy_pb2.ExplainDecisionResponse.NOT_REACHED}, set())
        # The oracle must have had something to say about every rule.
        self.assertEqual(seen, {"", "CERTIFICATE_REVOKED", "PARTNER_UNKNOWN", "PARTNER_NOT_ALLOWED", "PARTNER_SUSPENDED",
                                "AUTHOR_NOT_ALLOWED", "DOMAIN_NOT_ALLOWED", "DOMAIN_NOT_CONFIGURED", "NOT_ALIGNED",
                                "NO_ACTIVE_KEY"})

    def test_refusals_say_nothing_of_others(self):
        def words(**options):
            error = self.hallmark.call_error(self.sign, "solo", "a@acme.example", **options)
            self.assertEqual(error.code(), grpc.StatusCode.PERMISSION_DENIED)
            return error.details()
        self.assertEqual(words(partner="beta"), words(partner="nobody"))
        self.assertEqual(words(signing_domain="beta.example").replace("beta", "x"),
                         words(signing_domain="x.example"))


class RulesTest(Case):
    def test_header_rules_in_every_way_of_signing(self):
        self.acme_table("[partner.message]\nforbid_bcc = true\nrequire_message_id = true\nmax_octets = 2000\n")
        stub, options = self.stubs["solo"], signing_pb2.SignOptions()
        good = b"From: a@acme.example\r\nDate: x\r\nMessage-ID: <1@acme.example>\r\n\r\n"

        def sign(message):
            return stub.Sign(signing_pb2.SignRequest(message=message, options=options), timeout=30)

        def large(message):
            chunks = [signing_pb2.MessageChunk(options=options, data=message[:10])]
            chunks += [signing_pb2.MessageChunk(data=message[i:i + 500]) for i in range(10, len(message), 500)]
            return stub.SignLarge(iter(chunks), timeout=30)

        def digest(message, **told):
            header, body = message.split(b"\r\n\r\n", 1)
            return stub.SignDigest(signing_pb2.SignDigestRequest(
                header=header + b"\r\n\r\n", body_hash=bytes(32), body_canonicalization=signing_pb2.CANONICALIZATION_RELAXED,
                options=options, **(told or {"body_length": len(body)})), timeout=30)

        def digest_with_facts(message):
            # What was hashed may be far less: canonicalization takes white space away.
            return digest(message, body_length=7, body_facts=signing_pb2.BodyFacts(octets=len(message.split(b"\r\n\r\n", 1)[1])))

        for way in (sign, large, digest, digest_with_facts):
            with self.subTest(way.__name__):
                self.assertEqual(len(way(good + b"Hello.\r\n").signatures), 1)
                for message, reason in ((b"Bcc: b@example.net\r\n" + good + b"x\r\n", "FIELD_FORBIDDEN"),
                                        (good.replace(b"Message-ID", b"X-ID") + b"x\r\n", "FIELD_REQUIRED"),
                                        (good + b"x" * 2000 + b"\r\n", "SIZE_NOT_ALLOWED")):
                    error = self.hallmark.call_error(way, message)
                    self.assertEqual((error.code(), deployment.error_reason(error)), (grpc.StatusCode.PERMISSION_DENIED, reason))
        # A relay that keeps the size to itself gets no way around the rule.
        error = self.hallmark.call_error(stub.SignDigest, signing_pb2.SignDigestRequest(
            header=good, body_hash=bytes(32), body_canonicalization=signing_pb2.CANONICALIZATION_RELAXED, options=options))
        self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")

    def test_dates(self):
        self.with_acme("not_before = 2000-01-01\nnot_after = 2099-01-01T00:00:00Z\n")
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "")
        self.with_acme("not_before = 2099-01-01\n")
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "PARTNER_NOT_VALID")
        self.with_acme("not_after = 2001-01-01\n")
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "PARTNER_NOT_VALID")

    def test_rate(self):
        self.acme_table("[partner.quota]\nrate_per_second = 1\nburst = 3\n")
        outcomes = [self.outcome("solo", "a@acme.example")[0] for _ in range(10)]
        self.assertEqual(outcomes[:3], ["", "", ""])
        self.assertIn("RATE_EXCEEDED", outcomes)
        while True:  # until one is refused
            try:
                self.sign("solo", "a@acme.example")
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                self.assertEqual(deployment.error_reason(error), "RATE_EXCEEDED")
                self.assertIsNotNone(deployment.retry_info(error))
                break
        # Another partner notices nothing.
        self.assertEqual(self.outcome("agency", "sales@beta.example", partner="beta")[0], "")

    def test_volumes_and_recipients(self):
        partner = self.hallmark.dkimctl_json("partner", "show", "acme")
        before = int(partner["messages_today"]), int(partner["recipients_today"])
        self.acme_table(f"[partner.quota]\nmessages_per_day = {before[0] + 3}\nrecipients_per_message = 5\n"
                        f"recipients_per_day = {before[1] + 8}\n")
        to = lambda count: {"envelope_recipients": [f"r{i}@example.net" for i in range(count)]}
        error = self.hallmark.call_error(self.sign, "solo", "a@acme.example", **to(6))
        self.assertEqual((error.code(), deployment.error_reason(error)), (grpc.StatusCode.PERMISSION_DENIED, "RECIPIENTS_EXCEEDED"))
        self.assertEqual(self.outcome("solo", "a@acme.example", **to(5))[0], "")
        self.assertEqual(self.outcome("solo", "a@acme.example", **to(4))[0], "DAILY_VOLUME_EXCEEDED")
        self.assertEqual(self.outcome("solo", "a@acme.example", **to(2))[0], "")
        partner = self.hallmark.dkimctl_json("partner", "show", "acme")
        self.assertEqual((int(partner["messages_today"]), int(partner["recipients_today"])), (before[0] + 2, before[1] + 7))
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "")
        error = self.hallmark.call_error(self.sign, "solo", "a@acme.example")
        self.assertEqual((error.code(), deployment.error_reason(error)),
                         (grpc.StatusCode.RESOURCE_EXHAUSTED, "DAILY_VOLUME_EXCEEDED"))
        # When the day (UTC) is over.
        ends = (time.time() + deployment.retry_info(error).retry_delay.ToSeconds()) % 86400
        self.assertLess(min(ends, 86400 - ends), 60)


class ChangeTest(Case):
    def test_export_and_apply_are_one_form(self):
        exported = self.hallmark.dkimctl("export").stdout
        self.assertIn("no changes", self.apply(exported).stdout)
        self.assertEqual(json.loads(self.apply(exported, "--output", "json").stdout)["changes"], [])
        self.assertEqual(self.hallmark.dkimctl("export").stdout, exported)
        changed = exported.replace('"beta.example"', '"gamma.example"', 1)
        self.assertNotEqual(changed, exported)
        run = self.apply(changed, "--dry-run")
        self.assertIn("author_domains: + gamma.example (widens rights)", run.stdout)
        self.assertEqual(self.hallmark.dkimctl("export").stdout, exported, "a dry run changes nothing")
        self.apply(changed)
        self.assertEqual(self.hallmark.dkimctl("export").stdout, changed)
        self.assertIn("no changes", self.apply(changed).stdout)

    def test_a_wrong_file_changes_nothing(self):
        exported = self.hallmark.dkimctl("export").stdout
        run = self.apply(exported.replace('".acme.example"', '"*.acme.example"').replace('"relaxed"', '"loose"', 1), status=1)
        self.assertRegex(run.stderr, r"next\.toml:\d+: partner\[\d\]\.author_domains: .*; expected")
        self.assertRegex(run.stderr, r"next\.toml:\d+: partner\[\d\]\.alignment: .*; expected")
        self.assertEqual(self.hallmark.dkimctl("export").stdout, exported)
        # Without the file's checks in between, signerd says the same.
        answer = self.policy.GetPolicy(policy_pb2.GetPolicyRequest())
        answer.policy.partners[0].signing_domains.append("a b")
        error = self.hallmark.call_error(self.policy.ApplyPolicy, policy_pb2.ApplyPolicyRequest(policy=answer.policy, etag=answer.etag))
        self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT")
        self.assertEqual(self.hallmark.dkimctl("export").stdout, exported)

    def test_what_is_applied_is_what_was_looked_at(self):
        answer = self.policy.GetPolicy(policy_pb2.GetPolicyRequest())
        self.hallmark.dkimctl("partner", "suspend", "acme")
        request = policy_pb2.ApplyPolicyRequest(policy=answer.policy, etag=answer.etag)
        error = self.hallmark.call_error(self.policy.ApplyPolicy, request)
        self.assertEqual(deployment.error_reason(error), "STATE_CONFLICT")
        request.policy.partners[0].signing_domains.append("more.example")
        request.etag = ""
        error = self.hallmark.call_error(self.policy.ApplyPolicy, request)
        self.assertEqual(deployment.error_reason(error), "INVALID_ARGUMENT", "rights are widened only with an etag")

    def test_own_stays(self):
        run = self.hallmark.dkimctl("partner", "revoke", "own", "--yes", status=1)
        self.assertIn("own cannot be revoked", run.stderr)
        answer = self.policy.GetPolicy(policy_pb2.GetPolicyRequest())
        without = [partner for partner in answer.policy.partners if partner.name != "own"]
        del answer.policy.partners[:]
        answer.policy.partners.extend(without)
        del answer.policy.relays[:]
        error = self.hallmark.call_error(self.policy.ApplyPolicy, policy_pb2.ApplyPolicyRequest(policy=answer.policy, etag=answer.etag))
        self.assertIn("own is missing", error.details())

    def test_suspended_under_load_at_once(self):
        # acme by four callers; and others, who must notice nothing. Each answer: when its call began and ended, and the reason.
        callers = [("acme", "solo", "a@acme.example")] * 4 + [("own", "relay1", "a@bulk.example"), ("beta", "agency", "sales@beta.example"),
                                                              ("bulk", "agency", "a@bulk.example")]
        answers, stop, mutex = collections.defaultdict(list), threading.Event(), threading.Lock()

        def load(partner, relay, author):
            stub = self.stub(relay)
            request = signing_pb2.SignRequest(message=message_of(author), options=signing_pb2.SignOptions(partner=partner))
            while not stop.is_set():
                began = time.time()
                try:
                    stub.Sign(request, timeout=30)
                    reason = ""
                except grpc.RpcError as error:
                    reason = deployment.error_reason(error) or str(error)
                with mutex:
                    answers[partner].append((began, time.time(), reason))

        def wait_for_answers(count=20):
            """So many of each partner."""
            targets = {partner: len(answers[partner]) + count for partner, _, _ in callers}
            wait_for(lambda: all(len(answers[partner]) >= target for partner, target in targets.items()), "answers")

        threads = [threading.Thread(target=load, args=caller) for caller in callers]
        for thread in threads:
            thread.start()
        try:
            wait_for_answers()
            self.hallmark.dkimctl("partner", "suspend", "acme")
            suspended = time.time()
            wait_for(lambda: time.time() > suspended + 2 * LATEST, "time has passed")
            wait_for_answers()
            until = time.time()
            self.hallmark.dkimctl("partner", "resume", "acme")
            resumed = time.time()
            wait_for_answers()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        acme = answers.pop("acme")
        self.assertEqual({reason for _, _, reason in acme}, {"", "PARTNER_SUSPENDED"})
        between = [reason for began, ended, reason in acme if began > suspended and ended < until]
        self.assertGreater(len(between), 0)
        self.assertEqual(set(between), {"PARTNER_SUSPENDED"}, "the next message already")
        self.assertEqual({reason for began, _, reason in acme if began > resumed}, {""})
        self.assertEqual({partner: {reason for _, _, reason in theirs} for partner, theirs in answers.items()},
                         {"own": {""}, "beta": {""}, "bulk": {""}}, "another partner notices nothing")

        signed = collections.defaultdict(list)
        for record in ledger_files.records(self.hallmark.folder / "state/ledger"):
            if record.HasField("signature"):
                signed[record.signature.partner].append(record.time_us / 1e6)
        for partner in answers:
            self.assertTrue([at for at in signed[partner] if suspended < at < until], partner)
        self.assertTrue([at for at in signed["acme"] if acme[0][0] < at < suspended], "signed before")
        self.assertTrue([at for at in signed["acme"] if at > until], "signed after")
        self.assertEqual([at - suspended for at in signed["acme"] if suspended + LATEST < at < until], [], "seconds after the command")

    def upload(self, stub, between):
        """The reason why a message that comes in two chunks is refused, with between() between them; "" where it is signed."""
        message, half = message_of("a@acme.example", b"Hello.\r\n" * 100), threading.Event()
        sent = threading.Event()

        def chunks():
            yield signing_pb2.MessageChunk(options=signing_pb2.SignOptions(), data=message[:300])
            sent.set()
            half.wait(60)
            yield signing_pb2.MessageChunk(data=message[300:])

        call = stub.SignLarge.future(chunks(), timeout=120)
        self.assertTrue(sent.wait(30))
        time.sleep(0.3)
        between()
        half.set()
        return deployment.error_reason(call.exception()) if call.exception() else ""

    def test_a_long_upload_ends_with_its_partner(self):
        self.assertEqual(self.upload(self.stubs["solo"], lambda: self.hallmark.dkimctl("partner", "suspend", "acme")), "PARTNER_SUSPENDED")

    def test_a_long_upload_ends_with_its_certificate(self):
        certificate = self.authority.issue(dns=["solo.localdomain"])
        file = self.hallmark.folder / "lost.pem"
        file.write_bytes(certificate[0])
        stub = signing_pb2_grpc.SigningServiceStub(self.hallmark.channel(self.hallmark.signing_address, *certificate))
        self.assertEqual(self.upload(stub, lambda: None), "")
        self.assertEqual(self.upload(stub, lambda: self.hallmark.dkimctl("certificate", "revoke", file, "--yes")), "CERTIFICATE_REVOKED")

    def test_a_long_upload_is_judged_by_the_policy_of_its_end(self):
        narrower = POLICY.replace('author_domains = [".acme.example"]', 'state = "active"\nauthor_domains = ["news.acme.example"]')
        self.assertEqual(self.upload(self.stubs["solo"], lambda: self.apply(narrower)), "AUTHOR_NOT_ALLOWED")

    def test_changes_survive_kill(self):
        self.hallmark.dkimctl("partner", "revoke", "acme", "--yes")
        self.apply(self.hallmark.dkimctl("export").stdout.replace('"bulk.example"', '"acme.example"'))
        exported = self.hallmark.dkimctl("export").stdout
        self.hallmark.kill()
        # The file of the first start counts no more, whatever it says by now.
        self.hallmark.edit_policy(lambda text: "not a policy")
        self.hallmark.start()
        self.assertEqual(self.hallmark.dkimctl("export").stdout, exported)
        self.stubs = {name: self.stub(name) for name in self.certificates}
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "PARTNER_REVOKED")
        self.assertEqual(self.outcome("agency", "a@else.example", partner="bulk", signing_domain="acme.example"), ("", "acme.example"))

    def test_revoked_relay_on_an_open_connection(self):
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "")
        run = self.hallmark.dkimctl("relay", "revoke", "solo", status=1)
        self.assertIn("--yes", run.stderr, "nobody was asked")
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "")
        self.hallmark.dkimctl("relay", "revoke", "solo", "--yes")
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "CERTIFICATE_REVOKED")
        self.assertEqual(self.hallmark.dkimctl_json("relay", "show", "solo")["state"], "RELAY_STATE_REVOKED")
        self.apply(self.hallmark.dkimctl("export").stdout.replace('identity = "dns:solo.localdomain"\npartners = ["acme"]\nstate = "revoked"',
                                                                'identity = "dns:solo.localdomain"\npartners = ["acme"]\nstate = "active"'))
        self.assertEqual(self.outcome("solo", "a@acme.example")[0], "")


class CommandsTest(Case):
    def test_lists(self):
        partners = {entry["partner"]["name"]: entry for entry in self.hallmark.dkimctl_json("partner", "list")["partners"]}
        self.assertEqual(set(partners), {"own", "acme", "beta", "bulk", "late"})
        self.assertEqual(partners["acme"]["relays"], ["agency", "gone", "solo"])
        self.assertEqual(partners["late"]["partner"]["state"], "PARTNER_STATE_SUSPENDED")
        relays = {entry["name"]: entry for entry in self.hallmark.dkimctl_json("relay", "list")["relays"]}
        self.assertEqual(set(relays), set(RELAYS))
        self.assertEqual(relays["gone"]["state"], "RELAY_STATE_REVOKED")
        for words in (("partner", "list"), ("partner", "show", "beta"), ("relay", "list"), ("relay", "show", "agency"), ("status",)):
            output = self.hallmark.dkimctl(*words).stdout
            self.assertLessEqual(max(map(len, output.splitlines())), 80, output)
        self.assertIn("beta", self.hallmark.dkimctl("partner", "show", "beta").stdout)
        for words in (("partner", "show", "nobody"), ("partner", "suspend", "nobody"), ("relay", "show", "nobody"),
                      ("relay", "revoke", "nobody", "--yes")):
            self.assertIn("NOT_FOUND", self.hallmark.dkimctl(*words, status=1).stderr)

    def test_explain(self):
        path = self.hallmark.folder / "message.eml"
        path.write_bytes(message_of("boss@beta.example"))
        run = self.hallmark.dkimctl("explain", path, "--relay", "agency", "--partner", "beta", status=REFUSED)
        self.assertIn("refused: AUTHOR_NOT_ALLOWED", run.stdout)
        self.assertRegex(run.stdout, r"author address +REFUSED")
        self.assertLessEqual(max(map(len, run.stdout.splitlines())), 80)
        path.write_bytes(message_of("sales@beta.example"))
        run = self.hallmark.dkimctl("explain", path, "--relay", "agency", "--partner", "beta")
        self.assertIn("signed for beta.example", run.stdout)
        answer = self.hallmark.dkimctl_json("explain", path, "--relay", "agency", "--partner", "beta")
        self.assertTrue(answer["allowed"])
        self.assertGreaterEqual(len(answer["steps"]), 14)
        path.write_bytes(b"no header\r\n\r\nx\r\n")
        run = self.hallmark.dkimctl("explain", path, "--relay", "agency", "--partner", "beta", status=REFUSED)
        self.assertIn("HEADER_MALFORMED", run.stdout)
        self.assertIn("NOT_FOUND", self.hallmark.dkimctl("explain", path, "--relay", "nobody", status=1).stderr)

    def test_explanations_leave_nothing_of_the_message(self):
        path = self.hallmark.folder / "message.eml"
        path.write_bytes(b"Subject: all about the merger\r\n" + message_of("boss@beta.example"))
        self.hallmark.dkimctl("explain", path, "--relay", "agency", "--partner", "beta", status=REFUSED)
        path.write_bytes(b"all about the merger\r\n\r\nx\r\n")
        self.hallmark.dkimctl("explain", path, "--relay", "agency", "--partner", "beta", status=REFUSED)
        ledger = self.hallmark.folder / "state/ledger"
        requests = [json.loads(record.admin_act.request) for record in ledger_files.records(ledger)
                    if record.admin_act.method == "ExplainDecision"]
        self.assertGreaterEqual(len(requests), 2)
        self.assertEqual({name for request in requests for name in request} - {"relay", "partner", "octets", "recipients"}, set())
        kept = b"".join(ledger_files.leaves(ledger)) + self.hallmark.log_text().encode()
        for said in (b"merger", b"boss@beta.example"):
            self.assertNotIn(said, kept)

    def test_explanations_count_nothing(self):
        before = self.hallmark.dkimctl_json("partner", "show", "beta")["messages_today"]
        path = self.hallmark.folder / "message.eml"
        path.write_bytes(message_of("sales@beta.example"))
        self.hallmark.dkimctl("explain", path, "--relay", "agency", "--partner", "beta")
        self.assertEqual(self.hallmark.dkimctl_json("partner", "show", "beta")["messages_today"], before)


class FirstStartTest(unittest.TestCase):
    def test_a_broken_first_policy_is_named(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.edit_policy(lambda text: text.replace('["own"]', '["acme"]'))
            with self.assertRaisesRegex(AssertionError, r"policy\.toml:\d+: relay\[0\]\.partners"):
                hallmark.start()

    def test_without_a_policy_nobody_may_sign(self):
        with deployment.Deployment(start=False) as hallmark:
            hallmark.edit_config(lambda text: "\n".join(line for line in text.splitlines() if "initial_policy" not in line) + "\n")
            hallmark.start()
            hallmark.add_domain("example.com", algorithms=(admin_pb2.KEY_ALGORITHM_ED25519,))
            error = hallmark.call_error(hallmark.sign, messages.MESSAGE)
            self.assertEqual(deployment.error_reason(error), "CALLER_UNKNOWN")
            hallmark.dkimctl_with_approval("apply", "-f", hallmark.folder / "policy.toml")
            self.assertEqual(len(hallmark.sign(messages.MESSAGE).signatures), 1)


if __name__ == "__main__":
    unittest.main()
