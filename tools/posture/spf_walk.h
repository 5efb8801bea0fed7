#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/posture/lookup.h"
#include "tools/posture/spf_record.h"

namespace hallmark::posture {

// Who passes by a part of a record.
struct SpfAdmits {
  std::uint64_t ip4_addresses = 0;
  std::size_t ip4_networks = 0, ip6_networks = 0;
  bool everyone = false;             // +all, or a network of everything
  bool by_message = false;           // exists, ptr or macros: decided for each message
  std::vector<std::string> through;  // the domains whose records take part

  void Add(const SpfAdmits& other);
  std::string Text() const;  // "lets in 3 IPv4 networks (768 addresses)"
};

// Goes through a record and all that it leads to, as an evaluation does that matches nowhere, and reports what is wrong
// on the way. One object for one domain.
class SpfWalk {
 public:
  SpfWalk(std::string domain, Dns& dns, Report& report) : domain_(std::move(domain)), dns_(dns), report_(report) {}

  // The record of the domain itself.
  SpfAdmits Walk(const SpfRecord& record);

  // More are not looked for.
  static constexpr std::size_t kMostLookups = 60;
  std::size_t lookups() const { return lookups_; }
  // The names that were looked up in vain.
  const std::vector<std::string>& void_names() const { return void_names_; }
  // The qualifier of the all that ends the evaluation, through redirects; 0 where there is none. nullopt: a redirect
  // leads to where it cannot be seen.
  std::optional<char> end() const { return end_; }

 private:
  enum class By : std::uint8_t { kInclude, kRedirect };
  // `ends`: no record is looked at after this one.
  SpfAdmits WalkRecord(const SpfRecord& record, const std::string& at, bool ends);
  // `mended`: the record at `at` without the term.
  SpfAdmits WalkTerm(const SpfTerm& term, const std::string& at, const std::vector<std::string>& mended);
  SpfAdmits Follow(const std::string& spec, const std::string& text, const std::string& at, By by, bool ends,
                   const std::vector<std::string>& mended);
  SpfAdmits FollowHosts(const SpfTerm& term, const std::string& at);
  SpfAdmits Hosts(const std::string& name, const SpfTerm& term);
  SpfAdmits Network(const SpfTerm& term, const std::string& at);
  void FollowExists(const SpfTerm& term, const std::string& at);
  // The name that a domain-spec in the record at `at` leads to, where it is another organisation's to be named.
  std::optional<std::string> ThirdParty(const std::string& spec, const std::string& at) const;
  void NameThirdParty(const std::string& name, const std::string& text, const std::string& at, const SpfAdmits& admits,
                      std::vector<std::string> publish);
  // No record of another organisation is being gone through.
  bool InOwnRecord() const;
  // The record at `at` without the term; none where it is not for this domain to change, or would let nobody in.
  std::vector<std::string> Without(const SpfRecord& record, const SpfTerm& term, const std::string& at) const;
  void Void(const std::string& name) { void_names_.push_back(name); }

  const std::string domain_;
  Dns& dns_;
  Report& report_;
  std::vector<std::string> path_;  // the domains whose records are being gone through, the outermost first
  std::size_t lookups_ = 0;
  std::vector<std::string> void_names_;
  std::optional<char> end_;
};

// Whether a name belongs to another organisation than `domain`, by the Public Suffix List.
bool IsThirdParty(const std::string& name, const std::string& domain);

}  // namespace hallmark::posture
