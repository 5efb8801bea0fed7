"""The table of posture_test.py: domains as they are published, each with exactly the ids that must be found.

A case starts from a domain with which nothing is wrong; what it says of one kind of record takes the place of that one.
"""

import base64
import dataclasses
import functools

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

# What is found in the good domain: notes alone.
PARTS = {"spf": set(), "dmarc": set(), "bimi": {"BIMI_MISSING"}, "sts": {"MTA_STS_NOT_FETCHED"}, "tls": set(), "mx": set(),
         "dkim": {"DKIM_NO_SELECTOR"}}
GOOD = set().union({"KEYS_NOT_COMPARED"}, *PARTS.values())

# Found with a signerd only: KeysTest has them.
WITH_SIGNERD = {"SIGNERD_UNAVAILABLE", "DOMAIN_NOT_CONFIGURED", "DKIM_NO_ACTIVE_KEY", "DKIM_RECORD_PENDING",
                "DKIM_RECORD_GONE_EARLY", "DKIM_RECORD_LEFT_OVER", "DKIM_STRICT_IDENTITY", "DKIM_REVOKED_KEY_PUBLISHED",
                "DKIM_KEY_MISMATCH", "DMARC_ALIGNMENT_CONFLICT"}

# Found here with the record that puts it right: always, but for the cases below. No other kind comes with one.
WITH_RECORD = {"DKIM_ED25519_FORM", "SPF_MISSING", "SPF_SEVERAL_RECORDS", "SPF_INCLUDE_NONE", "SPF_LOOP", "SPF_PTR",
               "SPF_PASS_ALL", "SPF_NEUTRAL_ALL", "SPF_NO_ALL", "SPF_IGNORED_TERMS", "SPF_UNKNOWN_MODIFIER",
               "SPF_THIRD_PARTY", "DMARC_MISSING", "DMARC_BAD_VALUE", "DMARC_UNKNOWN_TAG", "DMARC_POLICY_NONE",
               "DMARC_SUBDOMAIN_POLICY_NONE", "DMARC_PARTIAL", "DMARC_NO_REPORTS", "DMARC_REPORT_NOT_AUTHORISED",
               "BIMI_DMARC_TOO_WEAK", "MTA_STS_SEVERAL_RECORDS", "MTA_STS_SYNTAX", "TLS_RPT_MISSING",
               "TLS_RPT_SEVERAL_RECORDS", "TLS_RPT_SYNTAX", "TLS_RPT_ADDRESS"}
# Where none follows: the record is somebody else's or would let nobody in; a key, an address, an id or a policy is not known.
WITHOUT_RECORD = {("dkim-ed25519-short.test", "DKIM_ED25519_FORM"), ("spf-include-none.test", "SPF_INCLUDE_NONE"),
                  ("spf-itself.test", "SPF_LOOP"), ("spf-loop-of-others.test", "SPF_LOOP"), ("spf-ptr-alone.test", "SPF_PTR"),
                  ("spf-pass-all-bare.test", "SPF_PASS_ALL"), ("spf-two-nobody.test", "SPF_SEVERAL_RECORDS"),
                  ("spf-pass-all-network.test", "SPF_PASS_ALL"), ("spf-pass-all-included.test", "SPF_PASS_ALL"),
                  ("spf-redirect-neutral.test", "SPF_NEUTRAL_ALL"), ("spf-redirect-no-all.test", "SPF_NO_ALL"),
                  ("spf-several-ip4-equals.test", "SPF_SEVERAL_RECORDS"),
                  ("spf-pass-all-included.test", "SPF_THIRD_PARTY"), ("spf-third-party-alone.test", "SPF_THIRD_PARTY"),
                  ("spf-pass-all-ip4-equals.test", "SPF_PASS_ALL"), ("spf-pass-all-ip4-equals.test", "SPF_UNKNOWN_MODIFIER"),
                  ("spf-ip4-equals.test", "SPF_UNKNOWN_MODIFIER"), ("spf-include-equals.test", "SPF_UNKNOWN_MODIFIER"),
                  ("spf-mx-equals.test", "SPF_UNKNOWN_MODIFIER"), ("spf-modifier-alone.test", "SPF_UNKNOWN_MODIFIER"),
                  ("spf-redirct.test", "SPF_UNKNOWN_MODIFIER"), ("spf-redirct.test", "SPF_NO_ALL"),
                  ("spf-redirct-beside.test", "SPF_UNKNOWN_MODIFIER"), ("spf-redirct-beside.test", "SPF_NO_ALL"),
                  ("spf-a-equals-neutral.test", "SPF_UNKNOWN_MODIFIER"), ("spf-a-equals-neutral.test", "SPF_NEUTRAL_ALL"),
                  ("spf-after-all.test", "SPF_IGNORED_TERMS"), ("spf-redirect-and-all.test", "SPF_IGNORED_TERMS"),
                  ("bimi-no-dmarc.test", "BIMI_DMARC_TOO_WEAK"), ("sts-no-id.test", "MTA_STS_SYNTAX"),
                  ("tls-no-address.test", "TLS_RPT_SYNTAX"), ("tls-http.test", "TLS_RPT_ADDRESS"),
                  ("tls-unknown-part.test", "TLS_RPT_SYNTAX")}


def txt(*values):
    """Each value as one TXT record's data, cut into strings."""
    quoted = []
    for value in values:
        parts = [value[i:i + 255] for i in range(0, len(value), 255)] or [""]
        quoted.append(" ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts))
    return quoted


@functools.cache
def _rsa_spki(bits):
    return rsa.generate_private_key(65537, bits).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@functools.cache
def _ed25519(form):
    encoding, public = {"raw": (serialization.Encoding.Raw, serialization.PublicFormat.Raw),
                        "spki": (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)}[form]
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(encoding, public)


def _b64(octets):
    return base64.b64encode(octets).decode()


def rsa_record(bits, tags="v=DKIM1; "):
    [data] = txt(f"{tags}p={_b64(_rsa_spki(bits))}")
    return data


def good(domain, dmarc=None):
    """The records of a domain with which nothing is wrong."""
    return [line for part in PARTS for line in _part(domain, part, {"dmarc": dmarc} if dmarc else {})]


def _part(domain, part, given):
    """The lines of one kind of record."""
    if part == "dkim":
        return [line.replace("@", domain) for line in given.get("dkim", [])]
    if part == "mx":
        hosts = given.get("mx", ["10 mail." + domain + "."])
        return [f"{domain}. MX {host}" for host in hosts] + [f"mail.{domain}. A 192.0.2.25"]
    owner = {"spf": "", "dmarc": "_dmarc.", "bimi": "default._bimi.", "sts": "_mta-sts.", "tls": "_smtp._tls."}[part] + domain
    default = {"spf": "v=spf1 ip4:192.0.2.1 -all", "dmarc": f"v=DMARC1; p=reject; rua=mailto:d@{domain}", "bimi": [],
               "sts": "v=STSv1; id=20260131;", "tls": f"v=TLSRPTv1; rua=mailto:d@{domain}"}[part]
    values = given.get(part, default)
    values = [values] if isinstance(values, str) else values
    lines = [f"{owner}. TXT {data}" for data in txt(*(value.replace("@@", "@" + domain).replace("%D", domain) for value in values))]
    if part == "sts":
        lines += [f"mta-sts.{domain}. A 192.0.2.80"] if given.get("sts_host", True) else []
    return lines


@dataclasses.dataclass
class Case:
    domain: str
    given: dict
    finds: dict          # by part, what is found in place of the good domain's
    extra: tuple = ()    # further lines
    selectors: tuple = ()
    bare: bool = False   # nothing but `extra`
    whole: set = None    # exactly these beside KEYS_NOT_COMPARED and DKIM_NO_SELECTOR

    @property
    def expected(self):
        if self.whole is not None:
            return self.whole | {"KEYS_NOT_COMPARED", "DKIM_NO_SELECTOR"}
        found = {"KEYS_NOT_COMPARED"}
        for part, usual in PARTS.items():
            found |= self.finds.get(part, usual)
        return found

    def lines(self):
        if self.bare:
            return list(self.extra)
        return [line for part in PARTS for line in _part(self.domain, part, self.given)] + list(self.extra)


CASES = []


def _case(name, part, values, *finds, extra=(), **also):
    finds = {part: set(finds), **also.pop("finds", {})}
    CASES.append(Case(name + ".test", {part: values, **also}, finds, tuple(extra)))


def _key(name, record, *finds, selectors=("s",)):
    """A record at s._domainkey of the domain; None: there is none."""
    lines = [] if record is None else [f"s._domainkey.@. TXT {data}" for data in record]
    CASES.append(Case(name + ".test", {"dkim": lines}, {"dkim": set(finds)}, selectors=selectors))


CASES.append(Case("good.test", {}, {}))
CASES.append(Case("missing.test", {}, {}, bare=True, whole={"DOMAIN_NOT_FOUND"}))

# DKIM.
_P = "p=" + _b64(_rsa_spki(2048))
_ED = "v=DKIM1; k=ed25519; p="
_key("dkim-good", [rsa_record(2048)])
_key("dkim-blanks-in-p", txt("v=DKIM1; " + _P[:60] + " " + _P[60:]))
_key("dkim-no-version", [rsa_record(2048, "")])
_key("dkim-star", [rsa_record(2048, "v=DKIM1; s=*; h=sha1:sha256; ")])
_key("dkim-none", None, "DKIM_RECORD_MISSING")
_key("dkim-two-records", txt("v=DKIM1; " + _P, "v=DKIM1; k=rsa; " + _P), "DKIM_SEVERAL_RECORDS")
_key("dkim-no-equals", txt("v=DKIM1; k; " + _P), "DKIM_SYNTAX")
_key("dkim-empty-element", txt("v=DKIM1;; " + _P), "DKIM_SYNTAX")
_key("dkim-twice", txt("v=DKIM1; k=rsa; k=rsa; " + _P), "DKIM_SYNTAX")
_key("dkim-no-p", txt("v=DKIM1; k=rsa"), "DKIM_SYNTAX")
_key("dkim-not-base64", txt("v=DKIM1; p=MIIB*"), "DKIM_SYNTAX")
_key("dkim-version-2", txt("v=DKIM2; " + _P), "DKIM_VERSION")
_key("dkim-version-late", txt("k=rsa; v=DKIM1; " + _P), "DKIM_VERSION")
_key("dkim-key-type", txt("v=DKIM1; k=dsa; " + _P), "DKIM_KEY_TYPE")
_key("dkim-sha1", txt("v=DKIM1; h=sha1; " + _P), "DKIM_HASH")
_key("dkim-any-hash", txt("v=DKIM1; h=*; " + _P), "DKIM_HASH")
_key("dkim-service", txt("v=DKIM1; s=tlsrpt; " + _P), "DKIM_SERVICE")
_key("dkim-cut", txt("v=DKIM1; p=" + _b64(_rsa_spki(2048)[:-20])), "DKIM_KEY_INVALID")
_key("dkim-768", [rsa_record(768)], "DKIM_KEY_TOO_SHORT")
_key("dkim-1024", [rsa_record(1024)], "DKIM_KEY_SHORT")
_key("dkim-testing", [rsa_record(2048, "v=DKIM1; t=y; ")], "DKIM_TESTING")
_key("dkim-testing-strict", [rsa_record(2048, "v=DKIM1; t=s:y; ")], "DKIM_TESTING")
_key("dkim-revoked", txt("v=DKIM1; k=rsa; p="), "DKIM_REVOKED")
_key("dkim-ed25519", txt(_ED + _b64(_ed25519("raw"))), "DKIM_ONLY_ED25519")
_key("dkim-ed25519-spki", txt(_ED + _b64(_ed25519("spki"))), "DKIM_ED25519_FORM")
_key("dkim-ed25519-short", txt(_ED + _b64(_ed25519("raw")[:31])), "DKIM_ED25519_FORM")
CASES.append(Case("dkim-pair.test", {"dkim": [f"r._domainkey.@. TXT {rsa_record(2048)}",
                                              f"e._domainkey.@. TXT {txt(_ED + _b64(_ed25519('raw')))[0]}"]},
                  {"dkim": set()}, selectors=("r", "e")))
CASES.append(Case("dkim-alias.test", {"dkim": ["s._domainkey.@. CNAME s.keys.test."]}, {"dkim": set()},
                  (f"s.keys.test. TXT {rsa_record(2048)}",), ("s",)))
CASES.append(Case("dkim-alias-broken.test", {"dkim": ["s._domainkey.@. CNAME gone.keys.test."]}, {"dkim": {"ALIAS_BROKEN"}},
                  selectors=("s",)))
# The CNAME that a DNAME makes is nobody's to put right.
CASES.append(Case("dkim-dname.test", {"dkim": ["_domainkey.@. DNAME dname.keys.test."]}, {"dkim": set()},
                  (f"s.dname.keys.test. TXT {rsa_record(2048)}",), ("s",)))
CASES.append(Case("dkim-dname-gone.test", {"dkim": ["_domainkey.@. DNAME gone.keys.test."]}, {"dkim": {"DKIM_RECORD_MISSING"}},
                  selectors=("s",)))
CASES.append(Case("dkim-servfail.test", {}, {"dkim": {"DNS_NO_ANSWER"}}, selectors=("s",)))

# SPF.
_case("spf-none", "spf", [], "SPF_MISSING")
_case("spf-other-txt", "spf", ["site-verification=1"], "SPF_MISSING")
_case("spf-other-version", "spf", ["v=spf10 -all", "spf2.0/pra -all"], "SPF_MISSING")
_case("spf-beside-other-txt", "spf", ["site-verification=1", "v=spf1 ip4:192.0.2.1 -all"])
_case("spf-upper-case", "spf", "V=SPF1 IP4:192.0.2.1 -ALL")
_case("spf-two", "spf", ["v=spf1 ip4:192.0.2.1 -all", "v=spf1 ip4:192.0.2.2 -all"], "SPF_SEVERAL_RECORDS")
_case("spf-two-nobody", "spf", ["v=spf1 +all", "v=spf1 -all"], "SPF_SEVERAL_RECORDS")
_case("spf-several-ip4-equals", "spf", ["v=spf1 ip4=192.0.2.1 -all", "v=spf1 ip4:192.0.2.2 -all"], "SPF_SEVERAL_RECORDS")
_case("spf-mechanism", "spf", "v=spf1 ipv4:192.0.2.1 -all", "SPF_SYNTAX")
_case("spf-comma", "spf", "v=spf1 ip4:192.0.2.1, -all", "SPF_SYNTAX")
_case("spf-bad-address", "spf", "v=spf1 ip4:192.0.2.256 -all", "SPF_SYNTAX")
_case("spf-bad-prefix", "spf", "v=spf1 ip4:192.0.2.0/33 -all", "SPF_SYNTAX")
_case("spf-prefix-zero", "spf", "v=spf1 ip4:192.0.2.0/024 -all", "SPF_SYNTAX")
_case("spf-bad-macro", "spf", "v=spf1 exists:%{x}.test -all", "SPF_SYNTAX")
_case("spf-no-domain", "spf", "v=spf1 include: -all", "SPF_SYNTAX")
_case("spf-two-redirects", "spf", "v=spf1 redirect=a.test redirect=b.test", "SPF_SYNTAX")
_case("spf-tab", "spf", "v=spf1 ip4:192.0.2.1\\009-all".replace("\\009", "\t"), "SPF_SYNTAX")
_case("spf-modifier", "spf", "v=spf1 ip4:192.0.2.1 redirct=esp.test -all", "SPF_UNKNOWN_MODIFIER")
_case("spf-modifiers", "spf", "v=spf1 x-a=1 ip4:192.0.2.1 x-b=2 -all exp=why.%D", "SPF_UNKNOWN_MODIFIER")
_case("spf-modifier-alone", "spf", "v=spf1 x-a=1 -all", "SPF_UNKNOWN_MODIFIER")
_case("spf-modifier-and-redirect", "spf", "v=spf1 x-a=1 redirect=_spf.%D", "SPF_UNKNOWN_MODIFIER",
      extra=['_spf.spf-modifier-and-redirect.test. TXT "v=spf1 ip4:192.0.2.1 -all"'])
_case("spf-ip4-equals", "spf", "v=spf1 ip4=192.0.2.1 -all", "SPF_UNKNOWN_MODIFIER")
_case("spf-include-equals", "spf", "v=spf1 include=_spf.esp.test -all", "SPF_UNKNOWN_MODIFIER")
_case("spf-mx-equals", "spf", "v=spf1 ip4:192.0.2.1 x-a=1 MX=mail.%D -all", "SPF_UNKNOWN_MODIFIER")
_case("spf-redirct", "spf", "v=spf1 redirct=_spf.esp.test", "SPF_UNKNOWN_MODIFIER", "SPF_NO_ALL")
_case("spf-redirct-beside", "spf", "v=spf1 ip4:192.0.2.1 redirct=_spf.esp.test", "SPF_UNKNOWN_MODIFIER", "SPF_NO_ALL")
_case("spf-a-equals-neutral", "spf", "v=spf1 ip4:192.0.2.1 a=mail.%D ?all", "SPF_UNKNOWN_MODIFIER", "SPF_NEUTRAL_ALL")
_case("spf-explanation", "spf", "v=spf1 ip4:192.0.2.1 -all exp=why.%{d}")
_case("spf-a-and-mx", "spf", "v=spf1 a:mail.%D/28 mx//64 ~all")
_case("spf-pass-all", "spf", "v=spf1 ip4:192.0.2.1 +all", "SPF_PASS_ALL")
_case("spf-pass-all-bare", "spf", "v=spf1 all", "SPF_PASS_ALL")
_case("spf-pass-all-ip4-equals", "spf", "v=spf1 ip4=192.0.2.1 +all", "SPF_PASS_ALL", "SPF_UNKNOWN_MODIFIER")
_case("spf-pass-all-network", "spf", "v=spf1 ip4:0.0.0.0/0 -all", "SPF_PASS_ALL")
_case("spf-pass-all-included", "spf", "v=spf1 include:open.test -all", "SPF_PASS_ALL", "SPF_THIRD_PARTY")
_case("spf-wide", "spf", "v=spf1 ip4:10.0.0.0/8 ip6:2001:db8::/32 -all", "SPF_WIDE_RANGE")
_case("spf-neutral", "spf", "v=spf1 ip4:192.0.2.1 ?all", "SPF_NEUTRAL_ALL")
_case("spf-no-all", "spf", "v=spf1 ip4:192.0.2.1", "SPF_NO_ALL")
_case("spf-after-all", "spf", "v=spf1 -all ip4:192.0.2.1", "SPF_IGNORED_TERMS")
_case("spf-redirect-and-all", "spf", "v=spf1 -all redirect=esp.test", "SPF_IGNORED_TERMS")
_case("spf-after-all-beside", "spf", "v=spf1 ip4:192.0.2.1 -all ip4:192.0.2.2 exp=why.%D redirect=esp.test", "SPF_IGNORED_TERMS")
_case("spf-ptr", "spf", "v=spf1 ptr ip4:192.0.2.1 -all", "SPF_PTR")
_case("spf-ptr-alone", "spf", "v=spf1 ptr -all", "SPF_PTR")
_case("spf-type", "spf", "v=spf1 ip4:192.0.2.1 -all", "SPF_TYPE_RECORD",
      extra=['spf-type.test. SPF "v=spf1 ip4:192.0.2.1 -all"'])
_case("spf-long", "spf", "v=spf1 " + " ".join(f"ip4:192.0.2.{i}" for i in range(32)) + " -all", "SPF_LONG_RECORD")
_case("spf-third-parties", "spf", "v=spf1 include:esp.test a:relay.other.test include:own.%D -include:open.test -all",
      "SPF_THIRD_PARTY", extra=['own.spf-third-parties.test. TXT "v=spf1 include:crm.test -all"'])
_case("spf-third-party-alone", "spf", "v=spf1 include:esp.test -all", "SPF_THIRD_PARTY")
_case("spf-exists", "spf", "v=spf1 exists:%{i}._spf.%{d} -all", "SPF_NOT_FOLLOWED")
_case("spf-macro-of-domain", "spf", "v=spf1 include:%{d2}.hosted.%{d} -all",
      extra=['spf-macro-of-domain.test.hosted.spf-macro-of-domain.test. TXT "v=spf1 -all"'])
_case("spf-redirect", "spf", "v=spf1 redirect=_spf.%D", extra=['_spf.spf-redirect.test. TXT "v=spf1 ip4:192.0.2.1 -all"'])
_case("spf-redirect-neutral", "spf", "v=spf1 redirect=_spf.%D", "SPF_NEUTRAL_ALL",
      extra=['_spf.spf-redirect-neutral.test. TXT "v=spf1 ip4:192.0.2.1 ?all"'])
_case("spf-redirect-no-all", "spf", "v=spf1 redirect=_spf.%D", "SPF_NO_ALL",
      extra=['_spf.spf-redirect-no-all.test. TXT "v=spf1 ip4:192.0.2.1"'])
_case("spf-neutral-modifiers", "spf", "v=spf1 ip4:192.0.2.1 ?all exp=why.%D x-note=y", "SPF_NEUTRAL_ALL", "SPF_UNKNOWN_MODIFIER")
_case("spf-redirect-none", "spf", "v=spf1 redirect=nothing.%D", "SPF_REDIRECT_NONE")
_case("spf-include-none", "spf", "v=spf1 include:mail.%D -all", "SPF_INCLUDE_NONE")
_case("spf-include-none-beside", "spf", "v=spf1 include:mail.%D ip4:192.0.2.1 -all", "SPF_INCLUDE_NONE")
_case("spf-include-broken", "spf", "v=spf1 include:broken.%D -all", "SPF_INCLUDE_BROKEN",
      extra=['broken.spf-include-broken.test. TXT "v=spf1 ip4:x -all"'])
_case("spf-include-two", "spf", "v=spf1 include:two.%D -all", "SPF_INCLUDE_BROKEN",
      extra=['two.spf-include-two.test. TXT "v=spf1 -all"', 'two.spf-include-two.test. TXT "v=spf1 a -all"'])
_case("spf-include-servfail", "spf", "v=spf1 include:down.%D -all", "DNS_NO_ANSWER")
_case("spf-loop", "spf", "v=spf1 include:a.%D -all", "SPF_LOOP",
      extra=['a.spf-loop.test. TXT "v=spf1 ip4:192.0.2.7 include:spf-loop.test -all"'])
_case("spf-loop-at-once", "spf", "v=spf1 ip4:192.0.2.1 include:%D -all", "SPF_LOOP")
_case("spf-loop-of-others", "spf", "v=spf1 ip4:192.0.2.1 include:loop.other.test -all", "SPF_LOOP", "SPF_THIRD_PARTY",
      extra=['loop.other.test. TXT "v=spf1 ip4:198.51.100.7 include:spf-loop-of-others.test -all"'])
_case("spf-itself", "spf", "v=spf1 redirect=%D", "SPF_LOOP")
_case("spf-eight", "spf", "v=spf1 " + "a:mail.%D " * 8 + "-all")
_case("spf-ten", "spf", "v=spf1 " + "a:mail.%D " * 10 + "-all", "SPF_NEAR_LOOKUP_LIMIT")
_case("spf-eleven", "spf", "v=spf1 a mx include:five.%D include:two.%D -all", "SPF_TOO_MANY_LOOKUPS",
      extra=['five.spf-eleven.test. TXT "v=spf1' + " a:mail.spf-eleven.test" * 5 + ' -all a:behind.test"',
             'two.spf-eleven.test. TXT "v=spf1 exists:no.spf-eleven.test mx:spf-eleven.test ?all"',
             "spf-eleven.test. A 192.0.2.1"])
_case("spf-endless", "spf", "v=spf1 include:a.%D include:a.%D -all", "SPF_TOO_MANY_LOOKUPS",
      extra=[f'{c}.spf-endless.test. TXT "v=spf1{f" include:{chr(ord(c) + 1)}.spf-endless.test" * 9} -all"' for c in "abcdef"]
      + ['g.spf-endless.test. TXT "v=spf1 -all"'])
_case("spf-two-void", "spf", "v=spf1 a:no1.%D exists:no2.%D ip4:192.0.2.1 -all")
_case("spf-three-void", "spf", "v=spf1 a:no1.%D exists:no2.%D mx:no3.%D -all", "SPF_TOO_MANY_VOID_LOOKUPS")
_case("spf-void-hosts", "spf", "v=spf1 mx:three.%D -all", "SPF_TOO_MANY_VOID_LOOKUPS",
      extra=[f"three.spf-void-hosts.test. MX 10 no{i}.spf-void-hosts.test." for i in range(3)])
_case("spf-eleven-mx", "spf", "v=spf1 mx:many.%D -all", "SPF_TOO_MANY_MX",
      extra=[f"many.spf-eleven-mx.test. MX 10 m{i}.spf-eleven-mx.test." for i in range(11)])
CASES.append(Case("spf-servfail.test", {}, {}, bare=True, whole={
    "DNS_NO_ANSWER"}))

# DMARC.
_case("dmarc-none", "dmarc", [], "DMARC_MISSING")
_case("dmarc-lower-case", "dmarc", "v=dmarc1; p=reject; rua=mailto:d@@", "DMARC_MISSING")
_case("dmarc-two", "dmarc", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "DMARC_SEVERAL_RECORDS")
_case("dmarc-beside-other-txt", "dmarc", ["v=DMARC1; p=reject; rua=mailto:d@@", "v=spf1 -all"])
_case("dmarc-blanks", "dmarc", "v = DMARC1 ; p = Reject ; rua = mailto:d@@ ;")
_case("dmarc-blank-in-front", "dmarc", " v=DMARC1; p=reject; rua=mailto:d@@", "DMARC_MISSING")
_case("dmarc-no-policy", "dmarc", "v=DMARC1; rua=mailto:d@@", "DMARC_SYNTAX")
_case("dmarc-bad-policy", "dmarc", "v=DMARC1; p=block; rua=mailto:d@@", "DMARC_SYNTAX")
_case("dmarc-bad-subdomain-policy", "dmarc", "v=DMARC1; p=reject; sp=all; rua=mailto:d@@", "DMARC_SYNTAX")
_case("dmarc-commas", "dmarc", "v=DMARC1, p=reject", "DMARC_MISSING")
_case("dmarc-no-equals", "dmarc", "v=DMARC1; p=reject; rua", "DMARC_SYNTAX")
_case("dmarc-policy-none", "dmarc", "v=DMARC1; p=none; rua=mailto:d@@", "DMARC_POLICY_NONE")
_case("dmarc-subdomains-none", "dmarc", "v=DMARC1; p=reject; sp=none; rua=mailto:d@@", "DMARC_SUBDOMAIN_POLICY_NONE")
_case("dmarc-nonexistent-none", "dmarc", "v=DMARC1; p=quarantine; np=none; rua=mailto:d@@", "DMARC_SUBDOMAIN_POLICY_NONE")
_case("dmarc-half", "dmarc", "v=DMARC1; p=quarantine; pct=50; rua=mailto:d@@", "DMARC_PARTIAL")
_case("dmarc-testing", "dmarc", "v=DMARC1; p=quarantine; t=y; rua=mailto:d@@", "DMARC_PARTIAL")
_case("dmarc-bad-percent", "dmarc", "v=DMARC1; p=reject; pct=101; rua=mailto:d@@", "DMARC_BAD_VALUE")
_case("dmarc-bad-options", "dmarc", "v=DMARC1; p=reject; adkim=x; fo=2; ri=day; rf=iodef; rua=mailto:d@@", "DMARC_BAD_VALUE")
_case("dmarc-all-options", "dmarc", "v=DMARC1; p=reject; adkim=r; aspf=r; fo=1:d:s; ri=3600; rf=afrf; rua=mailto:d@@")
_case("dmarc-unknown-tag", "dmarc", "v=DMARC1; p=reject; rau=mailto:d@@; rua=mailto:d@@", "DMARC_UNKNOWN_TAG")
_case("dmarc-unknown-tags", "dmarc", "v=DMARC1; p=reject; rau=mailto:d@@; rua=mailto:d@@; policy=none", "DMARC_UNKNOWN_TAG")
_case("dmarc-strict", "dmarc", "v=DMARC1; p=reject; adkim=s; aspf=s; rua=mailto:d@@", "DMARC_STRICT_ALIGNMENT")
_case("dmarc-no-reports", "dmarc", "v=DMARC1; p=reject", "DMARC_NO_REPORTS")
_case("dmarc-no-mailto", "dmarc", "v=DMARC1; p=reject; rua=d@@", "DMARC_REPORT_ADDRESS")
_case("dmarc-https", "dmarc", "v=DMARC1; p=reject; rua=https://%D/dmarc", "DMARC_REPORT_ADDRESS")
_case("dmarc-bad-size", "dmarc", "v=DMARC1; p=reject; rua=mailto:d@@!10x", "DMARC_REPORT_ADDRESS")
_case("dmarc-size", "dmarc", "v=DMARC1; p=reject; rua=mailto:d@@!10m,mailto:e@sub.%D; ruf=mailto:f@@")
_case("dmarc-three-addresses", "dmarc", "v=DMARC1; p=reject; rua=mailto:a@@,mailto:b@@,mailto:c@@", "DMARC_MANY_ADDRESSES")
_case("dmarc-external", "dmarc", "v=DMARC1; p=reject; rua=mailto:d@reports.test")
_case("dmarc-external-any", "dmarc", "v=DMARC1; p=reject; rua=mailto:d@anyone.test")
_case("dmarc-external-refused", "dmarc", "v=DMARC1; p=reject; rua=mailto:d@esp.test", "DMARC_REPORT_NOT_AUTHORISED")
_case("dmarc-external-failures", "dmarc", "v=DMARC1; p=reject; rua=mailto:d@@; ruf=mailto:d@esp.test",
      "DMARC_REPORT_NOT_AUTHORISED")
_case("dmarc-servfail", "dmarc", [], "DNS_NO_ANSWER")
_case("dmarc-alias-broken", "dmarc", [], "ALIAS_BROKEN", extra=["_dmarc.dmarc-alias-broken.test. CNAME gone.keys.test."])
_case("news.dmarc-inherited", "dmarc", [], "DMARC_INHERITED",
      extra=['_dmarc.dmarc-inherited.test. TXT "v=DMARC1; p=reject; rua=mailto:d@dmarc-inherited.test"'])
_case("news.dmarc-inherited-none", "dmarc", [], "DMARC_INHERITED", "DMARC_POLICY_NONE",
      extra=['_dmarc.dmarc-inherited-none.test. TXT "v=DMARC1; p=reject; sp=none; rua=mailto:d@dmarc-inherited-none.test"'])
_case("news.dmarc-own", "dmarc", "v=DMARC1; p=reject; rua=mailto:d@@",
      extra=['_dmarc.dmarc-own.test. TXT "v=DMARC1; p=none"'])

# BIMI.
_MARK = "v=BIMI1; l=https://%D/mark.svg; a=https://%D/mark.pem;"
_case("bimi-good", "bimi", _MARK, "BIMI_NOT_FETCHED")
_case("bimi-blank-in-front", "bimi", " " + _MARK, "BIMI_MISSING")
_case("bimi-two", "bimi", [_MARK, "v=BIMI1; l=; a=;"], "BIMI_SEVERAL_RECORDS")
_case("bimi-no-l", "bimi", "v=BIMI1; a=https://%D/mark.pem", "BIMI_SYNTAX")
_case("bimi-declined", "bimi", "v=BIMI1; l=; a=;", "BIMI_DECLINED")
_case("bimi-http", "bimi", "v=BIMI1; l=http://%D/mark.svg; a=https://%D/mark.pem", "BIMI_SVG_REFERENCE", "BIMI_NOT_FETCHED")
_case("bimi-png", "bimi", "v=BIMI1; l=https://%D/mark.png; a=https://%D/mark.pem", "BIMI_SVG_REFERENCE", "BIMI_NOT_FETCHED")
_case("bimi-no-certificate", "bimi", "v=BIMI1; l=https://%D/mark.svg", "BIMI_CERTIFICATE_MISSING", "BIMI_NOT_FETCHED")
_case("bimi-der", "bimi", "v=BIMI1; l=https://%D/mark.svg; a=https://%D/mark.der", "BIMI_CERTIFICATE_REFERENCE",
      "BIMI_NOT_FETCHED")
_case("bimi-weak", "bimi", _MARK, "BIMI_DMARC_TOO_WEAK", "BIMI_NOT_FETCHED", dmarc="v=DMARC1; p=none; rua=mailto:d@@",
      finds={"dmarc": {"DMARC_POLICY_NONE"}})
_case("bimi-partial", "bimi", _MARK, "BIMI_DMARC_TOO_WEAK", "BIMI_NOT_FETCHED",
      dmarc="v=DMARC1; p=reject; pct=10; rua=mailto:d@@", finds={"dmarc": {"DMARC_PARTIAL"}})
_case("bimi-subdomains", "bimi", _MARK, "BIMI_DMARC_TOO_WEAK", "BIMI_NOT_FETCHED",
      dmarc="v=DMARC1; p=reject; sp=none; rua=mailto:d@@", finds={"dmarc": {"DMARC_SUBDOMAIN_POLICY_NONE"}})
_case("bimi-weakest", "bimi", _MARK, "BIMI_DMARC_TOO_WEAK", "BIMI_NOT_FETCHED",
      dmarc="v=DMARC1; p=none; sp=none; pct=10; t=y; rua=mailto:d@@", finds={"dmarc": {"DMARC_POLICY_NONE"}})
_case("news.bimi-inherited", "bimi", _MARK, "BIMI_DMARC_TOO_WEAK", "BIMI_NOT_FETCHED", dmarc=[],
      finds={"dmarc": {"DMARC_INHERITED", "DMARC_POLICY_NONE"}},
      extra=['_dmarc.bimi-inherited.test. TXT "v=DMARC1; p=reject; sp=none; rua=mailto:d@bimi-inherited.test"'])
_case("bimi-no-dmarc", "bimi", _MARK, "BIMI_DMARC_TOO_WEAK", "BIMI_NOT_FETCHED", dmarc=[], finds={"dmarc": {"DMARC_MISSING"}})

# MTA-STS, TLS-RPT, MX.
_case("sts-none", "sts", [], "MTA_STS_MISSING")
_case("sts-blank-in-front", "sts", " v=STSv1; id=1;", "MTA_STS_MISSING")
_case("sts-blanks", "sts", "v = STSv1; id=1;", "MTA_STS_MISSING")
_case("sts-blank-beside", "sts", ["v=STSv1; id=1;", " v=STSv1; id=2;"], "MTA_STS_NOT_FETCHED")
_case("sts-two", "sts", ["v=STSv1; id=1;", "v=STSv1; id=2;"], "MTA_STS_SEVERAL_RECORDS")
_case("sts-nine-and-ten", "sts", ["v=STSv1; id=9;", "v=STSv1; id=10;"], "MTA_STS_SEVERAL_RECORDS")
_case("sts-no-id", "sts", "v=STSv1;", "MTA_STS_SYNTAX")
_case("sts-bad-id", "sts", "v=STSv1; id=2026-01-31;", "MTA_STS_SYNTAX")
_case("sts-id-twice", "sts", "v=STSv1; id=20260131; id=20260201;", "MTA_STS_SYNTAX")
_case("sts-long-id", "sts", "v=STSv1; id=" + "1" * 33, "MTA_STS_SYNTAX")
_case("sts-no-host", "sts", "v=STSv1; id=1;", "MTA_STS_HOST_MISSING", "MTA_STS_NOT_FETCHED", sts_host=False)
_case("tls-none", "tls", [], "TLS_RPT_MISSING")
_case("tls-blank-in-front", "tls", " v=TLSRPTv1; rua=mailto:d@@", "TLS_RPT_MISSING")
_case("tls-blanks", "tls", "v= TLSRPTv1; rua=mailto:d@@", "TLS_RPT_MISSING")
_case("tls-blank-beside", "tls", ["v=TLSRPTv1; rua=mailto:d@@", " v=TLSRPTv1; rua=mailto:e@@"])
_case("tls-two", "tls", ["v=TLSRPTv1; rua=mailto:d@@", "v=TLSRPTv1; rua=mailto:e@@"], "TLS_RPT_SEVERAL_RECORDS")
_case("tls-no-address", "tls", "v=TLSRPTv1;", "TLS_RPT_SYNTAX")
_case("tls-twice", "tls", "v=TLSRPTv1; rua=mailto:d@@; rua=mailto:e@@", "TLS_RPT_SYNTAX")
_case("tls-semicolon", "tls", "v=TLSRPTv1; rua=mailto:d@@;mailto:e@@?subject=x; f@@;", "TLS_RPT_SYNTAX")
_case("tls-unknown-part", "tls", "v=TLSRPTv1; rua=mailto:d@@; e at %D", "TLS_RPT_SYNTAX")
_case("tls-bad-address", "tls", "v=TLSRPTv1; rua=d@@", "TLS_RPT_ADDRESS")
_case("tls-half-good", "tls", "v=TLSRPTv1; rua=mailto:d@@,e@@,http://%D/tls", "TLS_RPT_ADDRESS")
_case("tls-http", "tls", "v=TLSRPTv1; rua=http://%D/tls", "TLS_RPT_ADDRESS")
_case("tls-https", "tls", "v=TLSRPTv1; rua=mailto:d@@,https://%D/tls")
_case("mx-null", "mx", ["0 ."], "NULL_MX", sts=[], tls=[], finds={"sts": set(), "tls": set()})
_case("mx-none", "mx", [], sts=[], tls=[], finds={"sts": set(), "tls": set()})

# Where they get SERVFAIL.
BROKEN = ["s._domainkey.dkim-servfail.test", "down.spf-include-servfail.test", "_dmarc.dmarc-servfail.test", "spf-servfail.test"]

# Others that the cases name.
_OTHERS = ['esp.test. TXT "v=spf1 ip4:198.51.100.0/24 include:more.esp.test -all"',
           'more.esp.test. TXT "v=spf1 ip4:203.0.113.0/29 ip6:2001:db8::/48 -ip4:203.0.113.128/25 ~all"',
           'open.test. TXT "v=spf1 +all"', 'crm.test. TXT "v=spf1 ip4:203.0.113.77 -all"', "relay.other.test. A 192.0.2.200",
           'dmarc-external.test._report._dmarc.reports.test. TXT "v=DMARC1"', '*._report._dmarc.anyone.test. TXT "v=DMARC1;"']


@functools.cache
def records():
    """All of them, as lines of one zone file."""
    return [line for case in CASES for line in case.lines()] + _OTHERS
