"""A real DNS server: Knot on a free loopback port, with one zone (the root) that holds the given records, and perhaps others below it,
or such as it fails to serve."""

import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import dns.exception
import dns.message
import dns.query

import deployment


class Knot:
    """Serves `records` (lines of a zone file) until it is left. `port` is for UDP and TCP on 127.0.0.1.

    At each name of `broken`, and below, it answers SERVFAIL. With `tsig_secret` (base64) it takes updates that are signed
    with hmac-sha256 and the key "hallmark". `negative_ttl`: for how many seconds a resolver may believe that there is nothing.
    `zones`: the records of each other zone that it has; where there are any, only these take updates.
    """

    def __init__(self, records, broken=(), tsig_secret="", negative_ttl=60, zones=None):
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-knot-"))
        self.port = _free_port()
        soa = f"SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 {negative_ttl}\n"
        for name, lines in {".": ["ns.invalid. A 127.0.0.1", *records], **(zones or {})}.items():
            self._zone_file(name).write_text(f"$ORIGIN {name}\n$TTL 300\n@ {soa}@ NS ns.invalid.\n" +
                                             "".join(line.rstrip("\n") + "\n" for line in lines))
        key = acl = ""
        if tsig_secret:
            key = (f"key:\n  - id: hallmark\n    algorithm: hmac-sha256\n    secret: {tsig_secret}\n"
                   f"acl:\n  - id: update\n    key: hallmark\n    action: update\n")
            acl = "    acl: update\n"
        (self._folder / "knot.conf").write_text(
            f"server:\n  listen: 127.0.0.1@{self.port}\n  rundir: {self._folder}\n  pidfile: {self._folder}/knot.pid\n"
            f"  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            f"log:\n  - target: {self._folder}/knot.log\n    any: info\n"
            f"database:\n  storage: {self._folder}\n"
            f"{key}zone:\n" + "".join(
                f"  - domain: {name}\n    file: {self._zone_file(name)}\n    zonefile-sync: -1\n    journal-content: none\n"
                f"{'' if zones and name == '.' else acl}" for name in (".", *(zones or ())))
            + "".join(f"  - domain: {name}\n    file: {self._folder}/there-is-none.zone\n" for name in broken))
        self._process = subprocess.Popen(["knotd", "-c", self._folder / "knot.conf"], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.STDOUT, preexec_fn=deployment.die_with_parent)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _zone_file(self, zone):
        return self._folder / ("root.zone" if zone == "." else f"{zone}zone")

    def _wait(self):
        deadline = time.monotonic() + deployment.START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                answer = dns.query.udp(dns.message.make_query(".", "SOA"), "127.0.0.1", port=self.port, timeout=0.5)
                if answer.answer:
                    return
            except (dns.exception.DNSException, OSError):
                pass
            time.sleep(0.05)
        log = self._folder / "knot.log"
        raise AssertionError(f"knotd does not answer:\n{log.read_text() if log.exists() else ''}")

    def pause(self):
        """It takes questions and updates, and answers none of them until go_on()."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def close(self):
        self.go_on()
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.bind(("127.0.0.1", 0))
        return tcp.getsockname()[1]
