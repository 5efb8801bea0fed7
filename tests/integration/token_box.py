"""A deployment that has another token beside the SoftHSM one of `dkimctl init`, for tests of real modules."""

import dkim

import deployment
import messages
from hallmark.admin.v1 import admin_pb2
from waiting import wait_for

READY, PIN_REJECTED = admin_pb2.TOKEN_STATE_READY, admin_pb2.TOKEN_STATE_PIN_REJECTED
GONE = (admin_pb2.TOKEN_STATE_ABSENT, admin_pb2.TOKEN_STATE_DOWN)


class Box:
    """`name` is the token's, in hallmark.toml too. Not started yet; add_token() comes first."""

    def __init__(self, case, name):
        self.case, self.name = case, name
        self.hallmark = deployment.Deployment(start=False)
        case.addCleanup(self.hallmark.close)
        self.pin_file = self.hallmark.folder / f"{name}-pin"
        self.pin_file.touch(0o600)

    def add_token(self, *, module, token, pin, environment, first, sessions, more=""):
        """The token's lines in hallmark.toml: before those of SoftHSM, or after them; `more` comes before the first."""
        self.pin_file.write_text(pin + "\n")
        variables = ", ".join(f'{name} = "{value}"' for name, value in environment.items())
        lines = (f'[[token]]\nname = "{self.name}"\nmodule = "{module}"\nsessions = {sessions}\n'
                 f'uri = "pkcs11:{token}?pin-source=file:{self.pin_file}"\nenvironment = {{ {variables} }}\n\n')
        self.hallmark.edit_config(lambda text: more + (text.replace("[[token]]", lines + "[[token]]", 1) if first
                                                       else text + "\n" + lines))

    def token(self):
        """What the daemon says of the token."""
        tokens = self.hallmark.admin().GetStatus(admin_pb2.GetStatusRequest()).tokens
        return next(token for token in tokens if token.name == self.name)

    def wait_for_state(self, *states, seconds=30):
        wait_for(lambda: self.token().state in states, lambda: f"{states}; it is {self.token()}", seconds)

    def start(self):
        self.hallmark.start()
        self.wait_for_state(READY)

    def check_signs(self, domain, selector=None):
        """A message of the domain gets one signature, and dkimpy accepts it with the record that the domain should publish."""
        message = messages.MESSAGE.replace(b"example.com", domain.encode())
        answer = self.hallmark.sign(message)
        records = dict(line.strip().split(" TXT ", 1) for line in self.hallmark.key_lines([domain]))
        self.case.assertEqual([signature.algorithm for signature in answer.signatures], [deployment.RSA])
        if selector:
            self.case.assertEqual(answer.signatures[0].selector, selector)
        self.case.assertTrue(dkim.verify(messages.signed(message, answer),
                                         dnsfunc=lambda name, timeout=5: records.get(name.decode().rstrip("."), "").encode()))
