"""Has messages signed by an rspamd worker over HTTP.

rspamd 3.4 closes a connection after each message, also where it is asked to keep it; so each message has its own.
"""

import http.client
import json
import socket

from errors import PeerError

# rspamd signs what a logged-in user of its own sends.
HEADERS = {"IP": "127.0.0.1", "User": "joe@example.com", "From": "joe@example.com", "Rcpt": "suzie@shopping.example.net"}


class RspamdConnection:
    """What takes the place of a connection to rspamd: one message after the other."""

    def __init__(self, path):
        self._path = str(path)

    def close(self):
        pass

    def prepare(self, message):
        return message

    def sign(self, message):
        """The DKIM-Signature field of a message, with CRLF."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._path)
        try:
            connection.request("POST", "/checkv2", message, HEADERS)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise PeerError(f"rspamd answers {answer.status} {answer.reason}; its log says why")
        value = json.loads(text).get("dkim-signature")
        if not isinstance(value, str):
            raise PeerError("rspamd gave not one DKIM-Signature; its log says why")
        return b"DKIM-Signature: " + value.encode() + b"\r\n"
