"""`dkimctl posture` and `dkimctl dns suggest` on zones that a real DNS server serves, and with a real signerd.

The zones are in posture_zones.py: each with exactly the ids that must be found.
"""

import json
import pathlib
import re
import subprocess
import unittest
import unittest.mock

import dns.exception
import dns.resolver
import spf

import deployment
import knot
import paths
import posture_zones
import rotation_test

from hallmark.admin.v1 import admin_pb2, policy_pb2

FINDINGS = 6
SOURCE = paths.TESTS.parent


def dkimctl(*arguments, status=0):
    """Runs dkimctl without any set-up."""
    command = [deployment.BIN / "dkimctl", "--dir", "/nonexistent/hallmark", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if status is not None and run.returncode != status:
        raise AssertionError(f"dkimctl {arguments} ended with {run.returncode}, not {status}:\n{run.stdout}{run.stderr}")
    return run


def posture(server, *arguments, status=None):
    """The domains of the JSON form."""
    run = dkimctl("posture", *arguments, "--offline", "--nameserver", f"127.0.0.1:{server.port}", "--output", "json",
                  status=status)
    return json.loads(run.stdout)["domains"]


def ids(domain):
    return {finding["id"] for finding in domain["findings"]}


def find(domain, wanted):
    """The one finding of this id."""
    [finding] = [finding for finding in domain["findings"] if finding["id"] == wanted]
    return finding


def all_kinds():
    """Every id and its severity, from the source."""
    text = (SOURCE / "tools/posture/kinds.h").read_text()
    return dict(re.findall(r'\{\s*"([A-Z0-9_]+)",\s*Severity::k(\w+)', text))


class ZonesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = knot.Knot(posture_zones.records(), posture_zones.BROKEN)
        cls.addClassCleanup(cls.server.close)
        # One run for all that name the same selectors.
        cls.judged = {}
        for selectors in {case.selectors for case in posture_zones.CASES}:
            domains = [case.domain for case in posture_zones.CASES if case.selectors == selectors]
            cls.judged |= {judged["domain"]: judged for judged in posture(cls.server, *domains, *cls.naming(selectors))}

    @staticmethod
    def naming(selectors):
        return [word for name in selectors for word in ("--selector", name)]

    def test_every_zone_has_exactly_its_findings(self):
        self.assertGreaterEqual(len(posture_zones.CASES), 80)
        for case in posture_zones.CASES:
            with self.subTest(case.domain):
                judged = self.judged[case.domain]
                found = "\n".join(f"{f['id']} {f['name']}: {f['what']}" for f in judged["findings"])
                self.assertEqual(ids(judged), case.expected, found)

    def test_every_kind_is_expected_somewhere(self):
        expected = set().union(*(case.expected for case in posture_zones.CASES))
        self.assertEqual(set(all_kinds()) - expected - posture_zones.WITH_SIGNERD, set())

    def test_every_kind_is_documented_with_its_severity(self):
        text = (SOURCE / "docs/operations.md").read_text()
        rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| (\w+) \|", text, re.MULTILINE))
        self.assertEqual(rows, {name: severity.lower() for name, severity in all_kinds().items()})

    def test_each_finding_says_what_and_why(self):
        for domain in self.judged.values():
            for finding in domain["findings"]:
                with self.subTest(domain["domain"], finding=finding["id"]):
                    self.assertIn(finding["severity"], ("error", "warning", "note"))
                    self.assertTrue(finding["name"] and finding["what"])
                    self.assertTrue(finding["why"].endswith("."))

    def test_a_record_comes_where_one_follows(self):
        """With one finding of a kind at least: one record may put several right."""
        seen = set()
        for case in posture_zones.CASES:
            findings = self.judged[case.domain]["findings"]
            with_record = {finding["id"] for finding in findings if finding["publish"]}
            wanted = {kind for kind in case.expected & posture_zones.WITH_RECORD
                      if (case.domain, kind) not in posture_zones.WITHOUT_RECORD}
            with self.subTest(case.domain):
                self.assertEqual(with_record, wanted)
            seen |= with_record
        self.assertEqual(seen, posture_zones.WITH_RECORD)

    def test_suggested_records_put_it_right(self):
        """Each record that a finding names is published in place of what is there: then the finding is gone."""
        for case in posture_zones.CASES:
            for finding in self.judged[case.domain]["findings"]:
                if not finding["publish"]:
                    continue
                with self.subTest(case.domain, finding=finding["id"]):
                    owner = finding["publish"][0].split()[0]
                    kept = [line for line in posture_zones.records() if not re.match(rf"{re.escape(owner)} \S+ ", line)]
                    with knot.Knot(kept + finding["publish"], posture_zones.BROKEN) as mended:
                        [after] = posture(mended, case.domain, *self.naming(case.selectors))
                    self.assertNotIn((finding["id"], finding["name"]),
                                     [(other["id"], other["name"]) for other in after["findings"]])

    def test_what_was_published_and_good_stays_in_a_suggested_record(self):
        for domain, kind, wanted in (
                ("spf-after-all-beside.test", "SPF_IGNORED_TERMS", "v=spf1 ip4:192.0.2.1 -all exp=why.spf-after-all-beside.test"),
                ("spf-modifier-and-redirect.test", "SPF_UNKNOWN_MODIFIER", "v=spf1 redirect=_spf.spf-modifier-and-redirect.test"),
                ("spf-modifiers.test", "SPF_UNKNOWN_MODIFIER", "v=spf1 ip4:192.0.2.1 -all exp=why.spf-modifiers.test"),
                ("spf-include-none-beside.test", "SPF_INCLUDE_NONE", "v=spf1 ip4:192.0.2.1 -all"),
                ("spf-loop.test", "SPF_LOOP", "v=spf1 ip4:192.0.2.7 -all"),
                ("dmarc-bad-percent.test", "DMARC_BAD_VALUE", "v=DMARC1; p=reject; rua=mailto:d@dmarc-bad-percent.test"),
                ("dmarc-unknown-tags.test", "DMARC_UNKNOWN_TAG", "v=DMARC1; p=reject; rua=mailto:d@dmarc-unknown-tags.test"),
                ("bimi-weakest.test", "BIMI_DMARC_TOO_WEAK", "v=DMARC1; p=quarantine; rua=mailto:d@bimi-weakest.test"),
                ("bimi-partial.test", "BIMI_DMARC_TOO_WEAK", "v=DMARC1; p=reject; rua=mailto:d@bimi-partial.test"),
                ("news.bimi-inherited.test", "BIMI_DMARC_TOO_WEAK", "v=DMARC1; p=reject; rua=mailto:d@bimi-inherited.test"),
                ("sts-two.test", "MTA_STS_SEVERAL_RECORDS", "v=STSv1; id=2;"),
                ("sts-nine-and-ten.test", "MTA_STS_SEVERAL_RECORDS", "v=STSv1; id=10;"),
                ("sts-bad-id.test", "MTA_STS_SYNTAX", "v=STSv1; id=20260131;"),
                ("tls-two.test", "TLS_RPT_SEVERAL_RECORDS", "v=TLSRPTv1; rua=mailto:d@tls-two.test,mailto:e@tls-two.test"),
                ("tls-twice.test", "TLS_RPT_SYNTAX", "v=TLSRPTv1; rua=mailto:d@tls-twice.test,mailto:e@tls-twice.test"),
                ("tls-semicolon.test", "TLS_RPT_SYNTAX", "v=TLSRPTv1; rua=mailto:d@tls-semicolon.test,"
                 "mailto:e@tls-semicolon.test?subject=x,mailto:f@tls-semicolon.test"),
                ("tls-half-good.test", "TLS_RPT_ADDRESS", "v=TLSRPTv1; rua=mailto:d@tls-half-good.test,mailto:e@tls-half-good.test")):
            with self.subTest(domain):
                first = next(finding for finding in self.judged[domain]["findings"] if finding["id"] == kind)
                [line] = first["publish"]
                self.assertIn(f' TXT "{wanted}"', line)

    def test_what_a_redirect_leads_to_is_not_put_right_in_its_place(self):
        for domain, kind in ("spf-redirect-neutral.test", "SPF_NEUTRAL_ALL"), ("spf-redirect-no-all.test", "SPF_NO_ALL"):
            finding = find(self.judged[domain], kind)
            self.assertEqual(finding["publish"], [], domain)
            self.assertIn(f"what redirect=_spf.{domain} leads to", finding["what"])

    def test_modifiers_stay_in_a_suggested_record(self):
        [line] = find(self.judged["spf-neutral-modifiers.test"], "SPF_NEUTRAL_ALL")["publish"]
        self.assertIn("v=spf1 ip4:192.0.2.1 ~all x-note=y exp=why.spf-neutral-modifiers.test", line)

    def test_third_parties_are_named_with_what_they_let_in(self):
        judged = self.judged["spf-third-parties.test"]
        named = {finding["name"]: finding["what"] for finding in judged["findings"] if finding["id"] == "SPF_THIRD_PARTY"}
        self.assertEqual(set(named), {"esp.test", "relay.other.test", "crm.test"})
        self.assertIn("lets in 2 IPv4 networks (addresses: 264) and 1 IPv6 network, through more.esp.test", named["esp.test"])
        self.assertIn("lets in 1 IPv4 network (addresses: 1)", named["relay.other.test"])
        self.assertIn('"include:crm.test" in the record of own.spf-third-parties.test', named["crm.test"])

    def test_lookups_are_counted_through_includes(self):
        judged = self.judged["spf-eleven.test"]
        self.assertIn("needs 11 lookups", find(judged, "SPF_TOO_MANY_LOOKUPS")["what"])
        judged = self.judged["spf-endless.test"]
        self.assertIn("at least 60 lookups", find(judged, "SPF_TOO_MANY_LOOKUPS")["what"])
        judged = self.judged["spf-three-void.test"]
        self.assertIn("3 lookups find nothing", find(judged, "SPF_TOO_MANY_VOID_LOOKUPS")["what"])

    def test_exit_codes(self):
        at = ("--offline", "--nameserver", f"127.0.0.1:{self.server.port}")
        dkimctl("posture", "good.test", *at, status=0)
        dkimctl("posture", "good.test", "--fail-on", "warning", *at, status=0)
        dkimctl("posture", "spf-neutral.test", *at, status=0)
        dkimctl("posture", "spf-neutral.test", "--fail-on", "warning", *at, status=FINDINGS)
        dkimctl("posture", "good.test", "spf-none.test", *at, status=FINDINGS)
        dkimctl("posture", "dmarc-servfail.test", *at, status=1)  # not judged, not known to be wrong
        dkimctl("posture", "dmarc-servfail.test", "spf-none.test", *at, status=FINDINGS)
        dkimctl("posture", "no..name", *at, status=2)
        dkimctl("posture", "good.test", "--selector", "a b", *at, status=2)
        dkimctl("posture", "good.test", "--offline", "--nameserver", "dns.test", status=2)

    def test_works_without_a_set_up_and_says_so(self):
        run = dkimctl("posture", "good.test", "--nameserver", f"127.0.0.1:{self.server.port}", "--output", "json")
        [judged] = json.loads(run.stdout)["domains"]
        self.assertFalse(judged["compared_with_keys"])
        self.assertIn("dkimctl.toml does not exist", find(judged, "SIGNERD_UNAVAILABLE")["what"])
        self.assertEqual(ids(judged), posture_zones.GOOD - {"KEYS_NOT_COMPARED"} | {"SIGNERD_UNAVAILABLE"})

    def test_text_is_for_people_and_records_can_be_copied(self):
        run = dkimctl("posture", "spf-pass-all.test", "good.test", "--offline", "--nameserver",
                      f"127.0.0.1:{self.server.port}", status=FINDINGS)
        self.assertIn("spf-pass-all.test: 1 error, 0 warnings, 4 notes\n", run.stdout)
        self.assertIn("\ngood.test: 0 errors, 0 warnings, 4 notes\n", run.stdout)
        self.assertIn('error SPF_PASS_ALL spf-pass-all.test\n  the record ends with "+all"\n', run.stdout)
        self.assertIn('  Publish:\n    spf-pass-all.test. 3600 IN TXT "v=spf1 ip4:192.0.2.1 ~all"\n', run.stdout)
        for line in run.stdout.splitlines():
            self.assertTrue(len(line) <= 80 or line.startswith("    "), line)
            self.assertTrue(line.isprintable(), line)
        self.assertLess(run.stdout.index("error "), run.stdout.index("note "))

    def test_names_are_taken_as_people_write_them(self):
        [judged] = posture(self.server, "Good.TEST.")
        self.assertEqual(judged["domain"], "good.test")
        self.assertEqual(ids(judged), posture_zones.GOOD)


class SpfReferenceTest(unittest.TestCase):
    """Where a real evaluation (pyspf) ends with permerror, posture names an error that says so; and nowhere else."""

    NO_PERMERROR = {"SPF_MISSING", "SPF_PASS_ALL"}  # what is wrong, but not in error

    @classmethod
    def setUpClass(cls):
        cls.server = knot.Knot(posture_zones.records(), posture_zones.BROKEN)
        cls.addClassCleanup(cls.server.close)
        asked = dns.resolver.Resolver(configure=False)
        asked.nameservers, asked.port = ["127.0.0.1"], cls.server.port
        cls.enterClassContext(unittest.mock.patch.object(spf, "DNSLookup", cls.lookup_by(asked)))

    @staticmethod
    def lookup_by(asked):
        """What pyspf calls to ask the DNS, by a resolver of ours."""
        def lookup(name, kind, _strict=True, _timeout=30):
            try:
                answer = asked.resolve(name, kind, lifetime=5)
            except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
                return []
            except (dns.exception.Timeout, dns.resolver.NoNameservers) as error:
                raise spf.TempError(str(error)) from None
            values = {"TXT": lambda data: list(data.strings), "MX": lambda data: (data.preference, data.exchange)}
            return [((name, kind), values.get(kind, lambda data: data.to_text())(data)) for data in answer]
        return lookup

    def test_errors_are_those_of_an_evaluation(self):
        errors = {name for name, severity in all_kinds().items() if severity == "Error" and name.startswith("SPF_")}
        seen = set()
        for case in posture_zones.CASES:
            if "DNS_NO_ANSWER" in case.expected or case.whole is not None:
                continue
            with self.subTest(case.domain):
                # From an address that no record has, so that everything is gone through.
                result, code, text = spf.check(i="198.18.0.1", s=f"a@{case.domain}", h="mail.other.test")
                named = case.expected & (errors - self.NO_PERMERROR)
                self.assertEqual(result in ("permerror", "unknown"), bool(named), f"{result} {code} {text}; {named}")
                seen |= named
        self.assertEqual(seen, errors - self.NO_PERMERROR)


class SuggestTest(unittest.TestCase):
    """The zone that is suggested loads, and posture finds nothing to complain about in it."""

    def suggest(self, published, *arguments, broken=()):
        """What is suggested for example.test, where `published` is published."""
        with knot.Knot(published, broken) as server:
            return dkimctl("dns", "suggest", "example.test", "--offline", "--nameserver", f"127.0.0.1:{server.port}",
                           *arguments).stdout

    def judge(self, zone, others=(), *arguments):
        with knot.Knot([*zone.splitlines(), *others]) as server:
            return posture(server, "example.test", *arguments)[0]

    MX = ["example.test. MX 10 mail.example.test.", "mail.example.test. A 192.0.2.25"]

    def test_for_a_domain_that_publishes_nothing(self):
        zone = self.suggest(self.MX, "--relay", "192.0.2.0/28", "--relay", "2001:db8::/64")
        self.assertIn('\nexample.test. 3600 IN TXT "v=spf1 ip4:192.0.2.0/28 ip6:2001:db8::/64 ~all"\n', zone)
        self.assertIn('\n_dmarc.example.test. 3600 IN TXT "v=DMARC1; p=none; rua=mailto:dmarc-reports@example.test"\n', zone)
        self.assertIn('\n; _mta-sts.example.test. 3600 IN TXT "v=STSv1; id=', zone)
        self.assertIn("\n;   mx: mail.example.test\n", zone)
        judged = self.judge(zone, self.MX)
        self.assertEqual(ids(judged), {"KEYS_NOT_COMPARED", "DKIM_NO_SELECTOR", "DMARC_POLICY_NONE", "BIMI_MISSING",
                                       "MTA_STS_MISSING"})
        for line in zone.splitlines():
            self.assertTrue(len(line) <= 80 or " IN TXT " in line, line)

    def test_everything_that_can_be_asked_for(self):
        published = [*self.MX, "mta-sts.example.test. A 192.0.2.80",
                     '_dmarc.example.test. TXT "v=DMARC1; p=reject; adkim=s"']
        zone = self.suggest(published, "--relay", "192.0.2.1", "--report-address", "reports@example.test", "--bimi-svg",
                            "https://example.test/mark.svg", "--bimi-cert", "https://example.test/mark.pem")
        judged = self.judge(zone, [line for line in published if "TXT" not in line])
        self.assertEqual(ids(judged), {"KEYS_NOT_COMPARED", "DKIM_NO_SELECTOR", "DMARC_STRICT_ALIGNMENT", "BIMI_NOT_FETCHED",
                                       "MTA_STS_NOT_FETCHED"})
        self.assertIn('"v=DMARC1; p=reject; adkim=s; rua=mailto:reports@example.test"', zone)

    def test_is_never_weaker_than_what_is_published(self):
        published = [*self.MX, 'example.test. TXT "v=spf1 ip4:192.0.2.9 include:esp.test -include:open.test -all"',
                     'example.test. TXT "site-verification=1"',
                     '_dmarc.example.test. TXT "v=DMARC1; p=quarantine; sp=reject; rua=mailto:a@example.test"',
                     '_smtp._tls.example.test. TXT "v=TLSRPTv1; rua=https://example.test/tls"',
                     '_mta-sts.example.test. TXT "v=STSv1; id=7;"', "mta-sts.example.test. A 192.0.2.80",
                     'default._bimi.example.test. TXT "v=BIMI1; l=https://example.test/old.svg"']
        zone = self.suggest(published, "--relay", "192.0.2.10", "--report-address", "b@example.test")
        self.assertIn('"v=spf1 ip4:192.0.2.10 ip4:192.0.2.9 include:esp.test -include:open.test -all"', zone)
        self.assertIn("; include:esp.test lets hosts of others pass.", zone)
        self.assertNotIn("open.test lets", zone)
        self.assertIn('"v=DMARC1; p=quarantine; sp=reject; rua=mailto:a@example.test,mailto:b@example.test"', zone)
        self.assertIn('"v=TLSRPTv1; rua=https://example.test/tls"', zone)
        self.assertIn('"v=STSv1; id=7;"', zone)
        self.assertIn('"v=BIMI1; l=https://example.test/old.svg"', zone)
        self.assertNotIn("site-verification", zone)

    def test_what_is_in_error_is_not_suggested_again(self):
        published = [*self.MX, 'example.test. TXT "v=spf1 mx -all"', '_dmarc.example.test. TXT "v=DMARC1; p=none; rua=mailto:a@example.test"',
                     '_smtp._tls.example.test. TXT "v=TLSRPTv1; rua=d@example.test"',
                     'default._bimi.example.test. TXT "v=BIMI1; l=https://example.test/old.svg"']
        zone = self.suggest(published)
        self.assertIn('\n; default._bimi.example.test. 3600 IN TXT "v=BIMI1; l=https://example.test/old.svg"\n', zone)
        self.assertEqual(ids(self.judge(zone, self.MX)), {"KEYS_NOT_COMPARED", "DKIM_NO_SELECTOR", "DMARC_POLICY_NONE",
                                                          "BIMI_MISSING", "MTA_STS_MISSING"})

    def test_does_not_override_what_a_subdomain_inherits(self):
        with knot.Knot(['_dmarc.example.test. TXT "v=DMARC1; p=reject; rua=mailto:a@example.test"',
                        "news.example.test. A 192.0.2.1"]) as server:
            zone = dkimctl("dns", "suggest", "news.example.test", "--offline", "--nameserver",
                           f"127.0.0.1:{server.port}").stdout
        self.assertNotIn("p=none", zone)
        self.assertIn("_dmarc.example.test holds for this domain too", zone)

    def test_says_what_other_domains_must_publish(self):
        zone = self.suggest(self.MX, "--report-address", "d@reports.other.test")
        self.assertIn('\n; example.test._report._dmarc.reports.other.test. 3600 IN TXT "v=DMARC1"\n', zone)
        failing = self.suggest(self.MX, "--report-address", "d@reports.other.test", broken=["_report._dmarc.reports.other.test"])
        self.assertEqual(self.without_id(failing), self.without_id(zone))

    @staticmethod
    def without_id(zone):
        """What changes from second to second taken out."""
        return re.sub(r"v=STSv1; id=\d+;", "", zone)

    def test_several_spf_records_become_one(self):
        good = ['example.test. TXT "v=spf1 ip4:192.0.2.1 -all"', 'example.test. TXT "v=spf1 ip4:192.0.2.2 -all"']
        zone = self.suggest(good)
        self.assertEqual(sorted(re.search(r'"v=spf1 (.*) ~all"', zone).group(1).split()), ["ip4:192.0.2.1", "ip4:192.0.2.2"])
        zone = self.suggest([*good, 'example.test. TXT "v=spf1 ipv4:192.0.2.3 -all"'])
        self.assertNotIn('"v=spf1', zone)
        self.assertIn('"ipv4:192.0.2.3" is no mechanism', re.sub(r"\n; ", " ", zone))

    def test_bimi_waits_for_dmarc(self):
        zone = self.suggest(self.MX, "--bimi-svg", "https://example.test/mark.svg")
        self.assertIn("\n; default._bimi.example.test. 3600 IN TXT ", zone)

    def test_refuses_what_it_cannot_know(self):
        for broken in ("example.test", "_dmarc.example.test", "_mta-sts.example.test"):
            with self.subTest(broken), knot.Knot(self.MX if broken != "example.test" else [], [broken]) as server:
                run = dkimctl("dns", "suggest", "example.test", "--offline", "--nameserver", f"127.0.0.1:{server.port}",
                              status=1)
                self.assertEqual(run.stdout, "")
                self.assertIn("SERVFAIL", run.stderr)

    def test_refuses_options_that_are_none(self):
        with knot.Knot(self.MX) as server:
            for option, value in (("--relay", "relay.example.test"), ("--relay", "192.0.2.1/33"), ("--mx", "a b"),
                                  ("--report-address", "nobody"), ("--report-address", "a@example.test;p=none"),
                                  ("--report-address", "a@example.test,b@example.test"),
                                  ("--bimi-svg", "https://example.test/a;b.svg"), ("--bimi-svg", "http://example.test/mark.svg"),
                                  ("--bimi-svg", "https://example.test/mark.png"),
                                  ("--bimi-cert", "https://example.test/mark.pem")):
                with self.subTest(option, value=value):
                    run = dkimctl("dns", "suggest", "example.test", "--offline", "--nameserver", f"127.0.0.1:{server.port}",
                                  option, value, status=2)
                    self.assertEqual(run.stdout, "")

    def test_json_has_the_same_records(self):
        with knot.Knot(self.MX) as server:
            at = ("dns", "suggest", "example.test", "--offline", "--nameserver", f"127.0.0.1:{server.port}")
            zone, answer = dkimctl(*at).stdout, json.loads(dkimctl(*at, "--output", "json").stdout)
        records = [line for section in answer["sections"] for line in section["records"]]
        self.assertEqual([line for line in zone.splitlines() if line and not line.startswith(";")], records)


class KeysTest(unittest.TestCase):
    """Records compared with the keys of a real token."""

    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.keys = cls.hallmark.add_domain("example.test")

    def lines(self, domain="example.test"):
        """The zone-file lines of the keys, by selector."""
        answer = self.hallmark.admin().GetDnsRecords(admin_pb2.GetDnsRecordsRequest(domain=domain))
        return {record.selector: record.zone_file_line.strip() for record in answer.records}

    def judge(self, records, *arguments, domain="example.test", status=None):
        good = posture_zones.good(domain)
        with knot.Knot([*good, *records]) as server:
            run = self.hallmark.dkimctl("posture", domain, "--nameserver", f"127.0.0.1:{server.port}", "--output", "json",
                                        *arguments, status=status)
        return json.loads(run.stdout)["domains"][0]

    def assert_adds(self, judged, *wanted):
        self.assertEqual(ids(judged), posture_zones.GOOD - {"KEYS_NOT_COMPARED", "DKIM_NO_SELECTOR"} | set(wanted),
                         judged["findings"])

    def test_published_keys_are_found(self):
        judged = self.judge(self.lines().values(), status=0)
        self.assertTrue(judged["compared_with_keys"])
        self.assert_adds(judged)

    def test_nothing_published(self):
        judged = self.judge([], status=FINDINGS)
        self.assert_adds(judged, "DKIM_RECORD_MISSING")
        publish = {line for finding in judged["findings"] if finding["id"] == "DKIM_RECORD_MISSING"
                   for line in finding["publish"]}
        self.assertEqual(publish, set(self.lines().values()))

    def test_another_key_is_published(self):
        lines = self.lines()
        rsa, other = self.keys[0].selector, posture_zones.rsa_record(2048)
        judged = self.judge([lines[self.keys[1].selector], f'{rsa}._domainkey.example.test. TXT {other}'], status=FINDINGS)
        self.assert_adds(judged, "DKIM_KEY_MISMATCH", "DKIM_ONLY_ED25519")
        self.assertEqual(find(judged, "DKIM_KEY_MISMATCH")["publish"], [lines[rsa]])

    def test_records_are_mixed_up(self):
        lines = self.lines()
        rsa, ed25519 = (key.selector for key in self.keys)
        swapped = [lines[rsa].replace(rsa, ed25519), lines[ed25519].replace(ed25519, rsa)]
        self.assert_adds(self.judge(swapped, status=FINDINGS), "DKIM_KEY_TYPE")

    def test_ed25519_alone(self):
        judged = self.judge([self.lines()[self.keys[1].selector]], status=FINDINGS)
        self.assert_adds(judged, "DKIM_RECORD_MISSING", "DKIM_ONLY_ED25519")

    def test_an_active_key_is_revoked_in_the_dns(self):
        lines = self.lines()
        lines[self.keys[0].selector] = f'{self.keys[0].selector}._domainkey.example.test. TXT "v=DKIM1; k=rsa; p="'
        self.assert_adds(self.judge(lines.values(), status=FINDINGS), "DKIM_REVOKED", "DKIM_ONLY_ED25519")

    def test_a_selector_that_signerd_does_not_know(self):
        record = f"old._domainkey.example.test. TXT {posture_zones.rsa_record(1024)}"
        judged = self.judge([*self.lines().values(), record], "--selector", "old", status=0)
        self.assert_adds(judged, "DKIM_KEY_SHORT")

    def test_the_life_of_a_key(self):
        admin, domain = self.hallmark.admin(), "life.test"
        admin.CreateDomain(admin_pb2.CreateDomainRequest(name=domain))
        names = {"domain": domain, "selector": "one"}
        admin.GenerateKey(admin_pb2.GenerateKeyRequest(**names, algorithm=admin_pb2.KEY_ALGORITHM_RSA_2048))
        self.assert_adds(self.judge([], domain=domain, status=0), "DKIM_RECORD_PENDING", "DKIM_NO_ACTIVE_KEY")
        admin.ActivateKey(admin_pb2.ActivateKeyRequest(**names, unpublished=True))
        self.assert_adds(self.judge([], domain=domain, status=FINDINGS), "DKIM_RECORD_MISSING")
        admin.RetireKey(admin_pb2.RetireKeyRequest(**names, allow_last=True))
        self.assert_adds(self.judge([], domain=domain, status=0), "DKIM_RECORD_GONE_EARLY", "DKIM_NO_ACTIVE_KEY")
        published = self.lines(domain)["one"]
        self.assert_adds(self.judge([published], domain=domain, status=0), "DKIM_NO_ACTIVE_KEY")
        self.hallmark.with_approval(admin.RevokeKey, admin_pb2.RevokeKeyRequest(**names))
        judged = self.judge([published], domain=domain, status=FINDINGS)
        self.assert_adds(judged, "DKIM_REVOKED_KEY_PUBLISHED", "DKIM_NO_ACTIVE_KEY")
        self.assertEqual(find(judged, "DKIM_REVOKED_KEY_PUBLISHED")["publish"], [self.lines(domain)["one"]])
        self.assert_adds(self.judge(self.lines(domain).values(), domain=domain, status=0), "DKIM_NO_ACTIVE_KEY")

    def test_strict_identity_and_a_profile_with_another(self):
        self.hallmark.dkimctl("profile", "set", "below", "--auid", "@news.strict.test")
        self.hallmark.add_domain("strict.test", profile="below", algorithms=[admin_pb2.KEY_ALGORITHM_RSA_2048])
        [line] = self.lines("strict.test").values()
        judged = self.judge([line.replace("v=DKIM1; ", "v=DKIM1; t=s; ")], domain="strict.test", status=FINDINGS)
        self.assert_adds(judged, "DKIM_STRICT_IDENTITY")
        self.assertEqual(find(judged, "DKIM_STRICT_IDENTITY")["publish"], [line])

    def test_strict_identity_and_the_same_domain_written_otherwise(self):
        self.hallmark.dkimctl("profile", "set", "unicode", "--auid", "@München.test")
        self.hallmark.add_domain("xn--mnchen-3ya.test", profile="unicode", algorithms=[admin_pb2.KEY_ALGORITHM_RSA_2048])
        [line] = self.lines("xn--mnchen-3ya.test").values()
        judged = self.judge([line.replace("v=DKIM1; ", "v=DKIM1; t=s; ")], domain="xn--mnchen-3ya.test", status=0)
        self.assertNotIn("DKIM_STRICT_IDENTITY", ids(judged))

    def test_strict_alignment_and_partners_that_may_differ(self):
        with knot.Knot([*posture_zones.good("example.test", dmarc="v=DMARC1; p=reject; adkim=s; rua=mailto:d@example.test"),
                        *self.lines().values()]) as server:
            judged = json.loads(self.hallmark.dkimctl("posture", "example.test", "--nameserver", f"127.0.0.1:{server.port}",
                                                      "--output", "json").stdout)["domains"][0]
        self.assert_adds(judged, "DMARC_STRICT_ALIGNMENT", "DMARC_ALIGNMENT_CONFLICT")
        self.assertIn("own", find(judged, "DMARC_ALIGNMENT_CONFLICT")["what"])

    def test_a_domain_that_is_not_configured(self):
        judged = self.judge([], domain="foreign.test", status=0)
        self.assertEqual(ids(judged), posture_zones.GOOD - {"KEYS_NOT_COMPARED"} | {"DOMAIN_NOT_CONFIGURED"})

    def test_suggested_zone_with_keys_is_clean(self):
        published = [*posture_zones.good("example.test"), *self.lines().values()]
        with knot.Knot(published) as server:
            zone = self.hallmark.dkimctl("dns", "suggest", "example.test", "--nameserver", f"127.0.0.1:{server.port}").stdout
        for line in self.lines().values():
            self.assertIn(f"\n{line}\n", zone)
        others = [line for line in published if " TXT " not in line]
        with knot.Knot([*zone.splitlines(), *others]) as server:
            judged = json.loads(self.hallmark.dkimctl("posture", "example.test", "--nameserver", f"127.0.0.1:{server.port}",
                                                      "--fail-on", "warning", "--output", "json").stdout)["domains"][0]
        self.assert_adds(judged)

    def test_keys_that_are_delegated_to_another_zone(self):
        self.hallmark.add_domain("delegating.test", algorithms=[admin_pb2.KEY_ALGORITHM_RSA_2048])
        self.hallmark.dkimctl("key", "policy", "set", "delegating.test", "--delegation", "keys.other.test")
        [(selector, line)] = self.lines("delegating.test").items()
        kept_at = f"{selector}.delegating.test.keys.other.test."
        self.assertTrue(line.startswith(kept_at), line)
        judged = self.judge([], domain="delegating.test", status=FINDINGS)
        self.assert_adds(judged, "DKIM_RECORD_MISSING")
        alias = f"{selector}._domainkey.delegating.test. 3600 IN CNAME {kept_at}"
        self.assertEqual(find(judged, "DKIM_RECORD_MISSING")["publish"], [alias, line])
        self.assert_adds(self.judge([alias, line], domain="delegating.test", status=0))
        self.assert_adds(self.judge([alias], domain="delegating.test", status=FINDINGS), "ALIAS_BROKEN")
        with knot.Knot(posture_zones.good("delegating.test")) as server:
            zone = self.hallmark.dkimctl("dns", "suggest", "delegating.test", "--nameserver", f"127.0.0.1:{server.port}").stdout
        self.assertIn(f"\n; {line}\n{alias}\n", zone)

    def test_delegated_keys_are_shown_where_receivers_ask_for_them(self):
        self.hallmark.add_domain("shown.test", algorithms=[admin_pb2.KEY_ALGORITHM_RSA_2048])
        self.hallmark.dkimctl("key", "policy", "set", "shown.test", "--delegation", "keys.other.test")
        self.hallmark.dkimctl("key", "generate", "shown.test", "--selector", "made")
        lines = self.lines("shown.test")
        shown = self.hallmark.dkimctl("dns", "show", "Shown.test").stdout
        status = self.hallmark.dkimctl("key", "status", "shown.test").stdout
        aliases = {selector: f"{selector}._domainkey.shown.test. 3600 IN CNAME {selector}.shown.test.keys.other.test."
                   for selector in lines}
        for selector, alias in aliases.items():
            self.assertIn(f"\n; {lines[selector]}\n{alias}\n", shown)
        self.assertEqual([line for line in shown.splitlines() if not line.startswith(";")], list(aliases.values()))
        # What a key that is made by hand needs before it is activated.
        self.assertIn("made._domainkey.shown.test. IN CNAME made.shown.test.keys.other.test.\n", status)
        # The domain's zone with what is shown, and the other zone with what is a comment there.
        with knot.Knot([*posture_zones.good("shown.test"), *shown.splitlines(), *lines.values()]) as server:
            judged = json.loads(self.hallmark.dkimctl("posture", "shown.test", "--nameserver", f"127.0.0.1:{server.port}",
                                                      "--output", "json", status=0).stdout)["domains"][0]
        self.assert_adds(judged)
        keys = self.hallmark.folder / "shown.keys"
        keys.write_text(self.hallmark.dkimctl("dns", "show", "shown.test", "--format", "keyfile").stdout)
        self.assertEqual([line.split(" ")[0] for line in keys.read_text().splitlines()],
                         [f"{selector}._domainkey.shown.test" for selector in lines])
        message = rotation_test.MESSAGE.replace(b"ann@example.com", b"ann@shown.test")
        answer = self.hallmark.sign(message)
        signed = self.hallmark.folder / "shown.eml"
        signed.write_bytes(b"".join(signature.header_field for signature in answer.signatures) + message)
        self.hallmark.dkimctl("verify", signed, "--key-file", keys)

    def test_without_signerd_the_rest_is_checked(self):
        with deployment.Deployment(start=False) as stopped, knot.Knot(posture_zones.good("example.test")) as server:
            run = stopped.dkimctl("posture", "example.test", "--nameserver", f"127.0.0.1:{server.port}", "--output", "json")
        [judged] = json.loads(run.stdout)["domains"]
        self.assertIn("cannot reach signerd", find(judged, "SIGNERD_UNAVAILABLE")["what"])
        self.assertEqual(ids(judged), posture_zones.GOOD - {"KEYS_NOT_COMPARED"} | {"SIGNERD_UNAVAILABLE"})


class RotatedKeysTest(rotation_test.Case):
    """Keys that Hallmark publishes by itself."""

    RECORDS = posture_zones.good("example.com")

    def judge(self):
        run = self.hallmark.dkimctl("posture", "example.com", "--nameserver", f"127.0.0.1:{self.dns.port}", "--output", "json")
        return ids(json.loads(run.stdout)["domains"][0]) - posture_zones.GOOD

    def test_what_is_published_is_right_and_what_is_left_is_found(self):
        self.ctl("key", "policy", "set", "--publisher", "main", "--waive-backup", "a lost token means new keys")
        self.ctl("domain", "add", "example.com")
        self.hallmark.dkimctl("key", "rotate", "example.com", "--compromised", "--now", status=0)
        self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"])
        self.assertEqual(self.judge(), set())
        self.ctl("key", "rotate", "example.com", "--now")
        self.wait("published", lambda status: len(self.selectors(status, "PUBLISHED")) == 2)
        self.ctl("key", "rollback", "example.com", "--yes")
        self.ctl("key", "resume", "example.com")
        gone = self.wait("withdrawn", lambda status: len(self.selectors(status, "WITHDRAWN")) == 2)
        self.assertEqual(self.judge(), set())
        name = f"{min(self.selectors(gone, 'WITHDRAWN'))}._domainkey.example.com."
        self.update(lambda update: update.add(name, 60, "TXT", '"v=DKIM1; k=rsa; p="'))
        self.assertEqual(self.judge(), {"DKIM_RECORD_LEFT_OVER"})


if __name__ == "__main__":
    unittest.main()
