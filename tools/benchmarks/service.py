"""A signerd for benchmarks: real processes over mTLS, with SoftHSM or a simulated token behind it, and dkimload before it.

A simulated token (tests/hsm/faulty_pkcs11) makes each signature once, in a warm-up, and gives it again afterwards; so the
messages are always the same and their signatures carry no time.
"""

import json
import pathlib
import subprocess

import bodies
import deployment
import pki
from hallmark.admin.v1 import admin_pb2

RSA = (admin_pb2.KEY_ALGORITHM_RSA_2048,)
ED25519 = (admin_pb2.KEY_ALGORITHM_ED25519,)
PARTNER = """
[[partner]]
name = "acme"
author_domains = ["{0}"]
signing_domains = ["{0}"]

[[relay]]
name = "acme"
identity = "dns:acme.localdomain"
partners = ["acme"]
"""


def write_messages(folder, size, count):
    """Writes `count` messages with a body of `size` octets that differ in their header. Returns their folder."""
    target = pathlib.Path(folder) / f"messages-{size}"
    target.mkdir(exist_ok=True)
    message = bodies.message(size)
    for number in range(count):
        (target / f"{number:04}.eml").write_bytes(message.replace(b"Is dinner ready?", b"Is dinner ready? (%d)" % number, 1))
    return target


class Service:
    """A deployment with one domain. `token` is "softhsm" or what FAULTY_PKCS11_SIMULATE takes; `before_start` may change the
    set-up."""

    def __init__(self, token, algorithms=RSA, sessions=64, settings="", before_start=lambda hallmark: None):
        self.hallmark = deployment.Deployment(start=False)
        try:
            before_start(self.hallmark)
            self.hallmark.edit_config(lambda text: self._configure(text, token, sessions) + settings)
            self.hallmark.start()
            admin = self.hallmark.admin()
            admin.CreateSigningProfile(admin_pb2.CreateSigningProfileRequest(
                profile=admin_pb2.SigningProfile(name="bench", omit_timestamp=True)))
            self.hallmark.add_domain(bodies.DOMAIN, "bench", algorithms)
        except BaseException:
            self.close()
            raise

    def _configure(self, text, token, sessions):
        text = text.replace("sessions = 4\n", f"sessions = {sessions}\n", 1) + "\n"
        if token == "softhsm":
            return text
        module = deployment.BUILD / "tests" / "libfaulty_pkcs11.so"
        real = "/usr/lib/softhsm/libsofthsm2.so"
        environment = (f'FAULTY_PKCS11_MODULE = "{real}", FAULTY_PKCS11_SIMULATE = "{token}", '
                       f'FAULTY_PKCS11_CACHE = "{self.hallmark.folder / "signatures"}"')
        return text.replace(f'module = "{real}"', f'module = "{module}"').replace("environment = { ", f"environment = {{ {environment}, ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.hallmark.close()

    def pids(self):
        return {"signerd": self.hallmark.process.pid, "tokend": self.hallmark.tokend_pids()[0]}

    def resident_bytes(self, process):
        """VmRSS of "signerd" or "tokend"."""
        status = pathlib.Path(f"/proc/{self.pids()[process]}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) * 1024

    def warm_up(self, messages):
        """Signs every message once, so that a simulated token has its signature."""
        count = len(list(pathlib.Path(messages).iterdir()))
        before = self._signed()
        while self._signed() - before < count:
            self.load(messages, "--in-flight", "16", duration=1, warmup=0)

    def _signed(self):
        return int(self.hallmark.dkimctl_json("status")["signed_message_count"])

    def load(self, messages, *arguments, duration=5, warmup=1):
        """Runs dkimload. Returns its report."""
        return run_load(self.hallmark.folder, self.pids(), messages, arguments, duration, warmup)

    def load_floor(self, messages, *arguments, duration=5, warmup=1):
        """The same load on a server with signerd's listener and certificates that does nothing but answer."""
        client = self.hallmark.folder / "dkimctl.toml"
        before = client.read_text()
        command = [deployment.BUILD / "bench" / "grpc_floor", self.hallmark.config]
        # It ends when its standard input does.
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as floor:
            try:
                address = floor.stdout.readline().strip()
                if not address:
                    raise RuntimeError("grpc_floor did not start")
                client.write_text(before.replace(self.hallmark.signing_address, address))
                return run_load(self.hallmark.folder, {"floor": floor.pid}, messages, arguments, duration, warmup)
            finally:
                client.write_text(before)
                floor.stdin.close()


def run_load(folder, pids, messages, arguments, duration, warmup):
    """Runs dkimload with the set-up in `folder`, and measures the processes `pids`. Returns its report."""
    command = [deployment.BIN / "dkimload", "--dir", folder, "--output", "json", "--duration", duration, "--warmup", warmup]
    for name, pid in pids.items():
        command += ["--pid", f"{name}={pid}"]
    run = subprocess.run([str(word) for word in (*command, *arguments, messages)], capture_output=True, text=True,
                         timeout=duration + warmup + 60, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"dkimload failed: {run.stdout[-500:]}{run.stderr[-500:]}")
    return json.loads(run.stdout)


def add_acme(hallmark):
    """Before the start: a partner beside our own, with a relay."""
    authority = pki.Authority()
    with open(hallmark.folder / "tls/relay-ca.pem", "ab") as bundle:
        bundle.write(authority.pem)
    for ending, pem in zip(("pem", "key"), authority.issue(dns=["acme.localdomain"])):
        (hallmark.folder / f"tls/acme.{ending}").write_bytes(pem)
    hallmark.edit_policy(lambda text: text + PARTNER.format(bodies.DOMAIN))


def acme_folder(hallmark):
    """A folder for dkimload that calls as the relay of acme."""
    folder = hallmark.folder / "acme"
    folder.mkdir()
    text = (hallmark.folder / "dkimctl.toml").read_text()
    (folder / "dkimctl.toml").write_text(text.replace("relay1.", "acme.").replace('"tls/', f'"{hallmark.folder}/tls/')
                                         .replace('"secrets/', f'"{hallmark.folder}/secrets/'))
    return folder
