"""The examples for relays' authors, each against a real signerd: Python, Node where npm could install what it needs, and a client
that knows nothing but the server's reflection."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

import deployment
import mail_way
import messages

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "tools/relay-client/examples"
NODE_MODULES = deployment.BUILD / "examples/node/node_modules"
SMALL = messages.MESSAGE
KEYLESS = SMALL.replace(b"example.com>", b"keyless.example>")
OVER = messages.MESSAGE + (b"x" * 76 + b" \r\n") * 2000  # beyond what the examples send at once
LARGE = messages.MESSAGE + (b"x" * 76 + b" \r\n") * 220_000

# What Haraka gives a plugin, as far as ours uses it. Says what the hook calls next with, and the fields that it has put on top.
HARAKA = """
Object.assign(globalThis, { DENY: 'DENY', DENYSOFT: 'DENYSOFT' });
const [folder, proto, server, ca, certificate, private_key, server_name] = process.argv.slice(1);
const plugin = require(folder + '/plugins/hallmark.js');
plugin.config = { get: () => ({ main: { proto, server, ca, certificate, private_key, server_name } }) };
plugin.register();
const message = require('fs').readFileSync(0);
const fields = [];
const transaction = {
  mail_from: { address: 'alice@example.com' }, rcpt_to: [{ address: 'bob@example.org' }], header: { get: () => 'is there' },
  message_stream: { get_data: (take) => take(message) },
  add_leading_header: (name, value) => fields.unshift(`${name}: ${value}\\n`),
};
plugin.hook_queue_outbound((code = 'next') => { console.log(JSON.stringify([code, fields])); plugin.shutdown(); },
  { transaction, lognotice: (_, text) => console.error(text) });
"""


class RelayExamplesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment(start=False)
        cls.addClassCleanup(cls.hallmark.close)
        # The least that a server may take in one request.
        cls.hallmark.edit_config(lambda text: text.replace("[signing]\n", "[signing]\nmessage_octets = 65536\n", 1))
        cls.hallmark.start()
        cls.hallmark.add_domain("example.com")
        cls.hallmark.add_domain("keyless.example", algorithms=())
        cls.keys = mail_way.keys_of(cls.hallmark.key_lines(["example.com"]))

    def run_example(self, command, message, host="127.0.0.1", name=("localhost",)):
        """The certificate names localhost: said where the host is another."""
        tls = self.hallmark.folder / "tls"
        server = self.hallmark.signing_address.replace("127.0.0.1", host)
        words = [*command, server, tls / "server-ca.pem", tls / "relay1.pem", tls / "relay1.key", *name]
        return subprocess.run([str(word) for word in words], input=message, capture_output=True, timeout=120, check=False)

    def assert_signs_and_refuses(self, command):
        for message in (SMALL, OVER, LARGE):
            finished = self.run_example(command, message)
            self.assertEqual((finished.returncode, finished.stderr), (0, b""))
            self.assertTrue(finished.stdout.endswith(message))
            self.assertEqual([accepted for _, _, accepted in mail_way.own_signatures(finished.stdout, self.keys)], [True, True])
        self.assertIn(b"warning: LONG_LINE: the body has a line of 1000 octets", self.run_example(command, SMALL + b"x" * 1000 + b"\r\n").stderr)
        self.assertEqual(self.run_example(command, SMALL, host="localhost", name=()).returncode, 0)
        finished = self.run_example(command, SMALL.replace(b"example.com>", b"elsewhere.example>"))
        self.assertEqual((finished.returncode, finished.stdout), (77, b""))
        self.assertIn(b"DOMAIN_NOT_CONFIGURED", finished.stderr)
        finished = self.run_example(command, KEYLESS)  # the signer's trouble, and not the message's
        self.assertEqual((finished.returncode, finished.stdout), (75, b""))
        self.assertIn(b"NO_ACTIVE_KEY", finished.stderr)
        for pid in self.hallmark.tokend_pids():  # it is back soon, and the example tries until then
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.run_example(command, SMALL).returncode, 0)

    def test_python(self):
        self.assert_signs_and_refuses(["/usr/bin/python3", "-B", EXAMPLES / "python/sign.py"])

    @unittest.skipUnless(NODE_MODULES.is_dir(), "tools/check could not install what the Node example needs")
    def test_node(self):
        # Node looks for modules beside the script.
        script = shutil.copy(EXAMPLES / "node/sign.js", NODE_MODULES.parent)
        self.assert_signs_and_refuses(["node", script, ROOT / "proto"])

    @unittest.skipUnless(NODE_MODULES.is_dir(), "tools/check could not install what the Node example needs")
    def test_haraka(self):
        """The plugin's hook alone: what Haraka is told of a message."""
        shutil.copy(EXAMPLES / "node/sign.js", NODE_MODULES.parent)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(EXAMPLES / "haraka/plugins", pathlib.Path(folder, "plugins"))
            pathlib.Path(folder, "hallmark").symlink_to(NODE_MODULES.parent)
            for message, told, reason, signatures in (
                    (SMALL, "next", b"", 2), (SMALL + b"x" * 1000 + b"\r\n", "next", b"LONG_LINE", 2), (KEYLESS, "DENYSOFT", b"NO_ACTIVE_KEY", 0),
                    (SMALL.replace(b"From:", b"X-From:"), "DENY", b"FROM_MISSING", 0),
                    (SMALL.replace(b"example.com>", b"elsewhere.example>"), "next", b"DOMAIN_NOT_CONFIGURED", 0)):
                finished = self.run_example(["node", "-e", HARAKA, folder, ROOT / "proto"], message)
                self.assertEqual(finished.returncode, 0, finished.stderr)
                code, fields = json.loads(finished.stdout)
                self.assertEqual((code, len(fields)), (told, signatures), finished.stderr)
                self.assertIn(reason, finished.stderr)
                if signatures:  # Haraka writes each line end of a header as CRLF
                    signed = re.sub(r"\r?\n", "\r\n", "".join(fields)).encode() + message
                    self.assertEqual([accepted for _, _, accepted in mail_way.own_signatures(signed, self.keys)], [True, True])

    def test_reflection_is_all_that_a_client_needs(self):
        """As grpcurl does it: ask what there is, take the types from the answer, and call with JSON."""
        channel = self.hallmark.channel(self.hallmark.signing_address)
        reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                        request_serializer=_REFLECTION["Request"].SerializeToString,
                                        response_deserializer=_REFLECTION["Response"].FromString)

        def ask(**question):
            return next(reflect(iter([_REFLECTION["Request"](**question)]), timeout=30))

        services = [service.name for service in ask(list_services="").list_services_response.service]
        self.assertIn("hallmark.signing.v1.SigningService", services)
        pool, waiting, known = descriptor_pool.DescriptorPool(), {}, set()
        for octets in ask(file_containing_symbol="hallmark.signing.v1.SigningService").file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(octets)
            waiting[file.name] = file
        while waiting:  # a file comes after those that it imports
            for name in [name for name, file in waiting.items() if known.issuperset(file.dependency)]:
                pool.Add(waiting.pop(name))
                known.add(name)
            for missing in {name for file in waiting.values() for name in file.dependency} - known - waiting.keys():
                for octets in ask(file_by_filename=missing).file_descriptor_response.file_descriptor_proto:
                    file = descriptor_pb2.FileDescriptorProto.FromString(octets)
                    waiting[file.name] = file
        method = pool.FindMethodByName("hallmark.signing.v1.SigningService.Sign")
        request, answer = (message_factory.MessageFactory(pool).GetPrototype(kind) for kind in (method.input_type, method.output_type))
        call = channel.unary_unary("/hallmark.signing.v1.SigningService/Sign", request_serializer=request.SerializeToString,
                                   response_deserializer=answer.FromString)
        asked = {"message": base64.b64encode(SMALL).decode(), "options": {"envelopeSender": "alice@example.com"}}
        given = json_format.MessageToDict(call(json_format.ParseDict(asked, request()), timeout=30))
        self.assertEqual([signature["algorithm"] for signature in given["signatures"]], ["ALGORITHM_RSA_SHA256", "ALGORITHM_ED25519_SHA256"])
        fields = b"".join(base64.b64decode(signature["headerField"]) for signature in given["signatures"])
        self.assertEqual([accepted for _, _, accepted in mail_way.own_signatures(fields + SMALL, self.keys)], [True, True])


def _reflection():
    """The messages of the reflection service that are used here; Debian has no package with them."""
    file = descriptor_pb2.FileDescriptorProto(name="reflection.proto", package="grpc.reflection.v1alpha", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        built = file.message_type.add(name=name)
        for number, label, kind, field_name in fields:
            nested = None if isinstance(kind, int) else f".grpc.reflection.v1alpha.{kind}"
            built.field.add(name=field_name, number=number, label=label, type=field.TYPE_MESSAGE if nested else kind, type_name=nested)

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message("Request", (3, one, field.TYPE_STRING, "file_by_filename"), (4, one, field.TYPE_STRING, "file_containing_symbol"),
            (7, one, field.TYPE_STRING, "list_services"))
    file.message_type[0].oneof_decl.add(name="message_request")  # an empty string is sent, too
    for entry in file.message_type[0].field:
        entry.oneof_index = 0
    message("Service", (1, one, field.TYPE_STRING, "name"))
    message("Services", (1, many, "Service", "service"))
    message("Files", (1, many, field.TYPE_BYTES, "file_descriptor_proto"))
    message("Response", (4, one, "Files", "file_descriptor_response"), (6, one, "Services", "list_services_response"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(f"grpc.reflection.v1alpha.{name}"))
            for name in ("Request", "Response")}


_REFLECTION = _reflection()


if __name__ == "__main__":
    unittest.main()
