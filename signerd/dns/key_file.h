#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::dns {

// TXT records from a text file, in place of the DNS. One record a line, in any of these forms:
//
//   sel._domainkey.example.com v=DKIM1; p=...
//   sel._domainkey.example.com TXT v=DKIM1; p=...
//   sel._domainkey.example.com. 3600 IN TXT "v=DKIM1; " "p=..."
//
// Quoted strings follow the zone-file rules (RFC 1035 section 5.1: \", \\ and \DDD; parentheses let a record go on over
// lines; ';' after them starts a comment). Names are absolute, with or without the final dot, in any case. Lines that
// start with '#' or ';' and empty lines say nothing. Several lines may have one name. Immutable once made: any thread.
class KeyFile {
 public:
  // kInvalidArgument says what is wrong as "SOURCE:LINE: ..."; `source` is only for that.
  static Result<KeyFile> Parse(std::string_view content, const std::string& source);
  // As Parse; kNotFound or kIoFailed when the file cannot be read.
  static Result<KeyFile> Load(const std::filesystem::path& path);

  // As Resolver::LookupTxt: the records' values in the order of the file, or kNotFound.
  Result<std::vector<std::string>> LookupTxt(const std::string& name) const;

  std::size_t size() const { return records_.size(); }

 private:
  std::multimap<std::string, std::string> records_;  // by lower-case name without the final dot
};

}  // namespace hallmark::dns
