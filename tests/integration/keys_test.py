"""No private key material outside the token, and none that could leave it; keys made elsewhere can be taken up."""

import base64
import os
import pathlib
import re
import subprocess
import unittest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

import deployment
import ledger_files
import messages
import process_memory

from hallmark.admin.v1 import admin_pb2


def forms(secret):
    """How a secret number may be written."""
    return {secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)[:-4],
            base64.b64encode(b"\0" + secret)[4:-4], base64.b64encode(b"\0\0" + secret)[4:-4], secret[::-1]}


class KeysTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.keys = cls.hallmark.add_domain("example.com")
        cls.secrets = cls.import_keys()
        admin = cls.hallmark.admin()
        admin.CreateDomain(admin_pb2.CreateDomainRequest(name="example.net"))
        for selector, cka_id in (("ceremony-r", b"\xa1"), ("ceremony-e", b"\xa2")):
            admin.AdoptKey(admin_pb2.AdoptKeyRequest(domain="example.net", selector=selector, cka_id=cka_id))
            admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain="example.net", selector=selector, unpublished=True))
        for domain in (b"example.com", b"example.net"):
            for _ in range(5):
                answer = cls.hallmark.sign(messages.MESSAGE.replace(b"example.com", domain))
                assert len(answer.signatures) == 2

    @classmethod
    def token_environment(cls):
        return {**os.environ, "SOFTHSM2_CONF": str(cls.hallmark.folder / "softhsm/softhsm2.conf")}

    @classmethod
    def module(cls):
        return re.search(r'^module = "(.*)"$', cls.hallmark.config.read_text(), re.MULTILINE).group(1)

    @classmethod
    def token_label(cls):
        return re.search(r"token=([^;?\"]+)", cls.hallmark.config.read_text()).group(1)

    @classmethod
    def import_keys(cls):
        """Puts an RSA and an Ed25519 key that this test knows into the token. Returns their secret numbers."""
        rsa_key, ed_key = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
        folder = cls.hallmark.folder.with_name(cls.hallmark.folder.name + "-ceremony")
        folder.mkdir()
        try:
            for key, cka_id in ((rsa_key, "a1"), (ed_key, "a2")):
                path = folder / "key.pem"
                path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                   serialization.NoEncryption()))
                subprocess.run(["softhsm2-util", "--import", path, "--token", cls.token_label(), "--label", "ceremony", "--id", cka_id,
                                "--pin", cls.hallmark.pin_file().read_text().strip()], check=True, capture_output=True,
                               env=cls.token_environment())
                path.unlink()
        finally:
            folder.rmdir()
        numbers = rsa_key.private_numbers()
        length = {"d": 256, "p": 128, "q": 128}
        secrets = {name: getattr(numbers, name).to_bytes(size, "big") for name, size in length.items()}
        secrets["seed"] = ed_key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
                                               serialization.NoEncryption())
        return secrets

    def test_no_secret_in_any_file(self):
        for root, _, files in os.walk(self.hallmark.folder):
            for name in files:
                content = pathlib.Path(root, name).read_bytes()
                for what, secret in self.secrets.items():
                    for form in forms(secret):
                        self.assertNotIn(form, content, f"{what} is in {root}/{name}")

    def test_private_key_files_are_those_of_tls_and_for_the_owner_only(self):
        for root, _, files in os.walk(self.hallmark.folder):
            for name in files:
                path = pathlib.Path(root, name)
                if path.parent.name not in ("tls", "secrets"):
                    self.assertNotRegex(path.read_bytes(), rb"PRIVATE KEY-----", str(path))
                elif b"PRIVATE KEY-----" in path.read_bytes():
                    self.assertEqual(path.stat().st_mode & 0o077, 0, f"others may read {path}")

    def test_pin_is_for_the_owner_only_and_not_logged(self):
        pin_file = self.hallmark.pin_file()
        self.assertEqual(pin_file.stat().st_mode & 0o077, 0)
        pin = pin_file.read_text().strip()
        self.assertNotIn(pin, self.hallmark.log_text())
        self.assertNotIn(pin, self.hallmark.config.read_text())
        for pid in (self.hallmark.process.pid, *self.hallmark.tokend_pids()):
            self.assertNotIn(pin.encode(), pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
            self.assertNotIn(pin.encode(), pathlib.Path(f"/proc/{pid}/environ").read_bytes())

    def test_signerd_never_holds_key_or_pin(self):
        secrets = {**self.secrets, "PIN": self.hallmark.pin_file().read_bytes().strip()}
        self.assertEqual(process_memory.find(self.hallmark.process.pid, secrets), {})

    def test_signerd_does_not_load_the_module(self):
        maps = pathlib.Path(f"/proc/{self.hallmark.process.pid}/maps").read_text()
        self.assertNotIn("softhsm", maps)
        [tokend] = self.hallmark.tokend_pids()
        self.assertIn("softhsm", pathlib.Path(f"/proc/{tokend}/maps").read_text())

    def test_generated_keys_cannot_leave_the_token(self):
        run = subprocess.run(["pkcs11-tool", "--module", self.module(), "--token-label", self.token_label(), "--login", "--pin",
                              self.hallmark.pin_file().read_text().strip(), "--list-objects", "--type", "privkey"],
                             check=True, capture_output=True, text=True, env=self.token_environment())
        objects = {}
        for block in re.split(r"(?m)^Private Key Object", run.stdout)[1:]:
            identifier = re.search(r"ID:\s+([0-9a-f]+)", block).group(1)
            objects[bytes.fromhex(identifier)] = re.search(r"Access:\s+(.*)", block).group(1)
        for key in self.keys:
            with self.subTest(key.selector):
                access = objects[key.cka_id]
                for word in ("sensitive", "always sensitive", "never extractable", "local"):
                    self.assertIn(word, access)
        self.assertEqual(len({key.cka_id for key in self.keys}), len(self.keys))

    def test_no_key_comes_unseen(self):
        records = ledger_files.records(self.hallmark.folder / "state/ledger")
        acts = [record.admin_act for record in records if record.HasField("admin_act")]
        for method, keys in (("GenerateKey", self.keys), ("AdoptKey", ["ceremony-r", "ceremony-e"])):
            with self.subTest(method):
                # Other tests of this class ask for keys that are refused.
                told = [(act.operator, act.outcome) for act in acts if act.method == method][:2 * len(keys)]
                self.assertEqual(told, [("admin", "BEGUN"), ("admin", "OK")] * len(keys))

    def test_unknown_key_is_not_adopted(self):
        error = self.hallmark.call_error(self.hallmark.admin().AdoptKey, admin_pb2.AdoptKeyRequest(
            domain="example.net", selector="none", cka_id=b"\xff\xff"))
        self.assertEqual(deployment.error_reason(error), "KEY_MISSING")

    def test_a_pair_is_adopted_by_its_uri(self):
        hallmark, label = self.hallmark, self.token_label()
        for domain in ("first.example", "second.example"):
            hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name=domain))
        refused = hallmark.dkimctl("key", "adopt", "first.example", "c1", "pkcs11:token=other;id=%a1", status=1)
        self.assertIn("no token of signerd", refused.stderr)
        hallmark.dkimctl("key", "adopt", "first.example", "c1", f"pkcs11:token={label};id=%a1;object=ceremony;type=private")
        [uri] = hallmark.dkimctl_json("key", "show", "first.example", "c1")["uris"]
        self.assertEqual(uri, f"pkcs11:token={label};id=%A1")
        self.assertIn(f"\nURI: {uri}\n", hallmark.dkimctl("key", "show", "first.example", "c1").stdout)
        hallmark.dkimctl("key", "adopt", "second.example", "c1", uri)  # what is shown is taken
        for domain in ("first.example", "second.example"):
            key = hallmark.admin().GetKey(admin_pb2.GetKeyRequest(domain=domain, selector="c1"))
            self.assertEqual((key.token, key.cka_id), ("softhsm", b"\xa1"))

    def test_selector_is_never_used_twice(self):
        admin, selector = self.hallmark.admin(), self.keys[1].selector
        for state in ("active", "retiring"):
            with self.subTest(state):
                error = self.hallmark.call_error(admin.GenerateKey, admin_pb2.GenerateKeyRequest(
                    domain="example.com", selector=selector, algorithm=admin_pb2.KEY_ALGORITHM_ED25519))
                self.assertEqual(deployment.error_reason(error), "ALREADY_EXISTS")
            if state == "active":
                admin.RetireKey(admin_pb2.RetireKeyRequest(domain="example.com", selector=selector))
        admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain="example.com", selector=selector, unpublished=True))


if __name__ == "__main__":
    unittest.main()
