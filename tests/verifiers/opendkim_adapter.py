#!/usr/bin/python3
"""OpenDKIM's library, fed with the octets of the message. See common.py for the interface.

Not `opendkim -t`: its test mode goes through the milter view of a field and puts exactly one space after the colon, which
breaks simple canonicalization where the message has none, two, or a fold there.

libopendkim refuses a message whole for one malformed DKIM-Signature field, also when that is an old one that nobody asked
about. So fields whose key is not in the key file are left out of what it reads; no signature covers them.
"""

import ctypes
import os
import tempfile

import common

# Of opendkim/dkim.h.
OK = 0
SETOPT = 1
OPTS_QUERYMETHOD, OPTS_QUERYINFO = 6, 7
QUERY_FILE = 1
FLAG_PASSED = 0x04
BODY_HASH_MATCH = 0
SIGERROR_INVALID_A = 10

POINTER, INT, TEXT, SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
PROTOTYPES = {
    "dkim_init": (POINTER, [POINTER, POINTER]), "dkim_close": (None, [POINTER]),
    "dkim_options": (INT, [POINTER, INT, INT, POINTER, SIZE]),
    "dkim_verify": (POINTER, [POINTER, TEXT, POINTER, ctypes.POINTER(INT)]), "dkim_free": (INT, [POINTER]),
    "dkim_chunk": (INT, [POINTER, TEXT, SIZE]), "dkim_eom": (INT, [POINTER, POINTER]),
    "dkim_getsiglist": (INT, [POINTER, ctypes.POINTER(ctypes.POINTER(POINTER)), ctypes.POINTER(INT)]),
    "dkim_sig_process": (INT, [POINTER, POINTER]), "dkim_sig_getflags": (ctypes.c_uint, [POINTER]),
    "dkim_sig_getbh": (INT, [POINTER]), "dkim_sig_geterror": (INT, [POINTER]), "dkim_sig_geterrorstr": (TEXT, [INT]),
    "dkim_geterror": (TEXT, [POINTER]), "dkim_getresultstr": (TEXT, [INT]),
}


class Library:
    """libopendkim with the keys of one file."""

    def __init__(self, zone):
        self._calls = ctypes.CDLL("libopendkim.so.11")
        for name, (result, arguments) in PROTOTYPES.items():
            call = getattr(self._calls, name)
            call.restype, call.argtypes = result, arguments
        self._handle = self._calls.dkim_init(None, None)
        method, path = INT(QUERY_FILE), ctypes.create_string_buffer(zone.encode())
        for option, value, size in ((OPTS_QUERYMETHOD, ctypes.byref(method), ctypes.sizeof(method)),
                                    (OPTS_QUERYINFO, path, len(path.value))):
            if self._calls.dkim_options(self._handle, SETOPT, option, value, size) != OK:
                raise RuntimeError("libopendkim does not take its options")

    def verify(self, message):
        """[(result, detail)] of each DKIM-Signature field, top to bottom; or a sentence when it refuses the message."""
        status = INT()
        dkim = self._calls.dkim_verify(self._handle, b"test", None, ctypes.byref(status))
        if not dkim:
            raise RuntimeError("libopendkim gives no handle")
        try:
            said = self._calls.dkim_chunk(dkim, message, len(message))
            if said == OK:
                said = self._calls.dkim_chunk(dkim, None, 0)
            if said != OK:
                return self._words(dkim, said)
            self._calls.dkim_eom(dkim, None)
            signatures, count = ctypes.POINTER(POINTER)(), INT()
            said = self._calls.dkim_getsiglist(dkim, ctypes.byref(signatures), ctypes.byref(count))
            if said != OK:
                return self._words(dkim, said)
            return [self._verdict(dkim, signatures[index]) for index in range(count.value)]
        finally:
            self._calls.dkim_free(dkim)

    def _verdict(self, dkim, signature):
        self._calls.dkim_sig_process(dkim, signature)
        passed = self._calls.dkim_sig_getflags(signature) & FLAG_PASSED
        if passed and self._calls.dkim_sig_getbh(signature) == BODY_HASH_MATCH:
            return "pass", ""
        error = self._calls.dkim_sig_geterror(signature)
        if error == SIGERROR_INVALID_A:
            return "unsupported", "algorithm"
        return "fail", "body hash mismatch" if passed else (self._calls.dkim_sig_geterrorstr(error) or b"").decode("latin-1")

    def _words(self, dkim, status):
        result = (self._calls.dkim_getresultstr(status) or b"").decode("latin-1")
        detail = (self._calls.dkim_geterror(dkim) or b"").decode("latin-1")
        return f"{result}: {detail}"


def without_foreign(message, keys):
    """(the message without DKIM-Signature fields whose key is unknown, [(index, identity)] of the others)."""
    fields, rest = common.split_header(message)
    kept, wanted, index = [], [], 0
    for field in fields:
        if common.is_signature(field):
            identity = common.tags(field)
            if f"{identity['selector']}._domainkey.{identity['domain']}".lower() in keys:
                wanted.append((index, identity))
                kept.append(field)
            index += 1
        else:
            kept.append(field)
    return b"".join(kept) + rest, wanted


def main():
    files, keys = common.arguments()
    with tempfile.TemporaryDirectory(prefix="hallmark-opendkim-") as folder:
        zone = os.path.join(folder, "zone")
        with open(zone, "w", encoding="utf-8") as lines:
            lines.writelines(f"{name} {value}\n" for name, value in keys.items())
        library = Library(zone)
        for path in files:
            message, wanted = without_foreign(common.read(path), keys)
            if not wanted:
                continue
            verdicts = library.verify(message)
            if isinstance(verdicts, str):
                verdicts = [("error", verdicts)] * len(wanted)
            for (index, identity), (result, detail) in zip(wanted, verdicts, strict=True):
                common.emit(path, index, identity, result, detail)


if __name__ == "__main__":
    main()
