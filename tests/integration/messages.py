"""Octets of messages: what goes on the wire, and a few messages that many tests use."""

import re

MESSAGE = (b"From: Alice <alice@example.com>\r\nTo: Bob <bob@example.org>\r\nSubject: Lunch\r\n"
           b"Date: Mon, 05 Jan 2026 09:30:00 +0100\r\nMessage-ID: <lunch@example.com>\r\n\r\nAt noon?\r\n")


def wire(message):
    """The message as a relay writes it: every line ends in CRLF, the last one too."""
    message = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    return message if message.endswith(b"\r\n") else message + b"\r\n"


def signed(message, response):
    """The message on the wire with the fields of a SignResponse on top."""
    return b"".join(wire(signature.header_field) for signature in response.signatures) + wire(message)


def tags(field):
    """The tags of a DKIM-Signature field as {name: value without white space}."""
    pairs = (part.partition(b"=") for part in field.split(b":", 1)[1].split(b";") if part.strip())
    return {name.strip().decode(): b"".join(value.split()).decode() for name, _, value in pairs}
