#pragma once

#include <cstddef>
#include <string>

namespace hallmark::bench {

// Octets of the header that stands before every body, for peers that take whole messages.
inline const std::string kHeader =
    "Received: from client.example.org (client.example.org [192.0.2.1])\r\n"
    "\tby submit.example.com with ESMTPSA; Mon, 5 Jan 2026 09:30:00 +0000\r\n"
    "From: Joe SixPack <joe@example.com>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner ready?\r\n"
    "Date: Mon, 5 Jan 2026 09:30:00 +0000\r\n"
    "Message-ID: <20260105093000.12345@submit.example.com>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "\r\n";

// A body of `size` octets at least. Clean: lines of 76 octets and CRLF, which no canonicalization changes. Dirty: in
// each two lines a tab, a run of spaces, a space at the end and a bare LF.
inline std::string Body(std::size_t size, bool dirty) {
  std::string body;
  while (body.size() < size) {
    body += dirty ? "The quick brown\tfox jumps over  the lazy dog, and then it does so once more. \r\n"
                    "And the dog, which is lazy indeed, lets it jump and goes on with its sleep.\n"
                  : "The quick brown fox jumps over the lazy dog, and then it does so once more.x\r\n";
  }
  return body;
}

}  // namespace hallmark::bench
