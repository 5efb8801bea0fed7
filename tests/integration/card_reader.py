"""A smartcard reader in software: pcscd with vsmartcard's virtual reader, and OpenSC to use it.

    with CardReader(folder) as reader:
        reader.insert(card)      # a piv_card.PivCard
        reader.environment       # for whoever loads OpenSC
        reader.remove(card)

pcscd has a file system and a network of its own (namespaces), so that it is in nobody's way: not in that of a pcscd of this
machine, and its reader, which listens at every address, can be reached from in there only. Needs root, and leave to mount.
"""

import ctypes
import fcntl
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading
import time

import deployment

MODULE = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/opensc-pkcs11.so"))), None)
DRIVER = pathlib.Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
PORT = 35963  # That of vpcd, in its own network.
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

START = r"""
set -e
mount -t tmpfs tmpfs /run
mkdir /run/pcscd
mount --bind "$1/run" /run/pcscd
exec pcscd --foreground --config "$1/readers"
"""


def why_not():
    """Why there can be no such reader here; empty where there can."""
    missing = [name for name, there in (("pcscd", shutil.which("pcscd")), ("vsmartcard-vpcd", DRIVER.exists()),
                                        ("opensc-pkcs11", MODULE)) if not there]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "only root can give pcscd a file system of its own"
    trial = subprocess.run(["unshare", "--mount", "--net", "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True,
                           text=True, check=False)
    return trial.stderr.strip()


class CardReader:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        for name in ("run", "readers"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "readers/virtual").write_text(
            f'FRIENDLYNAME "Virtual reader"\nDEVICENAME /dev/null:{PORT:#x}\nLIBPATH {DRIVER}\nCHANNELID {PORT:#x}\n')
        self.environment = {"PCSCLITE_CSOCK_NAME": str(self.folder / "run/pcscd.comm")}
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        with open(self.folder / "pcscd.log", "ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--net", "sh", "-c", START, "sh", self.folder], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, preexec_fn=deployment.die_with_parent)
        deadline = time.monotonic() + deployment.START_SECONDS
        while not (self.folder / "run/pcscd.comm").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"pcscd did not start:\n{(self.folder / 'pcscd.log').read_text()}")
            time.sleep(0.02)

    def close(self):
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _connect(self):
        """A connection to the reader, out of this network: that is one of a thread."""
        made = []

        def enter():
            with open(f"/proc/{self._process.pid}/ns/net", "rb") as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            with socket.socket() as interface:
                name = b"lo".ljust(16, b"\0")
                flags = struct.unpack_from("H", fcntl.ioctl(interface, SIOCGIFFLAGS, name + bytes(16)), 16)[0]
                fcntl.ioctl(interface, SIOCSIFFLAGS, name + struct.pack("H14x", flags | IFF_UP))
            deadline = time.monotonic() + deployment.START_SECONDS
            while not made:
                try:
                    made.append(socket.create_connection(("127.0.0.1", PORT), 10))
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]

    def insert(self, card):
        card.insert(self._connect())

    @staticmethod
    def remove(card):
        card.remove()
