#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// The field lists of a profile, prepared once for all messages. Immutable.
class FieldRules {
 public:
  struct Rule {
    std::string name;  // lower case
    bool oversigned = false;
    bool where_absent = true;  // oversigned too where the message has none
  };
  explicit FieldRules(const SigningProfile& profile);

  // What is signed, in the order of h=: From first.
  const std::vector<Rule>& rules() const { return rules_; }
  static constexpr std::size_t kNone = SIZE_MAX;
  // Which of rules() is that of the field name, in any case; kNone where it is not signed.
  std::size_t Find(std::string_view name) const;

 private:
  // Without regard to case, and without a copy in lower case.
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const;
  };
  struct SameName {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const;
  };
  void Add(const std::string& name, bool oversigned);

  std::vector<Rule> rules_;
  std::unordered_map<std::string, std::size_t, NameHash, SameName> places_;  // kNone: excluded
};

// A valid profile with what is prepared from it.
struct PreparedProfile : SigningProfile {
  explicit PreparedProfile(SigningProfile profile) : SigningProfile(std::move(profile)), fields(*this) {}
  const FieldRules fields;
};

// What is signed of one header.
struct FieldSelection {
  std::vector<std::string_view> names;  // h=, in order and lower case; views into the rules
  std::vector<const Field*> fields;     // what the names stand for, in the same order, without those of absent fields
};

// Applies a profile to a header: repeated fields bottom-up, oversigned names once more than there are instances (Date
// and Message-ID only where there is one), excluded ones never, From always (RFC 6376 sections 5.4 and 5.4.2).
// kFromMissing; kHeaderTooLarge when h= would pass kMaxSignedNames.
Result<FieldSelection> SelectFields(const Header& header, const FieldRules& rules);

// The fields that the names of an h= stand for: each takes the lowest instance not taken yet; those that find none are
// left out. `raw` is the signature's own field, which it never signs (RFC 6376 section 3.5, h=); empty: none.
std::vector<const Field*> FieldsOf(const Header& header, const std::vector<std::string_view>& names,
                                   std::string_view raw = {});

}  // namespace hallmark::dkim
