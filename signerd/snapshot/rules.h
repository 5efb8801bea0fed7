#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

// Which domains and addresses a partner may use, written by an operator and asked for each message.
namespace hallmark::snapshot {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using NameSet = boost::unordered_flat_set<std::string, StringHash, std::equal_to<>>;

// Whether `name` is `parent` or below it. Both are A-labels in lower case.
bool IsWithin(std::string_view name, std::string_view parent);

// "example.com": that domain alone. ".example.com": it and all below it. "*": any.
class DomainRules {
 public:
  // U-labels become A-labels, letters lower case; a rule given twice counts once. kInvalidArgument quotes the rule that
  // is none.
  static Result<DomainRules> Parse(const std::vector<std::string>& rules);

  // `domain` is an A-label in lower case. Its cost grows with the labels of `domain`, hardly with the rules.
  bool Match(std::string_view domain) const;
  // Whether some rule matches `domain` or a domain above it.
  bool MatchAny(std::string_view domain) const;
  // Whether these rules match whatever `rule`, one of another DomainRules' texts(), does.
  bool Cover(std::string_view rule) const;

  // Asks for the memory that Match will read, and does not wait for it.
  void Prefetch() const;

  // In their normal form, in order.
  const std::set<std::string>& texts() const { return texts_; }
  bool empty() const { return texts_.empty(); }
  friend bool operator==(const DomainRules& a, const DomainRules& b) { return a.texts_ == b.texts_; }

 private:
  // A rule by the hash of its name, in order of hashes. They lie side by side because a partner's rules are cold when a
  // message of it comes: a search touches few cache lines, and a name only when it is the one.
  struct Entry {
    std::uint64_t hash;
    std::uint32_t begin;  // of its name in names_
    std::uint16_t size;
    bool within;
  };
  bool Has(std::string_view name, bool exact_too) const;
  bool any_ = false, any_within_ = false;
  std::vector<Entry> entries_;
  std::string names_;  // one behind the other, without the leading dot
  std::set<std::string> texts_;
};

// Allowed addresses of From: "*" stands for any octets, and the pattern for the whole address. The local part counts as
// it is written; the domain does not care for case, nor whether it is written with U-labels.
class AddressPattern {
 public:
  // "sales@example.com", "*@news.example.com", "bounce-*@*.example.com". kInvalidArgument quotes what is none.
  static Result<AddressPattern> Parse(std::string_view pattern);

  // `address` as a From field writes it; `domain` is its domain as an A-label in lower case.
  bool Match(std::string_view address, std::string_view domain) const;

  std::string text() const { return local_part_ + "@" + domain_; }
  friend bool operator==(const AddressPattern&, const AddressPattern&) = default;

 private:
  std::string local_part_, domain_;
};

}  // namespace hallmark::snapshot
