"""A TCP proxy on a free loopback port, for faults of the network: it counts octets, and can hold or cut what passes."""

import contextlib
import selectors
import socket
import struct
import threading
import time

LOOK_SECONDS = 0.02  # How often a connection looks whether it is to be held or cut.


class TcpProxy:
    """Forwards to `target`, "HOST:PORT". Everything may be called from any thread.

    target      settable at any time, for connections that come then
    cut_after   when set, each connection is reset once so many octets have come from its client; settable at any time
    cut_count   how many were
    """

    def __init__(self, target):
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.sent = self.received = 0  # Octets to and from the server.
        self.cut_after, self.cut_count = None, 0
        self._held = False
        self._era = 0  # A connection of an older era is reset.
        self._lock = threading.Lock()  # Guards the counters.
        self._threads = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def hold(self):
        """Connections stay, new ones are taken, and nothing passes any more."""
        self._held = True

    def release(self):
        self._held = False

    def cut(self):
        """Resets all connections. New ones are taken."""
        self._era += 1

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(threading.Thread(target=self._serve, args=(client, self._era), daemon=True))
            self._threads[-1].start()

    def _serve(self, client, era):
        """Owns both sockets: nobody else closes them."""
        host, _, port = self.target.rpartition(":")
        try:
            server = socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            _reset(client)
            return
        with contextlib.suppress(OSError):
            self._forward(client, server, era)
        _reset(client)
        _reset(server)

    def _forward(self, client, server, era):
        passed = 0
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while selector.get_map() and era == self._era:
                if self._held:
                    time.sleep(LOOK_SECONDS)
                    continue
                for key, _ in selector.select(LOOK_SECONDS):
                    octets = key.fileobj.recv(65536)
                    if not octets:
                        selector.unregister(key.fileobj)
                        key.data.shutdown(socket.SHUT_WR)
                        continue
                    passed += len(octets) if key.fileobj is client else 0
                    if self.cut_after is not None and passed > self.cut_after:
                        with self._lock:
                            self.cut_count += 1
                        return
                    self._count(key.fileobj is client, len(octets))
                    key.data.sendall(octets)

    def _count(self, to_server, octets):
        with self._lock:
            if to_server:
                self.sent += octets
            else:
                self.received += octets


def _reset(connection):
    """Closes with RST."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
