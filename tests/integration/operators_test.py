"""Operators: two factors, sessions, roles, a second person for what is dangerous, and all of it on the ledger; with real
certificates and processes."""

import contextlib
import hashlib
import os
import pty
import re
import select
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

import grpc
import hpack

import deployment
import ledger_files
import messages
import officers
import pki
import raw_http2
from waiting import wait_for

from google.protobuf import message_factory
from hallmark.admin.v1 import (admin_pb2, alerts_pb2, appliance_pb2, certificates_pb2, ledger_pb2, migration_pb2, operators_pb2, operators_pb2_grpc,
                               policy_pb2, rotation_pb2)

AUDITOR, OPERATOR, OFFICER = operators_pb2.ROLE_AUDITOR, operators_pb2.ROLE_OPERATOR, operators_pb2.ROLE_OFFICER

# Every method of the Admin API that needs a session, by the least role that may call it.
LEAST = {
    AUDITOR: """GetDomain ListDomains GetKey ListKeys GetSigningProfile ListSigningProfiles GetDnsRecords GetStatus
                ListRevokedCertificates ListCertificates GetPolicy ListRelays ListPartners GetPartner ExplainDecision
                WhoAmI ListOperators ListApprovals Logout SearchRecords GetRecord GetInclusionProof GetCheckpoint
                VerifyLedger ExportLedger GetLedgerStatus GetRetention ListAlerts GetRotationPolicy GetRotation ListRotations
                ListKeyEvents""",
    OPERATOR: """CreateDomain UpdateDomain GenerateKey AdoptKey ActivateKey RetireKey RevokeKey CreateSigningProfile
                 UpdateSigningProfile RevokeCertificate ApplyPolicy SetPartnerState RevokeRelay ResetOperator Reject
                 RebuildIndex AcknowledgeAlert SetRotationPolicy RotateKeys RollBackKeys PauseRotation ResumeRotation
                 BeginImport ImportKey""",
    OFFICER: "UnrevokeCertificate CreateOperator RemoveOperator Approve SetRetention CreateBackup FactoryReset",
}
WITHOUT_SESSION = {"BeginEnrollment", "FinishEnrollment", "Login"}
SERVICES = [service for file in (admin_pb2, appliance_pb2, certificates_pb2, policy_pb2, operators_pb2, ledger_pb2, alerts_pb2,
                                 migration_pb2, rotation_pb2)
            for service in file.DESCRIPTOR.services_by_name.values()]


def fingerprint(pem):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).digest()


class Case(unittest.TestCase):
    def setUp(self):
        self.hallmark = deployment.Deployment(start=False)
        self.addCleanup(self.hallmark.close)
        self.authority = pki.Authority("Operators")
        self.hallmark.trust(self.authority.pem, "admin")

    def start(self):
        self.hallmark.start()
        self.officer, self.second = self.hallmark.officer(), self.hallmark.as_officer2()

    def issue(self, files, identity):
        """A certificate of the test's own CA, as tls/FILES.pem."""
        certificate, key = self.authority.issue(uris=[identity])
        (self.hallmark.folder / f"tls/{files}.pem").write_bytes(certificate)
        (self.hallmark.folder / f"tls/{files}.key").write_bytes(key)
        return self.hallmark.officer(files)

    def add(self, name, role):
        """Another operator, added by both officers and enrolled."""
        request = operators_pb2.CreateOperatorRequest(name=name, identity=f"uri:test:{name}", role=role)
        self.hallmark.with_approval(self.officer.operators().CreateOperator, request)
        added = self.issue(name, f"test:{name}")
        added.enroll()
        return added

    def refused(self, reason, call, *arguments, **options):
        error = self.hallmark.call_error(call, *arguments, **options)
        self.assertEqual(deployment.error_reason(error), reason, error.details())
        return error

    def reason(self, call, *arguments):
        """Why the call is refused; "" where it is not."""
        try:
            call(*arguments)
        except grpc.RpcError as error:
            return deployment.error_reason(error)
        return ""

    def plain(self, officer):
        return operators_pb2_grpc.OperatorServiceStub(officer.plain_channel())

    def login(self, officer, code):
        return self.plain(officer).Login(operators_pb2.LoginRequest(code=code), timeout=30)

    def who(self, officer, token):
        return self.plain(officer).WhoAmI(operators_pb2.WhoAmIRequest(), metadata=[("hallmark-session", token)], timeout=30)

    def acts(self):
        """The admin acts on the ledger."""
        records = ledger_files.records(self.hallmark.folder / "state/ledger")
        return [record.admin_act for record in records if record.HasField("admin_act")]


def call_empty(officer, service, method, token):
    """Calls any method with an empty request. The reason of its error, "" for none."""
    request = message_factory.MessageFactory().GetPrototype(method.input_type)()
    answer = message_factory.MessageFactory().GetPrototype(method.output_type)
    # An answer of one message is a stream of one.
    call = officer.plain_channel().unary_stream(f"/{service.full_name}/{method.name}",
                                                request_serializer=lambda message: message.SerializeToString(),
                                                response_deserializer=answer.FromString)
    try:
        for _ in call(request, metadata=[("hallmark-session", token)] if token else [], timeout=30):
            pass
    except grpc.RpcError as error:
        return deployment.error_reason(error)
    return ""


class RolesTest(Case):
    def test_each_role_and_method(self):
        self.start()
        least = {name: role for role, names in LEAST.items() for name in names.split()}
        methods = [(service, method) for service in SERVICES for method in service.methods]
        self.assertEqual({method.name for _, method in methods}, set(least) | WITHOUT_SESSION)
        people = {AUDITOR: self.add("audrey", AUDITOR), OPERATOR: self.add("otto", OPERATOR), OFFICER: self.officer}
        stranger = self.issue("stranger", "test:stranger")
        # The session ends with Logout.
        methods.sort(key=lambda entry: entry[1].name == "Logout")
        for service, method in methods:
            self.assertEqual(call_empty(stranger, service, method, self.officer.token),
                             "INVALID_ARGUMENT" if method.name == "Login" else "CALLER_UNKNOWN", method.name)
            if method.name in WITHOUT_SESSION:
                continue
            for role, person in people.items():
                with self.subTest(method.name, role=operators_pb2.Role.Name(role)):
                    self.assertEqual(call_empty(person, service, method, ""), "LOGIN_REQUIRED")
                    reason = call_empty(person, service, method, person.token)
                    if role < least[method.name]:
                        self.assertEqual(reason, "ROLE_NOT_ALLOWED")
                    else:
                        self.assertNotIn(reason, ("ROLE_NOT_ALLOWED", "LOGIN_REQUIRED", "CALLER_UNKNOWN", "INTERNAL"))


class SessionsTest(Case):
    def test_bound_to_its_certificate(self):
        self.start()
        self.assertEqual(self.who(self.officer, self.officer.token).operator.name, "admin")
        self.refused("LOGIN_REQUIRED", self.who, self.second, self.officer.token)
        # The same person with a new certificate has to log in again.
        renewed = self.issue("renewed", "hallmark:operator:admin")
        self.refused("LOGIN_REQUIRED", self.who, renewed, self.officer.token)
        for token in ("", "0" * 64, self.officer.token[:-1], self.officer.token + "0"):
            self.refused("LOGIN_REQUIRED", self.who, self.officer, token)

    def test_ends_by_time_logout_and_restart(self):
        self.hallmark.edit_config(lambda text: text.replace("[admin]", "[admin]\nsession_seconds = 20"))
        self.start()
        token = self.officer.token
        self.assertLess(self.who(self.officer, token).session_expire_time.seconds, time.time() + 21)
        wait_for(lambda: self.reason(self.who, self.officer, token) == "LOGIN_REQUIRED", "the session's end")
        self.officer.log_in()
        token = self.officer.token
        self.officer.operators().Logout(operators_pb2.LogoutRequest())
        self.refused("LOGIN_REQUIRED", self.who, self.officer, token)
        self.officer.log_in()
        token = self.officer.token
        self.hallmark.stop()
        self.hallmark.start()
        self.refused("LOGIN_REQUIRED", self.who, self.officer, token)

    def test_codes_are_good_once(self):
        self.start()
        secret = (self.hallmark.folder / "secrets/operator.totp").read_text().strip()
        code = officers.code_at(secret, officers.present_step() + 1)
        self.login(self.officer, code)
        error = self.refused("LOGIN_REFUSED", self.login, self.officer, code)
        self.assertIn("used already", error.details())
        self.hallmark.kill()
        self.hallmark.start()
        self.refused("LOGIN_REFUSED", self.login, self.officer, code)

    def test_locked_out_after_five(self):
        self.start()
        for _ in range(4):
            self.refused("LOGIN_REFUSED", self.login, self.second, "000000")
        self.refused("LOCKED_OUT", self.login, self.second, "000000")
        secret = (self.hallmark.folder / "secrets/officer2.totp").read_text().strip()
        right = officers.code_at(secret, officers.present_step() + 1)
        self.refused("LOCKED_OUT", self.login, self.second, right)
        self.hallmark.kill()
        with contextlib.closing(sqlite3.connect(self.hallmark.folder / "state/hallmark.db")) as database, database:
            [(until,)] = database.execute("SELECT locked_until FROM operator WHERE name = 'officer2'").fetchall()
            self.assertLess(abs(until - time.time()), 600)
            # As after 15, for an hour: 30 s may be over after a slow start.
            database.execute("UPDATE operator SET failures = 15, locked_until = ? WHERE name = 'officer2'", (int(time.time()) + 3600,))
        self.hallmark.start()
        self.refused("LOCKED_OUT", self.login, self.second, right)
        row = next(row for row in self.officer.operators().ListOperators(operators_pb2.ListOperatorsRequest()).operators
                   if row.name == "officer2")
        self.assertEqual(row.refused_code_count, 15)
        self.assertGreater(row.locked_until.seconds, time.time())

    def test_host_names_have_no_case(self):
        self.hallmark.edit_config(lambda text: text.replace("first_officers = [", 'first_officers = ["dns:Alice.Example.com", '))
        self.hallmark.start()
        self.officer = self.hallmark.officer()

        def come_in(files, name):
            certificate, key = self.authority.issue(dns=[name])
            (self.hallmark.folder / f"tls/{files}.pem").write_bytes(certificate)
            (self.hallmark.folder / f"tls/{files}.key").write_bytes(key)
            officer = self.hallmark.officer(files)
            officer.enroll()
            return self.who(officer, officer.token).operator

        self.second = self.hallmark.officer("alice")
        self.assertEqual(come_in("alice", "alice.example.com").identity, "dns:alice.example.com")
        request = operators_pb2.CreateOperatorRequest(name="bob", identity="dns:Bob.example.com", role=AUDITOR)
        asked = self.hallmark.call_error(self.officer.operators().CreateOperator, request)
        self.assertIn("adds bob (dns:bob.example.com)", asked.details())
        self.second.approve(self.hallmark.approval_of(asked))
        self.assertEqual(come_in("bob", "BOB.example.com").name, "bob")
        request = operators_pb2.CreateOperatorRequest(name="robert", identity="dns:bob.Example.com", role=AUDITOR)
        self.refused("ALREADY_EXISTS", self.officer.operators().CreateOperator, request)

    def test_the_beginning_ends_with_two_officers(self):
        self.hallmark.edit_config(lambda text: text.replace("first_officers = [", 'first_officers = ["uri:test:third", '))
        self.start()
        third = self.issue("third", "test:third")
        self.refused("CALLER_UNKNOWN", self.plain(third).BeginEnrollment, operators_pb2.BeginEnrollmentRequest())
        error = self.refused("STATE_CONFLICT", self.plain(self.officer).BeginEnrollment, operators_pb2.BeginEnrollmentRequest())
        self.assertIn("operator reset", error.details())


class ApprovalsTest(Case):
    def create(self, officer, name, role=AUDITOR):
        request = operators_pb2.CreateOperatorRequest(name=name, identity=f"uri:test:{name}", role=role)
        return self.hallmark.approval_of(self.hallmark.call_error(officer.operators().CreateOperator, request))

    def names(self):
        answer = self.officer.operators().ListOperators(operators_pb2.ListOperatorsRequest())
        return {row.name: row.state for row in answer.operators}

    def state(self, number):
        answer = self.officer.operators().ListApprovals(operators_pb2.ListApprovalsRequest(id=number))
        return answer.approvals[0]

    def test_nobody_approves_their_own(self):
        self.start()
        otto = self.add("otto", OPERATOR)
        number = self.create(self.officer, "eve")
        self.assertEqual(self.create(self.officer, "eve"), number, "the same request waits once")
        self.assertNotIn("eve", self.names())
        self.refused("ROLE_NOT_ALLOWED", self.officer.operators().Approve, operators_pb2.ApproveRequest(id=number))
        self.refused("ROLE_NOT_ALLOWED", otto.operators().Approve, operators_pb2.ApproveRequest(id=number))
        self.refused("ROLE_NOT_ALLOWED", otto.operators().Reject, operators_pb2.RejectRequest(id=number))
        self.assertNotIn("eve", self.names())
        done = self.second.approve(number)
        self.assertEqual((done.state, done.requester, done.decider), (operators_pb2.APPROVAL_STATE_DONE, "admin", "officer2"))
        self.assertEqual(self.names()["eve"], operators_pb2.OPERATOR_STATE_INVITED)
        self.refused("STATE_CONFLICT", self.second.operators().Approve, operators_pb2.ApproveRequest(id=number))
        # Of the two acts the ledger tells who wanted it, who approved it and under which number.
        acts = [(act.operator, act.method, act.outcome) for act in self.acts() if act.approval == number]
        self.assertEqual(acts, [("admin", "CreateOperator", "APPROVAL_REQUIRED"), ("admin", "CreateOperator", "APPROVAL_REQUIRED"),
                                ("admin", "CreateOperator", "BEGUN"), ("admin", "CreateOperator", "OK")])
        approved = [act for act in self.acts() if act.method == "Approve" and act.outcome == "OK"]
        self.assertEqual([act.operator for act in approved], ["officer2", "officer2"])

    def test_a_premise_that_changed_fails(self):
        self.start()
        first, second = self.create(self.officer, "eve", OPERATOR), self.create(self.second, "eve")
        self.assertEqual(self.officer.approve(second).state, operators_pb2.APPROVAL_STATE_DONE)
        failed = self.second.approve(first)
        self.assertEqual(failed.state, operators_pb2.APPROVAL_STATE_FAILED)
        self.assertIn("ALREADY_EXISTS", failed.outcome)

    def test_what_was_asked_for_with_a_certificate_that_is_revoked_fails(self):
        crl = self.hallmark.folder / "admin.crl"
        crl.write_bytes(self.authority.crl([]))
        self.hallmark.edit_config(lambda text: text.replace("[admin]", f'[admin]\nclient_crl = "{crl.name}"'))
        self.start()
        otto, eve = self.add("otto", OFFICER), self.add("eve", OFFICER)
        by_otto, by_eve = self.create(otto, "one"), self.create(eve, "two")
        self.officer.certificates().RevokeCertificate(
            certificates_pb2.RevokeCertificateRequest(pem=self.hallmark.read("tls/otto.pem").decode()))
        crl.write_bytes(self.authority.crl([self.hallmark.read("tls/eve.pem")]))
        wait_for(lambda: self.reason(self.who, eve, eve.token) == "CERTIFICATE_REVOKED", "the list is in force")
        for number in (by_otto, by_eve):
            failed = self.second.approve(number)
            self.assertEqual(failed.state, operators_pb2.APPROVAL_STATE_FAILED)
            self.assertRegex(failed.outcome, "STATE_CONFLICT: .* is revoked")
        self.assertFalse({"one", "two"} & set(self.names()))

    def test_another_occasion_needs_another_word(self):
        """Three ask for the same, which is done once; when it has to be done once more, what still waited is no word for that."""
        self.start()
        third = self.add("third", OFFICER)
        self.add("eve", OPERATOR)
        policy = self.officer.policy()
        present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
        present.policy.partners.add(name="acme", author_domains=["acme.example"], signing_domains=["acme.example"],
                                    state=policy_pb2.PARTNER_STATE_ACTIVE)
        self.hallmark.with_approval(policy.ApplyPolicy, policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag))
        lost = fingerprint(self.authority.issue()[0]).hex()

        def revoke_certificate():
            self.officer.certificates().RevokeCertificate(
                certificates_pb2.RevokeCertificateRequest(fingerprint=lost, reason="stolen"))
        def set_partner(by, state):
            return by.policy().SetPartnerState(policy_pb2.SetPartnerStateRequest(name="acme", state=state))
        def revoke_partner():
            set_partner(self.officer, policy_pb2.PARTNER_STATE_REVOKED)
        # How it comes to it, what each asks for then, and how it comes to it once more.
        occasions = {
            "certificate": (revoke_certificate, lambda by: by.certificates().UnrevokeCertificate(
                certificates_pb2.UnrevokeCertificateRequest(fingerprint=lost)), revoke_certificate),
            "operator": (lambda: None, lambda by: by.operators().ResetOperator(
                operators_pb2.ResetOperatorRequest(name="eve")), self.hallmark.officer("eve").enroll),
            "partner": (revoke_partner, lambda by: set_partner(by, policy_pb2.PARTNER_STATE_ACTIVE), revoke_partner),
        }
        for name, (first, ask, again) in occasions.items():
            with self.subTest(name):
                first()
                *waiting, done = (self.hallmark.approval_of(self.hallmark.call_error(ask, by))
                                  for by in (self.officer, third, self.second))
                self.assertEqual(third.approve(done).state, operators_pb2.APPROVAL_STATE_DONE)
                again()
                for number in waiting:
                    self.refused("STATE_CONFLICT", self.second.operators().Approve, operators_pb2.ApproveRequest(id=number))
                    self.assertIn(f"the same was carried out as approval {done}", self.state(number).outcome)
                self.hallmark.with_approval(ask, self.officer)

    def test_a_partner_brought_back_in_another_way_leaves_no_word_behind(self):
        self.start()
        third = self.add("third", OFFICER)
        policy = self.officer.policy()
        present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
        present.policy.partners.add(name="acme", author_domains=["acme.example"], signing_domains=["acme.example"],
                                    state=policy_pb2.PARTNER_STATE_ACTIVE)
        present.policy.relays.add(name="another", identity="dns:another.example.com", partners=["own"])
        self.hallmark.with_approval(policy.ApplyPolicy, policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag))

        def set_state(by, state):
            return by.policy().SetPartnerState(policy_pb2.SetPartnerStateRequest(name="acme", state=state))
        def revoke():
            set_state(self.officer, policy_pb2.PARTNER_STATE_REVOKED)
            policy.RevokeRelay(policy_pb2.RevokeRelayRequest(name="another"))
        def bring_back(by, *more):
            """The relay, and the partner, with more author domains."""
            present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
            for relay in present.policy.relays:
                relay.state = admin_pb2.RELAY_STATE_ACTIVE
            for partner in present.policy.partners:
                if partner.name == "acme":
                    partner.state = policy_pb2.PARTNER_STATE_ACTIVE
                    partner.author_domains.extend(more)
            return by.policy().ApplyPolicy(policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag))
        def ask(call, *arguments):
            return self.hallmark.approval_of(self.hallmark.call_error(call, *arguments))

        revoke()
        waiting = [ask(set_state, self.officer, policy_pb2.PARTNER_STATE_ACTIVE), ask(bring_back, third, "more.example")]
        self.assertEqual(self.second.approve(ask(bring_back, self.officer)).state, operators_pb2.APPROVAL_STATE_DONE)
        revoke()
        for number in waiting:
            self.assertEqual(self.second.approve(number).state, operators_pb2.APPROVAL_STATE_FAILED)
            self.assertIn("STATE_CONFLICT", self.state(number).outcome)
        states = {partner.name: partner.state for partner in policy.GetPolicy(policy_pb2.GetPolicyRequest()).policy.partners}
        self.assertEqual(states["acme"], policy_pb2.PARTNER_STATE_REVOKED)
        again = ask(set_state, self.officer, policy_pb2.PARTNER_STATE_ACTIVE)
        self.assertRegex(self.state(again).danger, r"which was revoked in change \d+ of the policy$")

        # Nor is one that is suspended now let sign by a word for one that was revoked.
        self.assertEqual(self.second.approve(ask(bring_back, self.officer)).state, operators_pb2.APPROVAL_STATE_DONE)
        set_state(self.officer, policy_pb2.PARTNER_STATE_SUSPENDED)
        failed = self.second.approve(again)
        self.assertEqual(failed.state, operators_pb2.APPROVAL_STATE_FAILED)
        self.assertIn("not revoked any more", failed.outcome)
        states = {partner.name: partner.state for partner in policy.GetPolicy(policy_pb2.GetPolicyRequest()).policy.partners}
        self.assertEqual(states["acme"], policy_pb2.PARTNER_STATE_SUSPENDED)

        # The same where it was taken out of the policy, and is to be put in again.
        def put(by, *domains):
            """The partner "late", once more; or, without domains, taken out."""
            present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
            kept = [partner for partner in present.policy.partners if partner.name != "late"]
            del present.policy.partners[:]
            present.policy.partners.extend(kept)
            if domains:
                present.policy.partners.add(name="late", author_domains=domains, signing_domains=["late.example"],
                                            state=policy_pb2.PARTNER_STATE_ACTIVE)
            return by.policy().ApplyPolicy(policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag))
        waits = ask(put, third, "late.example", "more.example")
        self.assertEqual(self.second.approve(ask(put, self.officer, "late.example")).state, operators_pb2.APPROVAL_STATE_DONE)
        put(self.officer)
        self.assertEqual(self.second.approve(waits).state, operators_pb2.APPROVAL_STATE_FAILED)

    def test_a_request_names_its_occasion(self):
        self.start()
        lost = fingerprint(self.authority.issue()[0]).hex()
        self.officer.certificates().RevokeCertificate(
            certificates_pb2.RevokeCertificateRequest(fingerprint=lost, reason="stolen"))
        asked = self.hallmark.call_error(self.officer.certificates().UnrevokeCertificate,
                                         certificates_pb2.UnrevokeCertificateRequest(fingerprint=lost))
        self.assertRegex(asked.details(), lost + r" in again, which admin revoked at 20\S+Z: stolen")
        asked = self.hallmark.call_error(self.officer.operators().ResetOperator, operators_pb2.ResetOperatorRequest(name="officer2"))
        self.assertRegex(asked.details(), r"the one so far is of 20\S+Z")

    def test_the_policy_that_is_approved_is_the_one_that_was_looked_at(self):
        self.start()
        policy = self.officer.policy()
        present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
        present.policy.partners.add(name="acme", author_domains=["acme.example"], signing_domains=["acme.example"],
                                    state=policy_pb2.PARTNER_STATE_ACTIVE)
        request = policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag)
        number = self.hallmark.approval_of(self.hallmark.call_error(policy.ApplyPolicy, request))
        names = [partner.name for partner in policy.GetPolicy(policy_pb2.GetPolicyRequest()).policy.partners]
        self.assertNotIn("acme", names)
        policy.SetPartnerState(policy_pb2.SetPartnerStateRequest(name="own", state=policy_pb2.PARTNER_STATE_SUSPENDED))
        failed = self.second.approve(number)
        self.assertEqual(failed.state, operators_pb2.APPROVAL_STATE_FAILED)
        self.assertIn("changed meanwhile", failed.outcome)
        policy.SetPartnerState(policy_pb2.SetPartnerStateRequest(name="own", state=policy_pb2.PARTNER_STATE_ACTIVE))
        # The policy is as it was; what was asked for before is no word for it.
        self.refused("STATE_CONFLICT", policy.ApplyPolicy, request)
        request.etag = policy.GetPolicy(policy_pb2.GetPolicyRequest()).etag
        self.hallmark.with_approval(policy.ApplyPolicy, request)
        names = [partner.name for partner in policy.GetPolicy(policy_pb2.GetPolicyRequest()).policy.partners]
        self.assertIn("acme", names)

    def test_all_that_widens_is_told(self):
        """However much it is; the error says the beginning, since it must fit into trailers."""
        self.start()
        policy = self.officer.policy()
        present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
        for number in range(200):
            present.policy.relays.add(name=f"many{number}", identity=f"dns:many{number}.example", partners=["own"],
                                      state=admin_pb2.RELAY_STATE_ACTIVE)
        error = self.hallmark.call_error(policy.ApplyPolicy, policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag))
        self.assertLess(len(error.details()), 1500)
        approval = self.state(self.hallmark.approval_of(error))
        missing = [relay.name for relay in present.policy.relays[-200:] if f"{relay.identity} speaks for own" not in approval.danger]
        self.assertEqual(missing, [])

    def test_what_signerd_does_not_know_is_not_kept(self):
        self.start()
        number = self.create(self.officer, "eve")
        unknown = b"\xc2\x3e\x80\x80\x40" + bytes(1 << 20)  # field 1000, of 1 MiB
        request = operators_pb2.CreateOperatorRequest(name="eve", identity="uri:test:eve", role=AUDITOR)
        padded = operators_pb2.CreateOperatorRequest.FromString(request.SerializeToString() + unknown)
        self.assertGreater(padded.ByteSize(), 1 << 20)
        error = self.hallmark.call_error(self.officer.operators().CreateOperator, padded)
        self.assertEqual(self.hallmark.approval_of(error), number, "it is the same request")
        with contextlib.closing(sqlite3.connect(self.hallmark.folder / "state/hallmark.db")) as database:
            self.assertLess(database.execute("SELECT max(length(request)) FROM approval").fetchone()[0], 100)

    def test_wait_as_long_as_the_configuration_says(self):
        self.hallmark.edit_config(lambda text: text.replace("[admin]\n", "[admin]\napproval_hours = 5\n", 1))
        self.start()
        approval = self.state(self.create(self.officer, "eve"))
        self.assertEqual(approval.expire_time.seconds - approval.create_time.seconds, 5 * 3600)

    def test_survive_a_crash_expire_and_are_rejected(self):
        self.start()
        kept, late, own = self.create(self.officer, "kept"), self.create(self.officer, "late"), self.create(self.officer, "own")
        rejected = self.officer.operators().Reject(operators_pb2.RejectRequest(id=own, reason="a mistake"))
        self.assertEqual((rejected.state, rejected.outcome), (operators_pb2.APPROVAL_STATE_REJECTED, "a mistake"))
        self.hallmark.kill()
        database = sqlite3.connect(self.hallmark.folder / "state/hallmark.db")
        with database:  # as if the day was over
            database.execute("UPDATE approval SET expires = 1 WHERE id = ?", (late,))
        database.close()
        self.hallmark.start()
        self.assertEqual(self.state(late).state, operators_pb2.APPROVAL_STATE_EXPIRED)
        for number in (late, own):
            self.refused("STATE_CONFLICT", self.second.operators().Approve, operators_pb2.ApproveRequest(id=number))
        self.assertEqual(self.second.approve(kept).state, operators_pb2.APPROVAL_STATE_DONE)
        self.assertEqual(set(self.names()), {"admin", "officer2", "kept"})

    def test_removed_and_reset_at_once(self):
        self.start()
        otto, eve = self.add("otto", OPERATOR), self.add("eve", OFFICER)
        self.officer.operators().RemoveOperator(operators_pb2.RemoveOperatorRequest(name="otto"))
        self.refused("CALLER_UNKNOWN", self.who, otto, otto.token)
        self.who(eve, eve.token)
        self.hallmark.with_approval(self.officer.operators().ResetOperator, operators_pb2.ResetOperatorRequest(name="eve"))
        self.refused("LOGIN_REQUIRED", self.who, eve, eve.token)
        eve.enroll()
        self.who(eve, eve.token)
        self.hallmark.with_approval(self.officer.operators().RemoveOperator, operators_pb2.RemoveOperatorRequest(name="eve"))
        self.refused("CALLER_UNKNOWN", self.who, eve, eve.token)

    def test_a_key_that_signed_again_is_not_revoked_by_the_word_from_before(self):
        self.start()
        key = self.hallmark.add_domain("example.com", algorithms=[admin_pb2.KEY_ALGORITHM_ED25519] * 2)[0]
        named = {"domain": "example.com", "selector": key.selector}
        admin = self.hallmark.admin()
        retired = admin.RetireKey(admin_pb2.RetireKeyRequest(**named))
        number = self.hallmark.approval_of(self.hallmark.call_error(admin.RevokeKey, admin_pb2.RevokeKeyRequest(**named)))
        self.assertRegex(self.state(number).danger, r", RETIRING since 20\S+Z, after which")
        def retire_once_more():
            admin.ActivateKey(admin_pb2.ActivateKeyRequest(unpublished=True, **named))
            return admin.RetireKey(admin_pb2.RetireKeyRequest(**named)).state_time != retired.state_time
        wait_for(retire_once_more, "it is retired in a later second")
        failed = self.second.approve(number)
        self.assertEqual(failed.state, operators_pb2.APPROVAL_STATE_FAILED)
        self.assertEqual(admin.GetKey(admin_pb2.GetKeyRequest(**named)).state, admin_pb2.KEY_STATE_RETIRING)

    def test_what_people_write_is_short(self):
        self.start()
        self.hallmark.add_domain("example.com", algorithms=deployment.KEY_ALGORITHMS[1:])
        number = self.create(self.officer, "eve")
        rotation = self.officer.rotation()
        for reason in ("x" * 201, "a\nb"):
            with self.subTest(reason):
                self.refused("INVALID_ARGUMENT", self.officer.operators().Reject, operators_pb2.RejectRequest(id=number, reason=reason))
                self.refused("INVALID_ARGUMENT", rotation.PauseRotation,
                             rotation_pb2.PauseRotationRequest(domain="example.com", reason=reason))
        self.assertEqual(self.state(number).state, operators_pb2.APPROVAL_STATE_WAITING)
        self.assertFalse(rotation.GetRotation(rotation_pb2.GetRotationRequest(domain="example.com")).paused)
        rotation.PauseRotation(rotation_pb2.PauseRotationRequest(domain="example.com", reason="x" * 200))
        self.officer.operators().Reject(operators_pb2.RejectRequest(id=number, reason="x" * 200))
        # A name that is not known is repeated in the log, up to a length.
        self.refused("NOT_FOUND", self.officer.policy().GetPartner, policy_pb2.GetPartnerRequest(name="n" * 100_000))
        wait_for(lambda: "GetPartner by admin failed" in self.hallmark.log_text(), "the line in the log")
        self.assertLess(max(map(len, self.hallmark.log_text().splitlines())), 2000)

    def test_a_key_is_revoked_by_two(self):
        self.start()
        keys = self.hallmark.add_domain("example.com", algorithms=[admin_pb2.KEY_ALGORITHM_ED25519] * 2)
        names = ("example.com", keys[0].selector)
        self.assertIn("STATE_CONFLICT", self.hallmark.dkimctl("key", "revoke", *names, "--yes", status=1).stderr)
        self.hallmark.dkimctl("key", "retire", *names)
        self.assertIn("say --yes", self.hallmark.dkimctl("key", "revoke", *names, status=1).stderr)
        self.hallmark.dkimctl_with_approval("key", "revoke", *names, "--yes")
        self.assertEqual(self.hallmark.dkimctl_json("key", "show", *names)["state"], "KEY_STATE_REVOKED")
        lines = [line for line in self.hallmark.key_lines(["example.com"]) if line.startswith(keys[0].selector + ".")]
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], r"p=\s*$")
        self.assertIn("STATE_CONFLICT", self.hallmark.dkimctl("key", "activate", *names, status=1).stderr)
        acts = [act for act in self.acts() if act.method == "RevokeKey" and act.approval]
        self.assertEqual([(act.operator, act.outcome) for act in acts],
                         [("admin", "APPROVAL_REQUIRED"), ("admin", "BEGUN"), ("admin", "OK")])
        for act in acts:
            self.assertIn(keys[0].selector, act.request)


class StreamsTest(Case):
    """Answers that take long, and callers who do not read them."""

    def start(self):
        super().start()
        wait_for(lambda: self.export(self.second) == "", "the first checkpoint, without which there is nothing to export")

    def unread(self, officer):
        """A connection with three exports whose answers this officer does not take; a fourth was refused, so that they are under way."""
        pair = [self.hallmark.read(f"tls/{officer.files}.{ending}") for ending in ("pem", "key")]
        peer = raw_http2.RawHttp2(self.hallmark.admin_address, raw_http2.tls_context(self.hallmark.read("tls/server-ca.pem"), pair))
        self.addCleanup(peer.close)
        peer.greet(INITIAL_WINDOW_SIZE=0)
        for stream in (1, 3, 5, 7):
            peer.send(peer.call_headers(stream, "/hallmark.admin.v1.LedgerService/ExportLedger", more=[("hallmark-session", officer.token)]) +
                      raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, stream,
                                      raw_http2.grpc_message(ledger_pb2.ExportLedgerRequest().SerializeToString())))
        self.decoder = hpack.Decoder()
        _, refused = self.end_of_a_stream(peer)
        self.assertEqual(refused, str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]))
        return peer

    def end_of_a_stream(self, peer):
        """The frames up to the next stream's end, and its status."""
        frames = []
        while True:
            frames += peer.wait_for(lambda one: one.kind == raw_http2.HEADERS)
            headers = dict(self.decoder.decode(frames[-1].payload))
            if frames[-1].flags & raw_http2.END_STREAM:
                return frames, headers["grpc-status"]

    def export(self, officer):
        """The reason why an export of this officer is refused; "" where it is not."""
        try:
            list(officer.ledger().ExportLedger(ledger_pb2.ExportLedgerRequest(), timeout=120))
        except grpc.RpcError as error:
            return deployment.error_reason(error)
        return ""

    def test_that_nobody_reads_hold_up_nobody_else(self):
        self.start()
        self.unread(self.officer)
        self.assertEqual(self.export(self.officer), "OVERLOADED")
        self.assertEqual(self.export(self.second), "")
        wait_for(lambda: self.export(self.officer) == "", "the end of what nobody reads", 180)

    def test_end_with_the_session(self):
        self.start()
        peer = self.unread(self.officer)
        self.plain(self.officer).Logout(operators_pb2.LogoutRequest(), metadata=[("hallmark-session", self.officer.token)], timeout=30)
        peer.send(raw_http2.settings(INITIAL_WINDOW_SIZE=1 << 20))
        ends = [self.end_of_a_stream(peer) for _ in range(3)]
        self.assertEqual({status for _, status in ends}, {str(grpc.StatusCode.UNAUTHENTICATED.value[0])})
        octets = b"".join(one.payload for frames, _ in ends for one in frames if one.kind == raw_http2.DATA)
        self.assertNotIn(b"segments/", octets)


class LedgerTest(Case):
    def test_every_call_and_no_secret(self):
        self.start()
        admin = self.officer.admin()
        admin.CreateDomain(admin_pb2.CreateDomainRequest(name="example.com"))
        admin.GetDomain(admin_pb2.GetDomainRequest(name="example.com"))
        self.hallmark.call_error(admin.GetDomain, admin_pb2.GetDomainRequest(name="none.example"))
        otto = self.add("otto", AUDITOR)
        self.hallmark.call_error(otto.admin().CreateDomain, admin_pb2.CreateDomainRequest(name="otto.example"))
        stranger = self.issue("stranger", "test:stranger")
        for officer in (stranger, self.second):
            self.hallmark.call_error(self.plain(officer).WhoAmI, operators_pb2.WhoAmIRequest())
        self.hallmark.call_error(self.login, self.second, "000000")

        def told(method, outcome):
            return [(act.operator, act.certificate, act.request) for act in self.acts()
                    if (act.method, act.outcome) == (method, outcome)]

        # What is counted is written a moment later.
        counted = (("WhoAmI", "CALLER_UNKNOWN"), ("WhoAmI", "LOGIN_REQUIRED"), ("Login", "LOGIN_REFUSED"))
        wait_for(lambda: all(told(*act) for act in counted), "what is counted")
        admin_certificate = fingerprint(self.hallmark.read("tls/operator.pem"))
        self.assertEqual(told("CreateDomain", "BEGUN"), [("admin", admin_certificate, '{"name":"example.com"}')])
        self.assertEqual(told("CreateDomain", "OK"), told("CreateDomain", "BEGUN"))
        self.assertEqual(told("GetDomain", "OK"), [("admin", admin_certificate, '{"name":"example.com"}')])
        self.assertEqual(told("GetDomain", "NOT_FOUND"), [("admin", admin_certificate, '{"name":"none.example"}')])
        otto_certificate = fingerprint(self.hallmark.read("tls/otto.pem"))
        self.assertEqual(told("CreateDomain", "ROLE_NOT_ALLOWED"), [("otto", otto_certificate, '{"name":"otto.example"}')])
        self.assertEqual(told("WhoAmI", "CALLER_UNKNOWN"), [("", fingerprint(self.hallmark.read("tls/stranger.pem")), "")])
        second_certificate = fingerprint(self.hallmark.read("tls/officer2.pem"))
        self.assertEqual(told("WhoAmI", "LOGIN_REQUIRED"), [("officer2", second_certificate, "")])
        self.assertEqual(told("Login", "LOGIN_REFUSED"), [("officer2", second_certificate, "")])
        self.assertEqual([name for name, _, _ in told("FinishEnrollment", "OK")], ["admin", "officer2", "otto"])

        kept = b"".join(ledger_files.leaves(self.hallmark.folder / "state/ledger")) + self.hallmark.log_text().encode()
        for files in ("operator", "officer2", "otto"):
            for ending in ("totp", "session"):
                self.assertNotIn((self.hallmark.folder / f"secrets/{files}.{ending}").read_bytes().strip(), kept)
        self.assertNotIn(b"otpauth", kept)
        self.assertNotIn(b'"code"', kept)

    def test_what_is_changed(self):
        """Also of a request of which a record has the beginning only."""
        self.start()
        policy = self.officer.policy()
        present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
        for number in range(100):
            present.policy.partners.add(name=f"many{number:02}", author_domains=["a.example"], signing_domains=["a.example"],
                                        watch=policy_pb2.WatchSettings(hard_limit_per_minute=50),
                                        state=policy_pb2.PARTNER_STATE_ACTIVE)
        request = policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag)
        approval = self.hallmark.with_approval(policy.ApplyPolicy, request)
        acts = [act for act in self.acts() if act.approval == approval.id]
        self.assertEqual([act.outcome for act in acts], ["APPROVAL_REQUIRED", "BEGUN", "BEGUN", "OK"])
        asked, begun, announced, ended = [list(act.changes) for act in acts]
        self.assertIn("partner many99: sends with a.example", approval.danger)
        self.assertEqual((asked, begun), ([approval.danger], [approval.danger]))
        self.assertEqual([sentence.split(": sends")[0] for sentence in announced],
                         [f"partner many{number:02}: added" for number in range(100)])
        self.assertEqual(ended, begun + announced)
        approved = [list(act.changes) for act in self.acts() if (act.method, act.outcome) == ("Approve", "OK")]
        self.assertEqual(approved, [[approval.danger]])
        self.assertEqual({(len(act.request), len(act.request_sha256)) for act in acts}, {(4096, 32)})
        self.assertEqual(len({act.request_sha256 for act in acts}), 1)

        # What needs nobody's word is told too.
        present = policy.GetPolicy(policy_pb2.GetPolicyRequest())
        for partner in list(present.policy.partners):
            if partner.name == "many07":
                present.policy.partners.remove(partner)
            elif partner.name == "many08":
                partner.watch.hard_limit_per_minute = 0
        request = policy_pb2.ApplyPolicyRequest(policy=present.policy, etag=present.etag, validate_only=True)
        policy.ApplyPolicy(request)
        request.validate_only = False
        before = len(self.acts())
        policy.ApplyPolicy(request)
        changes = ["partner many07: removed", "partner many08: watch.hard_limit_per_minute: 50 -> no limit"]
        acts = [(act.outcome, list(act.changes)) for act in self.acts()[before:]]
        self.assertEqual(acts, [("BEGUN", []), ("BEGUN", changes), ("OK", changes)])
        wait_for(lambda: changes[0] in self.hallmark.dkimctl("ledger", "search", "--kind", "admin_act", "--output", "csv").stdout,
                 "the index has it")

    def test_a_caller_writes_no_line_of_the_log(self):
        self.start()
        forged = "signerd error: all is lost"
        request = policy_pb2.GetPartnerRequest(name=f"x\n{forged}\r\x1b[2J\x7f\u0085")
        self.refused("NOT_FOUND", self.officer.policy().GetPartner, request)
        log = wait_for(lambda: forged in self.hallmark.log_text() and self.hallmark.log_text(), "the line of the refusal")
        self.assertIn(f"x\\x0a{forged}\\x0d\\x1b[2J\\x7f", log)
        for wrong in ("\n" + forged, "\x1b", "\x7f", "\u0085"):
            self.assertNotIn(wrong, log)

    def test_a_flood_of_refused_logins(self):
        self.start()
        self.hallmark.add_domain("example.com", algorithms=deployment.KEY_ALGORITHMS[1:])
        for _ in range(5):
            self.hallmark.call_error(self.login, self.second, "000000")
        stranger = self.issue("stranger", "test:stranger")
        database = [self.hallmark.folder / f"state/hallmark.db{ending}" for ending in ("", "-wal")]

        def counts(acts):
            result = {}
            for act in acts:
                if act.method == "Login":
                    result[act.outcome] = result.get(act.outcome, 0) + act.count
            return result

        wait_for(lambda: sum(counts(self.acts()).values()) == 5, "the five are written")
        written = set()  # states of the files

        def look():
            written.add(tuple(path.stat().st_mtime_ns for path in database if path.exists()))

        look()
        on_ledger = len(self.acts())
        refused, wrong, stop, mutex = {"LOCKED_OUT": 0, "CALLER_UNKNOWN": 0}, [], threading.Event(), threading.Lock()

        def flood(officer):
            stub = self.plain(officer)
            while not stop.is_set():
                calls = [stub.Login.future(operators_pb2.LoginRequest(code="000000"), timeout=30) for _ in range(50)]
                for call in calls:
                    reason = deployment.error_reason(call.exception())
                    with mutex:
                        refused[reason] = refused.get(reason, 0) + 1

        threads = [threading.Thread(target=flood, args=(officer,)) for officer in (self.second, stranger)]
        for thread in threads:
            thread.start()
        try:
            begun, signed = time.monotonic(), 0
            while sum(refused.values()) < 3000 or signed < 100:
                try:
                    signed += len(self.hallmark.sign(messages.MESSAGE).signatures)
                except grpc.RpcError as error:
                    wrong.append(error.details())
                look()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        look()
        minutes = 1 + (time.monotonic() - begun) // 60
        self.assertEqual(wrong, [])
        self.assertEqual(set(refused), {"LOCKED_OUT", "CALLER_UNKNOWN"})
        # What is learnt of the traffic is kept each minute.
        self.assertLessEqual(len(written), 3 * minutes, "the database was written to")
        wait_for(lambda: counts(self.acts()[on_ledger:]) == refused, lambda: f"{counts(self.acts()[on_ledger:])} is {refused}")
        self.assertLess(len(self.acts()) - on_ledger, 200 * minutes, "counted, not listed")


class CommandsTest(Case):
    def test_sessions(self):
        self.start()
        self.assertIn("admin (officer), logged in until", self.hallmark.dkimctl("whoami").stdout)
        self.assertEqual(self.hallmark.dkimctl_json("whoami", "--as", "officer2")["operator"]["name"], "officer2")
        self.hallmark.dkimctl("logout")
        self.assertFalse((self.hallmark.folder / "secrets/operator.session").exists())
        # With the secret's file dkimctl logs in by itself; without it somebody has to.
        self.assertIn("admin (officer)", self.hallmark.dkimctl("whoami").stdout)
        self.assertEqual((self.hallmark.folder / "secrets/operator.session").stat().st_mode & 0o777, 0o600)
        self.hallmark.dkimctl("logout")
        secret = self.hallmark.folder / "secrets/operator.totp"
        text = secret.read_text()
        secret.unlink()
        run = self.hallmark.dkimctl("status", status=1)
        self.assertRegex(run.stderr, r"LOGIN_REQUIRED: .*dkimctl login")
        self.assertIn("--code", self.hallmark.dkimctl("login", status=2).stderr)
        self.assertIn("LOGIN_REFUSED", self.hallmark.dkimctl("login", "--code", "000000", status=1).stderr)
        code = officers.code_at(text.strip(), officers.present_step() + 1)
        self.assertIn("admin (officer)", self.hallmark.dkimctl("login", "--code", code).stdout)
        self.hallmark.dkimctl("status")

    def test_operators_and_approvals(self):
        self.start()
        run = self.hallmark.dkimctl("operator", "add", "eve", "uri:test:eve", "--role", "auditor", status=5)
        self.assertRegex(run.stderr, r"APPROVAL_REQUIRED: .*dkimctl approvals approve (\d+)")
        number = re.search(r"approve (\d+)", run.stderr)[1]
        self.assertIn("ROLE_NOT_ALLOWED", self.hallmark.dkimctl("approvals", "approve", number, "--yes", status=1).stderr)
        listed = self.hallmark.dkimctl("approvals", "list").stdout
        self.assertIn("adds eve", listed)
        shown = self.hallmark.dkimctl("approvals", "show", number).stdout
        self.assertIn("asked by:", shown)
        self.hallmark.dkimctl("approvals", "approve", number, "--as", "officer2", status=1)  # nobody was asked
        done = self.hallmark.dkimctl_json("approvals", "approve", number, "--as", "officer2", "--yes")
        self.assertEqual((done["state"], done["decider"]), ("APPROVAL_STATE_DONE", "officer2"))
        table = self.hallmark.dkimctl("operator", "list").stdout
        for output in (listed, shown, table):
            self.assertLessEqual(max(map(len, output.splitlines())), 80, output)
        rows = {row["name"]: row["state"] for row in self.hallmark.dkimctl_json("operator", "list")["operators"]}
        self.assertEqual(rows["eve"], "OPERATOR_STATE_INVITED")
        self.issue("eve", "test:eve")
        secret = self.hallmark.folder / "secrets/eve.totp"
        self.hallmark.dkimctl("operator", "enroll", "--as", "eve", "--secret-out", secret)
        self.assertEqual(secret.stat().st_mode & 0o777, 0o600)
        self.assertIn("ROLE_NOT_ALLOWED", self.hallmark.dkimctl("domain", "add", "x.example", "--as", "eve", status=1).stderr)
        self.hallmark.dkimctl("operator", "remove", "eve", status=1)
        self.hallmark.dkimctl("operator", "remove", "eve", "--yes")
        self.assertIn("CALLER_UNKNOWN", self.hallmark.dkimctl("whoami", "--as", "eve", status=1).stderr)
        self.hallmark.dkimctl("operator", "reset", "officer2", status=5)
        number = self.hallmark.dkimctl_json("approvals", "list")["approvals"][0]["id"]
        self.hallmark.dkimctl("approvals", "reject", number, "--reason", "found it")
        self.assertEqual(self.hallmark.dkimctl_json("approvals", "list")["approvals"], [])

    def test_enrolment_on_a_terminal(self):
        self.hallmark.start(enroll=False)
        self.assertIn("--secret-out", self.hallmark.dkimctl("operator", "enroll", status=2).stderr)
        ours, theirs = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        with subprocess.Popen([deployment.BIN / "dkimctl", "--dir", self.hallmark.folder, "operator", "enroll", "--name", "anna"],
                              stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as run:
            os.close(theirs)
            shown = self.read_until(ours, b"authenticator: ")
            self.assertIn("▀", shown)
            uri = re.search(r"otpauth://\S+", shown)[0]
            code = officers.code_at(officers.secret_of(uri), officers.present_step())
            os.write(ours, code.encode() + b"\n")
            self.assertIn("anna is enrolled as officer", self.read_until(ours, b"logged in"))
            self.assertEqual(run.wait(30), 0)
        os.close(ours)
        self.assertIn("anna (officer)", self.hallmark.dkimctl("whoami").stdout)

    def test_private_key_in_a_token(self):
        self.start()
        folder = self.hallmark.folder
        environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm/softhsm2.conf")}
        subprocess.run(["softhsm2-util", "--import", folder / "tls/operator.key", "--token", "hallmark", "--label", "operator",
                        "--id", "0a", "--pin", self.hallmark.pin_file().read_text().strip()],
                       env=environment, check=True, capture_output=True)
        (folder / "tls/operator.key").unlink()
        self.assertIn("operator.key", self.hallmark.dkimctl("whoami", status=1).stderr)
        uri = f"pkcs11:token=hallmark;object=operator;type=private?pin-source=file:{self.hallmark.pin_file()}"
        module = re.search(r'module = "(.*)"', self.hallmark.config.read_text())[1]
        client = folder / "dkimctl.toml"
        client.write_text(client.read_text().replace('private_key = "tls/operator.key"',
                                                     f'private_key = "{uri}"\nmodule = "{module}"'))
        self.assertIn("admin (officer)", self.hallmark.dkimctl("whoami", env=environment).stdout)
        self.hallmark.dkimctl("domain", "add", "example.com", env=environment)

    def read_until(self, descriptor, mark):
        content, end = b"", time.monotonic() + 30
        while mark not in content:
            self.assertLess(time.monotonic(), end, content)
            if select.select([descriptor], [], [], 1)[0]:
                content += os.read(descriptor, 65536)
        return content.decode()


if __name__ == "__main__":
    unittest.main()
