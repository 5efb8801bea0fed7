"""Rotation of a domain whose zone Hallmark cannot update: its names lead to another zone by DNAME, by CNAME or by NS."""

import json
import re
import unittest

import dns.message
import dns.query
import dns.rdatatype

from rotation_test import Case

DOMAIN, OTHER = "example.com", "dkim.example.net"


class Delegated(Case):
    POLICY = ()

    def setUp(self):
        super().setUp()
        self.ctl("domain", "add", DOMAIN)
        self.ctl("key", "policy", "set", DOMAIN, "--publisher", "main", "--waive-backup", "new ones", *self.POLICY)

    def give_up(self):
        """New keys are made and given up before they sign. Gives their selectors, once they are withdrawn."""
        self.ctl("key", "rotate", DOMAIN, "--now")
        given_up = self.selectors(self.wait("published", lambda status: len(self.selectors(status, "PUBLISHED")) == 2), "PUBLISHED")
        self.ctl("key", "rollback", DOMAIN, "--yes")
        self.ctl("key", "resume", DOMAIN)
        self.wait("withdrawn", lambda status: self.selectors(status, "WITHDRAWN") == given_up)
        return given_up

    def left_over(self):
        """The names that posture calls left over, or broken."""
        run = self.hallmark.dkimctl("posture", DOMAIN, "--nameserver", f"127.0.0.1:{self.dns.port}", "--output", "json", status=None)
        return {finding["name"] for finding in json.loads(run.stdout)["domains"][0]["findings"]
                if finding["id"] in ("DKIM_RECORD_LEFT_OVER", "ALIAS_BROKEN")}

    def names(self, status, state):
        """Where the records of keys in this state are, by selector."""
        return {key["key"]["selector"]: key["record_name"] for key in status["keys"] if key["key"]["state"] == "KEY_STATE_" + state}

    def replace(self, before_new_keys_sign=lambda: None):
        """Keys are replaced and the old ones revoked, and mail verifies throughout. Gives the selectors of both."""
        self.emergency()
        before_new_keys_sign()
        first = self.selectors(self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"]), "ACTIVE")
        self.assertEqual(self.assert_verifies(), first)
        waiting = self.emergency()
        number = re.search(r"dkimctl approvals approve (\d+)", waiting.stderr).group(1)
        before_new_keys_sign()
        status = self.wait("rotated", lambda status: self.states(status) == ["ACTIVE", "ACTIVE", "RETIRING", "RETIRING"])
        self.assertEqual(self.selectors(status, "RETIRING"), first)
        second = self.selectors(status, "ACTIVE")
        self.assertEqual(self.assert_verifies(), second)
        self.hallmark.as_officer2()
        self.ctl("approvals", "approve", number, "--yes", "--as", "officer2")
        self.wait("revoked", lambda status: self.selectors(status, "REVOKED") == first)
        for selector in first | second:
            # What a verifier finds, which asks for the name in the domain's own zone.
            record, = self.txt(f"{selector}._domainkey.{DOMAIN}")
            self.assertRegex(record, r"^v=DKIM1; k=(rsa|ed25519); p=" + ("$" if selector in first else "."))
        self.assert_verifies()
        return first, second


class ByDname(Delegated):
    RECORDS = (f"_domainkey.{DOMAIN}. DNAME {DOMAIN}.{OTHER}.",)
    POLICY = ("--delegation", OTHER)

    def test_the_record_is_kept_in_another_zone(self):
        first, second = self.replace()
        for state, selectors in (("REVOKED", first), ("ACTIVE", second)):
            names = self.names(self.status(), state)
            self.assertEqual(names, {selector: f"{selector}.{DOMAIN}.{OTHER}" for selector in selectors})
            for name in names.values():
                self.assertEqual(len(self.txt(name)), 1)

    def test_nothing_is_left_of_a_key_that_was_withdrawn(self):
        self.emergency()
        self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"])
        self.assertEqual(self.left_over(), set())
        self.give_up()
        self.assertEqual(self.left_over(), set())


class ByCname(Delegated):
    POLICY = ("--delegation", OTHER)

    def aliases(self):
        """The lines for the domain's own zone that `key status` prints."""
        text = self.ctl("key", "status", DOMAIN)
        lines = [line for line in text.splitlines() if " IN CNAME " in line]
        self.assertEqual(text.count("the domain's own zone needs, where it has no DNAME:\n"), len(lines))
        self.assertNotIn(" IN TXT ", text, "the records themselves are published by signerd")
        return lines

    def add_aliases(self):
        """What an operator does: adds the lines that are printed, to the letter. Until then nothing goes on, and it is said why."""
        status = self.wait("published", lambda status: len(self.selectors(status, "PUBLISHED")) == 2 and status["trouble"])
        names = self.names(status, "PUBLISHED")
        for name in names.values():
            self.assertEqual(len(self.txt(name)), 1)
        lines = self.aliases()
        self.assertEqual(sorted(lines), sorted(f"{selector}._domainkey.{DOMAIN}. IN CNAME {selector}.{DOMAIN}.{OTHER}."
                                               for selector in names))
        self.assertIn("_domainkey." + DOMAIN, status["trouble"])
        for line in lines:
            name, _, kind, target = line.split(" ")
            self.update(lambda update: update.add(name, 300, kind, target))

    def test_key_status_names_each_alias_and_waits_for_it(self):
        self.replace(self.add_aliases)
        self.assertEqual(self.aliases(), [])
        # Of the keys that are revoked there are still the answers of before.
        self.assertEqual({server["says"] for key in self.status()["keys"] if key["key"]["state"] == "KEY_STATE_ACTIVE"
                          for server in key["servers"]}, {"expected"})

    def test_key_status_says_which_aliases_go(self):
        """To the letter, what posture finds left over."""
        self.emergency()
        self.add_aliases()
        self.wait("active", lambda status: self.states(status) == ["ACTIVE", "ACTIVE"])
        aliases = {f"{selector}._domainkey.{DOMAIN}." for selector in self.give_up()}
        for name in aliases:  # as an operator has put them there meanwhile
            self.update(lambda update: update.add(name, 300, "CNAME", f"{name.split('.')[0]}.{DOMAIN}.{OTHER}."))
        self.assertEqual(self.left_over(), {name.removesuffix(".") for name in aliases})
        text = self.ctl("key", "status", DOMAIN)
        self.assertEqual(set(re.findall(r"^remove from DNS, where there is no DNAME:\n(.*)$", text, re.MULTILINE)), aliases)
        for name in aliases:
            self.update(lambda update: update.delete(name))
        self.assertEqual(self.left_over(), set())


class ByNameServers(Delegated):
    """_domainkey is a zone of its own, and the only one that takes updates."""

    RECORDS = (f"_domainkey.{DOMAIN}. NS ns.invalid.",)
    ZONES = {f"_domainkey.{DOMAIN}.": ()}

    def test_the_records_are_in_the_zone_of_their_own(self):
        first, second = self.replace()
        status = self.status()
        self.assertEqual(self.names(status, "ACTIVE"), {selector: f"{selector}._domainkey.{DOMAIN}" for selector in second})
        self.assertNotIn("CNAME", self.ctl("key", "status", DOMAIN))
        for selector in first | second:
            query = dns.message.make_query(f"{selector}._domainkey.{DOMAIN}", "SOA")
            answer = dns.query.tcp(query, "127.0.0.1", port=self.dns.port, timeout=5)
            self.assertEqual([(str(rrset.name), rrset.rdtype) for rrset in answer.authority],
                             [(f"_domainkey.{DOMAIN}.", dns.rdatatype.SOA)])


if __name__ == "__main__":
    unittest.main()
