"""The way of a mail: a Postfix whose milter signs, a Maildir behind it, and a second Postfix whose OpenDKIM verifies.

    with MailWay(milter.address, hallmark.key_lines(["example.com"])) as way:
        way.relay.send("alice@example.com", [LOCAL, REMOTE], messages.MESSAGE)
        way.relay.maildir.wait(1), way.receiver.maildir.wait(1)
"""

import contextlib

import dkim

import messages
import opendkim
import postfix

# Recipients: delivered by the relay itself, and by the receiver.
LOCAL, REMOTE = "box@local.example", "box@remote.example"

# What is signed stays as it is: smtp(8) would fold lines that are too long for SMTP.
UNCHANGED_BY_SMTP = {"smtp_line_length_limit": "0"}


class MailWay(contextlib.ExitStack):
    """milter      what smtpd_milters and non_smtpd_milters of the relay get
    key_lines   the keys that the verifier finds
    services    the SMTP services of the relay, as postfix.Postfix has them
    settings    more of the relay's main.cf; receiver_settings: of the receiver's
    """

    def __init__(self, milter, key_lines, services=None, settings=None, users=None, receiver_settings=None, ports=None):
        super().__init__()
        try:
            self.verifier = self.enter_context(opendkim.OpenDkim(key_lines))
            self.receiver = self.enter_context(postfix.Postfix(
                settings={"smtpd_milters": self.verifier.address, **(receiver_settings or {})}, hostname="receiver.example"))
            self.relay = self.enter_context(postfix.Postfix(services, {
                "smtpd_milters": milter, "non_smtpd_milters": milter, "milter_default_action": "tempfail",
                "transport_maps": self.transport(self.receiver), **UNCHANGED_BY_SMTP, **(settings or {})}, users, hostname="relay.example", ports=ports))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def transport(receiver):
        """transport_maps that send what is for REMOTE's domain to another Postfix."""
        return f"inline:{{ {{remote.example = smtp:[127.0.0.1]:{next(iter(receiver.ports.values()))}}} }}"


def keys_of(key_lines):
    """Key lines as {name: value}, for own_signatures()."""
    keys = {}
    for line in key_lines:
        name, _, value = line.split(None, 2)
        keys[name.rstrip(".").lower().encode() + b"."] = value.strip().encode()
    return keys


def own_signatures(message, keys):
    """[(signing domain, selector, whether dkimpy accepts it)] of each DKIM-Signature whose key is among `keys`."""
    verifier = dkim.DKIM(message)
    found, index = [], 0
    for name, value in verifier.headers:
        if name.lower() == b"dkim-signature":
            tags = messages.tags(name + b":" + value)
            if f"{tags['s']}._domainkey.{tags['d']}.".lower().encode() in keys:
                found.append((tags["d"], tags["s"], _accepts(message, index, keys)))
            index += 1
    return found


def _accepts(message, index, keys):
    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=lambda name, timeout=5: keys.get(name.lower()))
    except dkim.DKIMException:
        return False
