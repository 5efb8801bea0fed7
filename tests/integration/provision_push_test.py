"""A configuration that is pushed over the network to a box that is not set up."""

import os
import re
import select
import socket
import ssl
import unittest

import box
from waiting import wait_for


class PushTest(box.ProvisionCase):
    def setUp(self):
        super().setUp()
        self.box.start("127.0.0.1:0")
        self.box.wait_says("one-time code")
        wait_for(lambda: "fingerprint   " in self.box.says(), "the console shows the fingerprint")
        said = self.box.says()
        self.port = re.search(r"--box ADDRESS:(\d+)", said)[1]
        self.fingerprint = re.search(r"fingerprint   (\S+)", said)[1]

    def code(self):
        return re.findall(r"one-time code (?:is now )?(\S+)", self.box.says())[-1]

    def push(self, code, fingerprint=None, status=0):
        return box.run("push", self.operator.folder / "box.hallmark", "--box", f"127.0.0.1:{self.port}", "--fingerprint",
                       fingerprint or self.fingerprint, "--out", self.box.folder / "pushed.pem", input=code + "\n", status=status)

    def test_push(self):
        self.operator.pack()
        self.assertIn("the code is not the one", self.push("AAAA-BBBB-CCCC-DDDD", status=1).stderr)
        self.assertIn("what answers there is not that box", self.push(self.code(), "00:" * 31 + "00", status=1).stderr)
        self.check_not_set_up()
        self.push(self.code().lower(), self.fingerprint[:47])
        self.box.wait_set_up()
        self.check_set_up()
        self.assertEqual((self.box.folder / "pushed.pem").read_bytes(), (self.box.config / "tls/server.pem").read_bytes())
        self.assertIn("cannot be reached", self.push(self.code(), status=1).stderr, "it is closed for good")

    def connect(self):
        """A pusher who speaks for himself."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        stream = context.wrap_socket(socket.create_connection(("127.0.0.1", int(self.port)), 60))
        self.addCleanup(stream.close)
        file = self.operator.pack().read_bytes()
        stream.sendall(f"HALLMARK-PUSH 1 {self.code()} {len(file)}\n".encode())
        self.assertEqual(stream.recv(100), b"GO\n")
        stream.sendall(file)
        return stream

    def test_the_pusher_is_gone_before_the_answer(self):
        """The recovery key is nowhere but on the box then: said, and kept for a stick."""
        self.with_recipients()
        seal, go = self.box.root / "usr/libexec/hallmark/seal-pins", self.box.folder / "go"
        self.box.script(seal, f"while [ ! -e {go} ]; do sleep 0.1; done\n" + seal.read_text().split("set -eu\n")[1])
        stream = self.connect()
        self.box.wait_says("setting up signer1.example.com with the configuration from the network")
        stream.close()
        go.touch()
        self.box.wait_set_up()
        self.assertIn("nobody has its certificate and its recovery key yet", self.box.says())
        self.box.stick.mkdir()
        self.assertIn("on the stick now", self.box.boot())
        self.assertEqual((self.box.stick / "recovery.cms").read_text(), "recovery key\n")

    def test_the_pusher_has_the_recovery_key(self):
        self.with_recipients()
        self.operator.pack()
        self.push(self.code())
        self.box.wait_set_up()
        self.assertTrue((self.box.folder / "pushed.pem").read_text().endswith("recovery key\n"))
        self.box.stick.mkdir()
        self.assertNotIn("hallmark:", self.box.boot())

    def test_an_out_that_cannot_be_written(self):
        """Is found out before the box is set up, and before anybody is asked."""
        self.operator.pack()
        for out in (self.box.folder / "none/pushed.pem", self.box.folder):
            done = box.run("push", self.operator.folder / "box.hallmark", "--box", f"127.0.0.1:{self.port}", "--fingerprint", self.fingerprint,
                           "--out", out, input=self.code() + "\n", status=1)
            self.assertIn(str(out), done.stderr)
            self.assertNotIn("one-time code", done.stderr)
        self.check_not_set_up()

    def test_a_push_beside_a_stick(self):
        """Nobody gets the answer to another's configuration."""
        seal, go = self.box.root / "usr/libexec/hallmark/seal-pins", self.box.folder / "go"
        self.box.script(seal, f"while [ ! -e {go} ]; do sleep 0.1; done\n" + seal.read_text().split("set -eu\n")[1])
        self.box.owned_by(self.operator.signer)
        self.box.put_in(self.operator.pack())
        self.box.wait_says("setting up signer1.example.com with the configuration from the stick")
        stream = self.connect()
        go.touch()
        self.box.wait_set_up()
        try:
            answer = stream.recv(100)
        except OSError:  # cut off
            answer = b""
        self.assertIn(answer, (b"", b"NO the box was set up in another way\n"))

    def test_the_code_is_for_eyes_only(self):
        """On a terminal it does not go where the rest goes, which a log keeps."""
        self.box.stop()
        person, terminal = os.openpty()
        self.addCleanup(os.close, person)
        self.addCleanup(os.close, terminal)
        self.box.keyboard = os.ttyname(terminal)
        self.box.start("127.0.0.1:0")
        seen = b""
        while not re.search(rb"one-time code ([A-Z2-9]{4}-){3}[A-Z2-9]{4}\r", seen):
            self.assertTrue(select.select([person], [], [], 60)[0], "the terminal shows the code")
            seen += os.read(person, 4096)
        self.box.wait_says("fingerprint   ")
        self.assertNotIn("one-time code", self.box.says())

    def test_who_connects_late(self):
        """Enter shows all that a push needs once more, and where the box is as soon as DHCP has said so."""
        code = self.code()
        self.assertIn("ADDRESS       none from DHCP yet", self.box.says())
        leases = self.box.root / "run/systemd/netif/leases"
        leases.mkdir(parents=True)
        (leases / "2").write_text("# This is private data. Do not parse.\nADDRESS=192.0.2.44\nNETMASK=255.255.255.0\n")
        (leases / "3").write_text("ADDRESS=\x1b[2J\n")
        for times in (2, 3):
            self.box.type("")
            wait_for(lambda count=times: self.box.says().count("  fingerprint   " + self.fingerprint) == count, "it is said again")
        self.box.wait_says("  its address   192.0.2.44\n")
        self.assertIn(f"--box 192.0.2.44:{self.port} --fingerprint F", self.box.says())
        self.assertEqual(self.box.says().count("one-time code " + code), 3)

    def test_five_wrong_codes(self):
        self.operator.pack()
        first = self.code()
        for _ in range(5):
            self.push("AAAA-BBBB-CCCC-DDDD", status=1)
        self.box.wait_says("the one-time code is now")
        self.assertNotEqual(self.code(), first)
        self.push(first, status=1)
        self.push(self.code())
        self.box.wait_set_up()

    def test_refused_configuration(self):
        """The pusher hears why, and may try again with the same code."""
        self.operator.pack()
        self.box.owned_by(self.operator.make_signer("owner"))
        self.assertIn("the box refused", self.push(self.code(), status=1).stderr)
        self.operator.pack(signer=self.operator.folder / "owner")
        self.push(self.code())
        self.box.wait_set_up()


class InheritedSocketTest(box.ProvisionCase):
    """On the box systemd listens: the set-up has no network of its own."""

    def test_push(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command, port = self.box.command, listener.getsockname()[1]
            self.box.command = lambda listen: ["sh", "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{listener.fileno()}', "sh", *command(listen)]
            self.box.start("systemd", pass_fds=(listener.fileno(),))
        wait_for(lambda: "fingerprint   " in self.box.says(), "the console shows the fingerprint")
        said = self.box.says()
        self.assertIn(f"--box ADDRESS:{port}", said)
        code, fingerprint = re.search(r"one-time code (\S+)", said)[1], re.search(r"fingerprint   (\S+)", said)[1]
        self.operator.pack()
        push = ["push", self.operator.folder / "box.hallmark", "--box", f"127.0.0.1:{port}", "--fingerprint", fingerprint, "--out",
                self.box.folder / "pushed.pem"]
        box.run(*push, input=code + "\n")
        self.box.wait_set_up()
        self.check_set_up()
        self.assertIn("cannot be reached", box.run(*push, input=code + "\n", status=1).stderr)

    def test_without_one(self):
        self.box.start("systemd")
        self.box.wait_says("nothing can be pushed: systemd has not passed a socket to listen on")
        self.box.wait_says("not set up yet: put in the stick")


if __name__ == "__main__":
    unittest.main()
