"""A Hallmark deployment in a temporary folder: made by `dkimctl init`, run on free loopback ports, called over mTLS.

    with Deployment() as deployment:
        deployment.add_domain("example.com")
        answer = deployment.sign(b"From: a@example.com\\r\\n\\r\\nHello\\r\\n")

HALLMARK_BUILD names the build folder (ctest sets it). Servers stop when the deployment is left, by their own pid, and end
by themselves should this process die.
"""

import ctypes
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading

import grpc

import officers
from google.rpc import error_details_pb2, status_pb2
from hallmark.admin.v1 import admin_pb2, operators_pb2
from hallmark.signing.v1 import signing_pb2, signing_pb2_grpc

# What is started here becomes another program at once; gRPC would hold it up until its own threads are idle.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

BUILD = pathlib.Path(os.environ["HALLMARK_BUILD"])
BIN = BUILD / "bin"
START_SECONDS = 60  # How long a start may take before the test gives up; sanitizers are slow.
LARGEST_ANSWER = 16 << 20

KEY_ALGORITHMS = (admin_pb2.KEY_ALGORITHM_RSA_2048, admin_pb2.KEY_ALGORITHM_ED25519)
RSA, ED25519 = signing_pb2.ALGORITHM_RSA_SHA256, signing_pb2.ALGORITHM_ED25519_SHA256


def sanitized():
    """Whether the programs under test are built with a sanitizer (slower, and larger in memory)."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(r"^HALLMARK_SANITIZE:\w+=\S", cache, re.MULTILINE) is not None


def die_with_parent(by=signal.SIGKILL):
    """For subprocess: the child gets this signal when this process ends, however that happens."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, by)


def error_reason(error):
    """The reason of the ErrorInfo in a grpc.RpcError, "" when it has none."""
    info = error_info(error)
    return info.reason if info else ""


def error_info(error):
    """The ErrorInfo in a grpc.RpcError, or None."""
    return _detail(error, error_details_pb2.ErrorInfo())


def retry_info(error):
    """The RetryInfo in a grpc.RpcError, or None."""
    return _detail(error, error_details_pb2.RetryInfo())


def _detail(error, wanted):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return status_detail(status_pb2.Status.FromString(value), wanted)
    return None


def status_detail(status, wanted):
    """`wanted`, filled from the details of a google.rpc.Status, or None."""
    for detail in status.details:
        if detail.Unpack(wanted):
            return wanted
    return None


def _is_tokend(pid):
    """Whether it is one, perhaps under valgrind; not where it has ended meanwhile."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(pathlib.Path(os.fsdecode(word)).name == "tokend" for word in words)


class Deployment:
    """One signerd with its tokend, token, certificates and state."""

    def __init__(self, start=True, initialize=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-"))
        self.config = self.folder / "hallmark.toml"
        self.log = self.folder / "signerd.log"
        self.signing_address = self.admin_address = ""
        self.arguments = []  # of signerd, beside its configuration
        self.process = None
        self._channels = []
        self._officers = {}
        self._reader = None
        try:
            if initialize:
                self.dkimctl("init")
                # Nobody has to be told that it ends.
                self.edit_config(lambda text: re.sub(r'^listen = ".*"$', 'listen = "127.0.0.1:0"', text, flags=re.MULTILINE) +
                                 "\n[health]\ndrain_seconds = 0\n")
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Files.

    def edit_config(self, change):
        """Replaces hallmark.toml by change(its text)."""
        text = self.config.read_text()
        changed = change(text)
        if changed == text:
            raise AssertionError("the change found nothing to change in hallmark.toml")
        self.config.write_text(changed)

    def use_faulty_module(self, rules, most=0, **variables):
        """Before the start: the token's module is reached through the faulty one. Gives the file with its rules. Rules count calls, so the
        daemon makes none of its own. `most`: of how many tokens; 0: all."""
        self.edit_config(lambda text: text.replace("[health]\n", "[health]\ntest_signature_seconds = 0\n"))
        faults = self.folder / "faults"
        faults.write_text(rules)
        module = BUILD / "tests/libfaulty_pkcs11.so"
        added = {"FAULTY_PKCS11_CONTROL": faults} | {f"FAULTY_PKCS11_{name.upper()}": value for name, value in variables.items()}
        more = "".join(f'{name} = "{value}", ' for name, value in added.items())
        self.edit_config(lambda text: re.sub(
            r'^module = "(.*)"\n((?:.*\n)*?)environment = \{', rf'module = "{module}"\n\2environment = '
            rf'{{ FAULTY_PKCS11_MODULE = "\1", {more}', text, count=most, flags=re.MULTILINE))
        return faults

    def edit_policy(self, change):
        """Replaces policy.toml by change(its text); before the first start."""
        path = self.folder / "policy.toml"
        path.write_text(change(path.read_text()))

    def trust(self, ca, listener="relay"):
        """Has a listener ("relay" or "admin") take certificates of this CA (PEM) too. It looks at its files again by itself."""
        with open(self.folder / f"tls/{listener}-ca.pem", "ab") as bundle:
            bundle.write(ca)

    def read(self, name):
        return (self.folder / name).read_bytes()

    def pin_file(self):
        """The file that the token's pin-source names."""
        return pathlib.Path(re.search(r"pin-source=file:([^\"&]+)", self.config.read_text()).group(1))

    # Programs.

    def dkimctl(self, *arguments, status=0, **options):
        """Runs dkimctl on this deployment; the exit status must be as given. Returns the finished process (text)."""
        command = [BIN / "dkimctl", "--dir", self.folder, *arguments]
        # Without it the session is kept in the set-up, where this class has it too.
        environment = {name: value for name, value in options.pop("env", os.environ).items() if name != "XDG_RUNTIME_DIR"}
        run = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False,
                             env=environment, **options)
        if status is not None and run.returncode != status:
            raise AssertionError(f"dkimctl {' '.join(map(str, arguments))} ended with {run.returncode}, not {status}:\n"
                                 f"{run.stdout}{run.stderr}")
        return run

    def dkimctl_json(self, *arguments, status=0):
        return json.loads(self.dkimctl(*arguments, "--output", "json", status=status).stdout)

    def start(self, environment=None, enroll=True, open_files=None):
        """Starts signerd and waits until it serves; the first time the operator of the set-up then enrols. `open_files`: how many it
        may have."""
        def before_exec():
            die_with_parent()
            if open_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
        self.process = subprocess.Popen([BIN / "signerd", "--config", self.config, *self.arguments], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/",
                                        env={**os.environ, **(environment or {})}, preexec_fn=before_exec)
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read_log, args=(self.process.stderr, ready), daemon=True)
        self._reader.start()
        if not ready.wait(START_SECONDS) or not self.signing_address:
            raise AssertionError(f"signerd did not get ready:\n{self.log_text()}")
        client = self.folder / "dkimctl.toml"
        addresses = iter((self.admin_address, self.signing_address))
        client.write_text(re.sub(r'^server = ".*"$', lambda _: f'server = "{next(addresses)}"', client.read_text(),
                                 flags=re.MULTILINE))
        if enroll and not self.officer().enrolled():
            self.officer().enroll()

    def _read_log(self, stream, ready):
        with stream, open(self.log, "ab", buffering=0) as log:
            for line in stream:
                log.write(line)
                match = re.search(rb"ready: signing on (\S+), admin on (\S+)", line)
                if match:
                    self.signing_address, self.admin_address = (word.decode().rstrip(",") for word in match.groups())
                    ready.set()
        ready.set()

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self):
        """Ends signerd as an operator would. Returns its exit status."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        self.signing_address = self.admin_address = ""
        if not self.process:
            return None
        process, self.process = self.process, None
        process.terminate()
        try:
            status = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"signerd did not stop within 30 s:\n{self.log_text()}") from None
        finally:
            self._reader.join()
        return status

    def kill(self):
        """Ends signerd with SIGKILL."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        process, self.process = self.process, None
        process.kill()
        process.wait()
        self._reader.join()
        self.signing_address = self.admin_address = ""

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def tokend_pids(self):
        """The pids of signerd's tokend processes."""
        pids = []
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            pids += [int(pid) for pid in (task / "children").read_text().split()]
        return [pid for pid in pids if _is_tokend(pid)]

    # Calls.

    def channel(self, address, certificate=None, key=None, ca=None):
        """An mTLS channel. Arguments are PEM octets; by default those of the relay that `dkimctl init` made."""
        credentials = grpc.ssl_channel_credentials(ca or self.read("tls/server-ca.pem"),
                                                   key if certificate else self.read("tls/relay1.key"),
                                                   certificate or self.read("tls/relay1.pem"))
        channel = grpc.secure_channel(address, credentials, options=[
            ("grpc.ssl_target_name_override", "localhost"), ("grpc.max_receive_message_length", LARGEST_ANSWER),
            ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)])
        self._channels.append(channel)
        return channel

    def serving(self):
        """Whether the health service says SERVING (grpc.health.v1.HealthCheckResponse as octets; the request has none)."""
        check = self.channel(self.signing_address).unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
        return check(b"", timeout=10) == b"\x08\x01"

    def signing(self):
        """A stub of the Signing API, as relay1."""
        return signing_pb2_grpc.SigningServiceStub(self.channel(self.signing_address))

    def officer(self, files="operator"):
        """The operator whose certificate is tls/FILES.pem."""
        return self._officers.setdefault(files, officers.Officer(self, files))

    def admin(self):
        """A stub of the Admin API, as the first officer that `dkimctl init` made, logged in."""
        return self.officer().admin()

    def policy(self):
        """A stub of the policy service, as that officer."""
        return self.officer().policy()

    def as_officer2(self):
        """The second officer, enrolled: for approvals."""
        officer = self.officer("officer2")
        if not officer.enrolled():
            officer.enroll()
        return officer

    def approval_of(self, error):
        """The number of the approval that a call waits for."""
        info = error_info(error)
        if info is None or info.reason != "APPROVAL_REQUIRED":
            raise AssertionError(f"the call was to wait for an approval, and ended with {error}")
        return int(info.metadata["approval"])

    def with_approval(self, call, *arguments, **options):
        """Makes a call that needs a second officer, who approves it; it must then have been carried out."""
        approval = self.as_officer2().approve(self.approval_of(self.call_error(call, *arguments, **options)))
        if approval.state != operators_pb2.APPROVAL_STATE_DONE:
            raise AssertionError(f"the approval ended otherwise: {approval}")
        return approval

    def dkimctl_with_approval(self, *arguments, **options):
        """Runs a command that needs a second officer, who approves it. Returns the finished process of the approval."""
        waiting = self.dkimctl(*arguments, status=5, **options)
        number = re.search(r"dkimctl approvals approve (\d+)", waiting.stderr).group(1)
        self.as_officer2()
        return self.dkimctl("approvals", "approve", number, "--yes", "--as", "officer2")

    def call_error(self, call, *arguments, **options):
        """The grpc.RpcError with which the call ends; it must end with one."""
        try:
            answer = call(*arguments, **options)
        except grpc.RpcError as error:
            return error
        raise AssertionError(f"the call was to fail, and gave {str(answer)[:300]}")

    def add_domain(self, name, profile="", algorithms=KEY_ALGORITHMS):
        """Makes a domain with an active key of each algorithm. Returns the keys."""
        admin, keys = self.admin(), []
        admin.CreateDomain(admin_pb2.CreateDomainRequest(name=name, profile=profile))
        for algorithm in algorithms:
            key = admin.GenerateKey(admin_pb2.GenerateKeyRequest(domain=name, algorithm=algorithm))
            keys.append(admin.ActivateKey(admin_pb2.ActivateKeyRequest(domain=name, selector=key.selector, unpublished=True)))
        return keys

    def sign(self, message, timeout=30, **options):
        return self.signing().Sign(signing_pb2.SignRequest(message=message, options=signing_pb2.SignOptions(**options)),
                                   timeout=timeout)

    def key_lines(self, domains):
        """The lines `name TXT value` for the keys of the domains, from the Admin API."""
        admin, lines = self.admin(), []
        for domain in domains:
            answer = admin.GetDnsRecords(admin_pb2.GetDnsRecordsRequest(domain=domain))
            lines += [f"{record.name} {record.type} {record.value}\n" for record in answer.records]
        return lines
