"""Messages through a milter, in a closed loop: the MTA's side is that of the tests (tests/integration/milter_client.py).

A connection stands for one SMTP client that sends many messages: it negotiates, says CONNECT and HELO once, and then hands
over message after message. As an MTA does, it leaves out the steps that the filter does not want, and waits for no answer
where the filter promised none.
"""

import milter_client
from errors import PeerError


class MilterPeer:
    """One connection to a milter on a Unix socket. Not for use by several threads."""

    def __init__(self, path):
        self._mta = milter_client.MilterConnection(f"unix:{path}")
        self._mta.negotiate()
        for command, payload in self._mta.commands(milter_client.Mail(b"\r\n\r\n", sender=None, recipients=())):
            if command in (milter_client.CONNECT, milter_client.HELO):
                self._say(command, payload)

    def close(self):
        self._mta.say(milter_client.QUIT)
        self._mta.close()

    def prepare(self, message):
        """The message as sign() takes it. What a real MTA would have at hand anyway is made outside the measured time."""
        mail = milter_client.Mail(message, b"<joe@example.com>", (b"<suzie@shopping.example.net>",))
        return self._mta.commands(mail, connect=False)

    def sign(self, prepared):
        """The DKIM-Signature field that the filter adds to a message, with CRLF."""
        for command, payload in prepared[:-1]:
            self._say(command, payload)
        self._mta.write(milter_client.packet(*prepared[-1]))
        code, text, changes = self._mta.changes()
        colon = b":" if self._mta.steps & milter_client.LEADING_SPACE else b": "
        fields = [name + colon + value for _, name, value in changes if name.lower() == b"dkim-signature"]
        if code not in (milter_client.CONTINUE, milter_client.ACCEPT) or not fields:
            raise PeerError(f"the milter added no DKIM-Signature ({code!r} {text}); its log says why")
        return fields[-1].replace(b"\n", b"\r\n") + b"\r\n"

    def _say(self, command, payload):
        code, _ = self._mta.say(command, payload) or (milter_client.CONTINUE, b"")
        if code not in (milter_client.CONTINUE, milter_client.SKIP):
            raise PeerError(f"the milter answers {command!r} with {code!r}, not with continue; its log says why")
