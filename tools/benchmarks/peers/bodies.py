"""The messages that peers are measured with: octet for octet those of tools/benchmarks/bodies.h."""

SIZES = {"2kB": 2_000, "20kB": 20_000, "200kB": 200_000, "10MB": 10_000_000}

DOMAIN = "example.com"

HEADER = (b"Received: from client.example.org (client.example.org [192.0.2.1])\r\n"
          b"\tby submit.example.com with ESMTPSA; Mon, 5 Jan 2026 09:30:00 +0000\r\n"
          b"From: Joe SixPack <joe@example.com>\r\n"
          b"To: Suzie Q <suzie@shopping.example.net>\r\n"
          b"Subject: Is dinner ready?\r\n"
          b"Date: Mon, 5 Jan 2026 09:30:00 +0000\r\n"
          b"Message-ID: <20260105093000.12345@submit.example.com>\r\n"
          b"MIME-Version: 1.0\r\n"
          b"Content-Type: text/plain; charset=utf-8\r\n"
          b"\r\n")

_CLEAN = b"The quick brown fox jumps over the lazy dog, and then it does so once more.x\r\n"
_DIRTY = (b"The quick brown\tfox jumps over  the lazy dog, and then it does so once more. \r\n"
          b"And the dog, which is lazy indeed, lets it jump and goes on with its sleep.\n")


def body(size, dirty=False):
    """A body of `size` octets at least, of whole lines (dirty: whole pairs of lines)."""
    lines = _DIRTY if dirty else _CLEAN
    return lines * -(-size // len(lines))


def message(size):
    """A message with a clean body of `size` octets at least."""
    return HEADER + body(size)
