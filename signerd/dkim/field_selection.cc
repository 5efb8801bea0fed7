#include "signerd/dkim/field_selection.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

using Names = std::set<std::string>;

Names LowerSet(const std::vector<std::string>& list) {
  Names names;
  for (const std::string& name : list) names.insert(ToLower(name));
  return names;
}

// Instances of each field, from the top, by lower-case name.
std::map<std::string, std::vector<const Field*>> Instances(const Header& header) {
  std::map<std::string, std::vector<const Field*>> instances;
  for (const Field& field : header.fields()) instances[ToLower(field.name)].push_back(&field);
  return instances;
}

}  // namespace

Result<FieldSelection> SelectFields(const Header& header, const SigningProfile& profile) {
  const auto instances = Instances(header);
  const Names oversigned = LowerSet(profile.oversigned_fields);
  Names done = LowerSet(profile.excluded_fields);  // what needs no more attention
  done.erase("from");
  FieldSelection selection;
  const auto take = [&](std::string_view name) {
    const std::string lower = ToLower(name);
    if (!done.insert(lower).second) return;
    const auto found = instances.find(lower);
    if (found != instances.end()) {
      for (auto field = found->second.rbegin(); field != found->second.rend(); ++field) {
        selection.fields.push_back(*field);
        selection.names.push_back(name);
      }
    }
    if (oversigned.contains(lower)) selection.names.push_back(name);
  };
  take("From");
  if (selection.fields.empty()) return MakeError(Reason::kFromMissing, "the message has no From field");
  for (const std::string& name : profile.signed_fields) take(name);
  for (const std::string& name : profile.oversigned_fields) take(name);
  if (selection.names.size() > kMaxSignedNames) {
    return MakeError(Reason::kHeaderTooLarge,
                     "the message has more than " + std::to_string(kMaxSignedNames) + " fields to be signed");
  }
  return selection;
}

std::vector<const Field*> FieldsOf(const Header& header, const std::vector<std::string_view>& names) {
  auto instances = Instances(header);
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
