"""dkim-milter beside a deployment, as its relay `relay1`, on a free loopback port.

    with DkimMilter(hallmark) as milter, Postfix(settings={"smtpd_milters": milter.address}) as relay: ...
"""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

import deployment

# What the tests' Postfix takes from the outside comes from another address than what it takes from its own network.
OWN_NETWORK = "127.0.0.1/32"
OUTSIDE = "127.0.0.9"


class DkimMilter:
    """servers     where signerd listens; by default where this deployment's does
    tables      {"on": {"unavailable": "accept"}, ...}: what milter.toml has other than the default, by table
    partners    [[partner]], in order
    """

    def __init__(self, hallmark, servers=None, tables=None, partners=(), listen=("inet:127.0.0.1:0",)):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-milter-"))
        self.folder.chmod(0o755)  # Postfix opens a socket in it.
        self.config, self.log = self.folder / "milter.toml", self.folder / "log"
        self.addresses = []
        self.process = None
        self._reader = None
        signerd = {"servers": list(servers or [hallmark.signing_address]), "server_name": "localhost",
                   **{name: str(hallmark.folder / "tls" / file) for name, file in
                      (("ca", "server-ca.pem"), ("certificate", "relay1.pem"), ("private_key", "relay1.key"))}}
        text = {"milter": {"listen": list(listen)}, "signerd": signerd, "outbound": {"networks": [OWN_NETWORK]},
                "metrics": {"listen": "127.0.0.1:0"}}
        for name, table in (tables or {}).items():
            text[name] = {**text.get(name, {}), **table}
        self.config.write_text("".join(_table(f"[{name}]", table) for name, table in text.items())
                               + "".join(_table("[[partner]]", partner) for partner in partners))
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def address(self):
        """As main.cf has it."""
        return self.addresses[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        self.process = subprocess.Popen([deployment.BIN / "dkim-milter", "--config", self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/",
                                        preexec_fn=deployment.die_with_parent)
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read_log, args=(self.process.stderr, ready), daemon=True)
        self._reader.start()
        if not ready.wait(deployment.START_SECONDS) or not self.addresses:
            raise AssertionError(f"dkim-milter did not get ready:\n{self.log_text()}")

    def _read_log(self, stream, ready):
        with stream, open(self.log, "ab", buffering=0) as log:
            for line in stream:
                log.write(line)
                if match := re.search(rb"ready: milter on (.+)", line):
                    self.addresses = [address.strip() for address in match.group(1).decode().split(",")]
                    ready.set()
        ready.set()

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self):
        """Ends it as an operator would. Returns its exit status."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.terminate()
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"dkim-milter did not stop within 60 s:\n{self.log_text()}") from None
        finally:
            self._reader.join()

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def _table(head, values):
    # JSON's strings, numbers, booleans and arrays of them are TOML's too.
    return head + "\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
