#include "signerd/dkim/field_selection.h"

#include <map>

#include "firmware/runtime/fnv1a.h"
#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

// RFC 6409 section 8: a submission server may add these two where they are missing. Sendmail does so after its milters
// have seen the message, which broke a signature that says that there is none.
bool MayBeAddedLater(std::string_view lower_name) { return lower_name == "date" || lower_name == "message-id"; }

}  // namespace

// DKIM-Signature is not oversigned, whatever a profile of older versions says: none of two signatures would verify.
FieldRules::FieldRules(const SigningProfile& profile) {
  for (const std::string& name : profile.excluded_fields) places_.emplace(ToLower(name), kNone);
  places_.erase("from");
  Add("from", false);
  for (const std::string& name : profile.signed_fields) Add(name, false);
  for (const std::string& name : profile.oversigned_fields) Add(name, !EqualsIgnoringCase(name, "DKIM-Signature"));
}

void FieldRules::Add(const std::string& name, bool oversigned) {
  const auto [place, fresh] = places_.emplace(ToLower(name), rules_.size());
  if (fresh) rules_.push_back({place->first, oversigned, !MayBeAddedLater(place->first)});
  if (oversigned && place->second != kNone) rules_[place->second].oversigned = true;
}

std::size_t FieldRules::Find(std::string_view name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? kNone : found->second;
}

std::size_t FieldRules::NameHash::operator()(std::string_view name) const {
  std::uint64_t hash = kFnv1aBasis;
  for (const char c : name) hash = Fnv1a(hash, Lower(c));
  return static_cast<std::size_t>(hash);
}

bool FieldRules::SameName::operator()(std::string_view a, std::string_view b) const { return EqualsIgnoringCase(a, b); }

Result<FieldSelection> SelectFields(const Header& header, const FieldRules& rules) {
  // Of each rule the lowest field, and of each field the one above it with the same name.
  constexpr std::size_t kNone = FieldRules::kNone;
  const std::vector<Field>& fields = header.fields();
  std::vector<std::size_t> lowest(rules.rules().size(), kNone), above(fields.size(), kNone);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t rule = rules.Find(fields[i].name);
    if (rule != kNone) above[i] = std::exchange(lowest[rule], i);
  }
  if (lowest.front() == kNone) return MakeError(Reason::kFromMissing, "the message has no From field");
  FieldSelection selection;
  selection.names.reserve(rules.rules().size() + fields.size());
  selection.fields.reserve(fields.size());
  for (std::size_t rule = 0; rule < lowest.size(); ++rule) {
    for (std::size_t i = lowest[rule]; i != kNone; i = above[i]) {
      selection.fields.push_back(&fields[i]);
      selection.names.push_back(rules.rules()[rule].name);
    }
    const bool present = lowest[rule] != kNone;
    const FieldRules::Rule& of = rules.rules()[rule];
    if (of.oversigned && (present || of.where_absent)) selection.names.push_back(of.name);
  }
  if (selection.names.size() > kMaxSignedNames) {
    return MakeError(Reason::kHeaderTooLarge,
                     "the message has more than " + std::to_string(kMaxSignedNames) + " fields to be signed");
  }
  return selection;
}

std::vector<const Field*> FieldsOf(const Header& header, const std::vector<std::string_view>& names,
                                   std::string_view raw) {
  std::map<std::string, std::vector<const Field*>> instances;  // from the top, by lower-case name
  for (const Field& field : header.fields()) {
    if (field.raw.data() != raw.data()) instances[ToLower(field.name)].push_back(&field);
  }
  std::vector<const Field*> fields;
  for (const std::string_view name : names) {
    auto& left = instances[ToLower(name)];
    if (left.empty()) continue;
    fields.push_back(left.back());
    left.pop_back();
  }
  return fields;
}

}  // namespace hallmark::dkim
