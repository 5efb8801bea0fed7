"""A box that is set up at its console, and what happens to a terminal."""

import os
import unittest

import box
from waiting import wait_for


class ConsoleTest(box.ProvisionCase):
    def test_wizard(self):
        self.box.start()
        self.box.wait_says("or type setup here")
        self.box.type("setup")
        long = f"{'a' * 60}.example"
        answers = [("the box's name", "Signer\u009b1"), (r'"Signer\194\1551" will not do', long), (f'"{long}" will not do', "signer1.example.com"),
                   ("its address", "192.0.2.10/24"),
                   ("its gateway", "192.0.2.1"), ("its name servers", "192.0.2.53 2001:db8::53"), ("the domains", "example.com example.com"),
                   ("security officers", "uri:example:operator:alice"), ("it takes two different ones", "dns:Alice.example dns:alice.example"),
                   ("it takes two different ones", "uri:example:operator:alice uri:example:operator:bob"), ("the first relay", "dns:relay1.example.com")]
        for place, (question, answer) in enumerate(answers):
            times = 1 + [asked for asked, _ in answers[:place]].count(question)
            wait_for(lambda asked=question, count=times: self.box.says().count(asked) == count, lambda asked=question: f"{asked}: {self.box.says()}")
            self.box.type(answer)
        for whose, name in (("the relays", "relay-ca"), ("the operators", "admin-ca")):
            self.box.wait_says(f"CA certificate of {whose}")
            self.box.type((self.operator.source / f"tls/{name}.pem").read_text())
        self.box.wait_says("yes or cancel")
        self.box.type("yes")
        self.box.wait_set_up()
        text = (self.box.config / "hallmark.toml").read_text()
        self.assertIn('first_officers = ["uri:example:operator:alice", "uri:example:operator:bob"]', text)
        self.assertIn("DNS=2001:db8::53\n", (self.box.root / "run/systemd/network/70-hallmark.network").read_text())
        self.operator.write(2)
        self.box.put_in(self.operator.pack())
        self.assertIn("set up at its console, and takes no other configuration", self.box.boot())


class TerminalTest(box.ProvisionCase):
    def setUp(self):
        super().setUp()
        self.person, self.terminal = os.openpty()
        self.box.keyboard = os.ttyname(self.terminal)
        self.box.start()
        self.box.wait_says("or type setup here")

    def tearDown(self):
        self.leave()
        os.close(self.terminal)

    def type(self, text):
        os.write(self.person, text.encode())

    def leave(self):
        """The line is gone, as when a terminal server lets go."""
        if self.person is not None:
            os.close(self.person)
        self.person = None

    def test_end_of_input_is_an_empty_line(self):
        self.type("\x04")
        wait_for(lambda: self.box.says().count("or type setup here") == 2, "Ctrl-D asks to look again")
        self.type("setup\n")
        self.box.wait_says("the box's name")
        self.type("\x04")
        self.box.wait_says('"" will not do')
        self.type("cancel\n")
        self.box.wait_says("nothing was set up")

    def test_the_terminal_goes(self):
        self.type("setup\n")
        self.box.wait_says("the box's name")
        self.leave()
        self.box.wait_says("the console was closed; nothing was set up")
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.wait_set_up()


if __name__ == "__main__":
    unittest.main()
