"""A small PIV card (NIST SP 800-73-4), for a virtual reader (vpcd): made with a key, and good for what signing takes.

    card = PivCard(pin="123456", slots={0x9A: key})
    card.insert(socket)  # connected to the reader
    card.remove()        # pulled out of it

SELECT, GET DATA, VERIFY with a retry counter, GENERAL AUTHENTICATE and GET RESPONSE, with command chaining; nothing else,
so no key is made, and none can be taken out. What it has been asked is counted. Each slot has an RSA-2048 key and a
certificate of its own.
"""

import contextlib
import datetime
import socket
import struct
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

AID = bytes.fromhex("a000000308000010000100")  # The PIV application, version 1.0.
ATR = bytes.fromhex("3b80800101")  # T=0 and T=1, no historical octets.
TRIES = 3
CERTIFICATES = {0x9A: 0x5FC105, 0x9C: 0x5FC10A, 0x9D: 0x5FC10B, 0x9E: 0x5FC101}  # Slot: data object.
CHUID, DISCOVERY = 0x5FC102, 0x7E
PIN_REFERENCE = 0x80
RSA_2048 = 0x07

OK, NOT_FOUND, WRONG_DATA, BLOCKED = 0x9000, 0x6A82, 0x6A80, 0x6983
WRONG_PARAMETERS, NOT_VERIFIED, UNKNOWN_INSTRUCTION = 0x6A86, 0x6982, 0x6D00


def tlv(tag, value):
    """BER: the tag as it is written, the length in its shortest form, the value."""
    head = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    if len(value) < 0x80:
        return head + bytes([len(value)]) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return head + bytes([0x80 | len(size)]) + size + value


def children(octets):
    """The tags and values in a sequence of one-octet tags."""
    while octets:
        tag, size, start = octets[0], octets[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(octets[2:start], "big")
        yield tag, octets[start:start + size]
        octets = octets[start + size:]


def certificate_of(key, slot):
    """A certificate by the key itself: cards say with one which public key they have."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Signing card, slot {slot:02X}")])
    now = datetime.datetime.utcnow()
    usage = {name: name == "digital_signature" for name in (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
        "crl_sign", "encipher_only", "decipher_only")}
    return (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(slot)
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(x509.KeyUsage(**usage), critical=True).sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER))


class PivCard:
    """One card; `slots` are private keys of RSA-2048 by slot. A signature takes `seconds_a_signature`."""

    def __init__(self, *, pin, slots, seconds_a_signature=0.0):
        self.seconds_a_signature = seconds_a_signature
        self.tries = TRIES  # of the PIN, left; as a person sees it
        self.signatures = 0
        self.wrong_pins = 0
        self.inserted = False
        self._pin = pin.encode().ljust(8, b"\xff")
        self._numbers = {slot: key.private_numbers() for slot, key in slots.items()}
        self._objects = {CERTIFICATES[slot]: tlv(0x53, tlv(0x70, certificate_of(key, slot)) + b"\x71\x01\x00\xfe\x00")
                         for slot, key in slots.items()}
        fasc_n, guid, expires = b"\xd4\xe7" + bytes(23), bytes(range(16)), b"20391231"
        self._objects[CHUID] = tlv(0x53, tlv(0x30, fasc_n) + tlv(0x34, guid) + tlv(0x35, expires) + b"\x3e\x00\xfe\x00")
        self._objects[DISCOVERY] = tlv(0x7E, tlv(0x4F, AID) + tlv(0x5F2F, b"\x40\x00"))
        self._socket = self._thread = None
        self._reset()

    def _reset(self):
        self._verified = self._fresh_pin = False
        self._answer = self._chained = b""

    # In the reader and out of it.

    def insert(self, connection):
        self._reset()
        self._socket = connection
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._serve, args=(self._socket,), daemon=True)
        self._thread.start()
        self.inserted = True

    def remove(self):
        with contextlib.suppress(OSError):  # The reader may have closed it.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self.inserted = False

    def _serve(self, connection):
        with contextlib.suppress(OSError):
            while (size := self._receive(connection, 2)) and (command := self._receive(connection, *struct.unpack(">H", size))):
                if command == b"\x04":
                    answer = ATR
                elif len(command) == 1:  # Power off, power on, reset.
                    self._reset()
                    continue
                else:
                    answer = self._transmit(command)
                connection.sendall(struct.pack(">H", len(answer)) + answer)

    @staticmethod
    def _receive(connection, size):
        """So many octets; none at the end."""
        octets = b""
        while len(octets) < size:
            # The reader sends a length and a command apart, and waits between them to hear that the length arrived.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            more = connection.recv(size - len(octets))
            if not more:
                return b""
            octets += more
        return octets

    # Commands.

    def _transmit(self, command):
        """The answer to a command: data, of which at most 256 octets are given at once, and the status."""
        instruction = command[1]
        data, expected = self._body(command)
        if instruction == 0xC0:  # GET RESPONSE
            return self._give(expected)
        self._chained += data
        if command[0] & 0x10:  # More of it follows.
            return struct.pack(">H", OK)
        data, self._chained = self._chained, b""
        act = {0xA4: self._select, 0xCB: self._get_data, 0x20: self._verify, 0x87: self._authenticate}.get(instruction)
        status, answer = act(command[2], command[3], data) if act else (UNKNOWN_INSTRUCTION, b"")
        self._answer = answer
        return self._give(expected) if status == OK else struct.pack(">H", status)

    @staticmethod
    def _body(command):
        """The data of a command and how much it expects, 0 where it does not say."""
        if len(command) <= 5:
            return b"", command[4] if len(command) == 5 else 0
        end = 5 + command[4]
        return command[5:end], command[end] if len(command) > end else 0

    def _give(self, expected):
        """So much of the answer as is expected, 256 octets for 0 (Le, ISO 7816-4), and how much there is still."""
        most, left = expected or 256, len(self._answer)
        part, self._answer = self._answer[:most], self._answer[most:]
        left -= len(part)
        return part + (bytes([0x61, left if left < 256 else 0]) if left else struct.pack(">H", OK))

    def _select(self, _p1, _p2, data):
        if not data or not AID.startswith(data):
            return NOT_FOUND, b""
        self._verified = False
        return OK, tlv(0x61, tlv(0x4F, AID[5:]) + tlv(0x79, tlv(0x4F, AID[:5])))

    def _get_data(self, _p1, _p2, data):
        value = self._objects.get(int.from_bytes(next(children(data))[1], "big"))
        return (OK, value) if value else (NOT_FOUND, b"")

    def _verify(self, _p1, reference, data):
        if reference != PIN_REFERENCE:
            return WRONG_PARAMETERS, b""
        if not data:
            return (OK if self._verified else 0x63C0 | self.tries), b""
        if self.tries == 0:
            return BLOCKED, b""
        self._verified = self._fresh_pin = data == self._pin
        self.tries = TRIES if self._verified else self.tries - 1
        self.wrong_pins += not self._verified
        return (OK if self._verified else 0x63C0 | self.tries), b""

    def _authenticate(self, algorithm, slot, data):
        if slot not in self._numbers or algorithm != RSA_2048:
            return WRONG_PARAMETERS, b""
        # The key of slot 9C wants the PIN for each signature, that of 9E never does (SP 800-73-4 part 1, table 4b).
        fresh, self._fresh_pin = self._fresh_pin, False
        if slot != 0x9E and not (fresh if slot == 0x9C else self._verified):
            return NOT_VERIFIED, b""
        padded = dict(children(next(children(data))[1])).get(0x81, b"")
        if len(padded) != 256:
            return WRONG_DATA, b""
        time.sleep(self.seconds_a_signature)
        numbers = self._numbers[slot]
        # Raw RSA, as a card does it: the padding is the caller's.
        signature = pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n).to_bytes(256, "big")
        self.signatures += 1
        return OK, tlv(0x7C, tlv(0x82, signature))
