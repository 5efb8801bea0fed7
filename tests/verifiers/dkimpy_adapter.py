#!/usr/bin/python3
"""dkimpy (python3-dkim, with python3-nacl for Ed25519): each signature by itself. See common.py for the interface."""

import dkim

import common


def verdict(message, index, keys):
    def lookup(name, timeout=5):
        del timeout
        return keys.get(name.decode("latin-1").rstrip(".").lower(), "").encode() or None

    try:
        passed = dkim.DKIM(message).verify(idx=index, dnsfunc=lookup)
        return ("pass", "") if passed else ("fail", "verify() returned False")
    except dkim.UnknownKeyTypeError as error:
        return "unsupported", str(error)
    except dkim.DKIMException as error:
        return "fail", f"{type(error).__name__}: {error}"
    except Exception as error:  # dkimpy lets errors of its own parsing through
        return "error", f"{type(error).__name__}: {error}"


def main():
    files, keys = common.arguments()
    for path in files:
        message = common.read(path)
        signatures = [field for field in common.split_header(message)[0] if common.is_signature(field)]
        for index, field in enumerate(signatures):
            common.emit(path, index, common.tags(field), *verdict(message, index, keys))


if __name__ == "__main__":
    main()
