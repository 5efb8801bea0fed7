#!/usr/bin/python3
"""Verifies messages with dkimpy against what given name servers answer at this moment.

Reads one JSON object a line, {"servers": ["127.0.1.1"], "port": 5300, "messages": ["path", ...]}, and writes a line for
each: "ok", or what did not verify. Every signature of a message has to, at every server. Signatures are verified anew
whenever a server's answer is another one.
"""

import json
import sys

import dkim
import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype


def ask(server, port, name):
    """The TXT record at the name, or why there is none to use."""
    query = dns.message.make_query(name, "TXT")
    try:
        answer = dns.query.tcp(query, server, port=port, timeout=5)
    except (dns.exception.DNSException, OSError) as error:
        return None, f"{type(error).__name__}"
    values = [b"".join(record.strings) for rrset in answer.answer if rrset.rdtype == dns.rdatatype.TXT for record in rrset]
    if len(values) != 1:
        return None, f"{dns.rcode.to_text(answer.rcode())}, {len(values)} TXT records"
    return values[0], ""


class Checker:
    def __init__(self):
        self._messages, self._verified = {}, set()

    def _load(self, path):
        if path not in self._messages:
            with open(path, "rb") as file:
                octets = file.read()
            parsed = dkim.DKIM(octets)
            tags = [dkim.util.parse_tag_value(value) for name, value in parsed.headers if name.lower() == b"dkim-signature"]
            names = [(tag[b"s"] + b"._domainkey." + tag[b"d"]).decode() for tag in tags]
            self._messages[path] = octets, names
        return self._messages[path]

    def check(self, request):
        answers = {}
        for path in request["messages"]:
            octets, names = self._load(path)
            if not names:
                return f"{path} has no signature"
            for server in request["servers"]:
                for index, name in enumerate(names):
                    if (server, name) not in answers:
                        answers[server, name] = ask(server, request["port"], name)
                    value, why = answers[server, name]
                    if value is None:
                        return f"{path}: {server} does not give {name}: {why}"
                    if (path, index, value) in self._verified:
                        continue
                    try:
                        passed = dkim.DKIM(octets).verify(idx=index, dnsfunc=lambda *_, **__: value)
                    except dkim.DKIMException as error:
                        passed, why = False, str(error)
                    if not passed:
                        return f"{path}: signature {index} with {name} of {server}: {why or 'does not verify'}"
                    self._verified.add((path, index, value))
        return "ok"


def main():
    checker = Checker()
    for line in sys.stdin:
        print(checker.check(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
