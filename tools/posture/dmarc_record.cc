#include "tools/posture/dmarc_record.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/tag_list.h"
#include "tools/posture/finding.h"
#include "tools/posture/lookup.h"
#include "tools/posture/report_uri.h"

namespace hallmark::posture {
namespace {

using dkim::EqualsIgnoringCase;

std::optional<DmarcPolicy> PolicyByName(std::string_view name) {
  for (const DmarcPolicy policy : {DmarcPolicy::kNone, DmarcPolicy::kQuarantine, DmarcPolicy::kReject}) {
    if (EqualsIgnoringCase(name, DmarcPolicyName(policy))) return policy;
  }
  return std::nullopt;
}

// One of two letters: true for `yes`.
bool TakeLetter(const dkim::Tag& tag, std::string_view yes, std::string_view no, bool& place) {
  place = EqualsIgnoringCase(tag.value, yes);
  return place || EqualsIgnoringCase(tag.value, no);
}

bool TakePercent(std::string_view text, unsigned& percent) {
  if (text.empty() || text.size() > 3 || !std::all_of(text.begin(), text.end(), &dkim::IsDigit)) return false;
  unsigned value = 0;
  for (const char c : text) value = value * 10 + static_cast<unsigned>(c - '0');
  if (value > 100) return false;
  percent = value;
  return true;
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.size() <= 10 && std::all_of(text.begin(), text.end(), &dkim::IsDigit);
}

bool AreFailureOptions(std::string_view list) {
  const auto options = dkim::SplitList(list, ':');
  return std::all_of(options.begin(), options.end(), [](std::string_view option) {
    return option.size() == 1 && std::string_view("01ds").find(dkim::Lower(option.front())) != std::string_view::npos;
  });
}

// False: the value cannot be read.
bool TakeTag(const dkim::Tag& tag, DmarcRecord& record) {
  if (tag.name == "pct") return TakePercent(tag.value, record.percent);
  if (tag.name == "adkim") return TakeLetter(tag, "s", "r", record.strict_dkim);
  if (tag.name == "aspf") return TakeLetter(tag, "s", "r", record.strict_spf);
  if (tag.name == "t") return TakeLetter(tag, "y", "n", record.testing);
  if (tag.name == "np") return (record.nonexistent_policy = PolicyByName(tag.value)).has_value();
  if (tag.name == "fo") return AreFailureOptions(tag.value);
  if (tag.name == "rf") return EqualsIgnoringCase(tag.value, "afrf");
  if (tag.name == "ri") return IsNumber(tag.value);
  if (tag.name == "rua" || tag.name == "ruf") {
    auto& place = tag.name == "rua" ? record.aggregate : record.failure;
    for (const std::string_view uri : SplitUris(tag.value)) place.emplace_back(uri);
    return true;
  }
  if (tag.name != "v" && tag.name != "p" && tag.name != "sp" && tag.name != "psd")
    record.unknown_tags.emplace_back(tag.name);
  return true;
}

}  // namespace

std::string_view DmarcPolicyName(DmarcPolicy policy) {
  switch (policy) {
    case DmarcPolicy::kNone: return "none";
    case DmarcPolicy::kQuarantine: return "quarantine";
    case DmarcPolicy::kReject: return "reject";
  }
  return "";
}

bool IsDmarc(std::string_view text) { return HasVersion(text, "DMARC1"); }

Result<DmarcRecord> ParseDmarc(std::string_view text) {
  const auto invalid = [](const std::string& what) { return MakeError(Reason::kInvalidArgument, what); };
  const auto tags = dkim::TagList::Parse(text);
  if (!tags) return tags.error();
  if (!IsDmarc(text)) return invalid("v=DMARC1 is not the first tag");
  DmarcRecord record;
  const dkim::Tag* p = tags->Find("p");
  if (p == nullptr) return invalid("p= is missing");
  const auto policy = PolicyByName(p->value);
  if (!policy) return invalid("p=" + Quoted(p->value) + " is no policy; expected none, quarantine or reject");
  record.policy = *policy;
  if (const dkim::Tag* sp = tags->Find("sp")) {
    record.subdomain_policy = PolicyByName(sp->value);
    if (!record.subdomain_policy)
      return invalid("sp=" + Quoted(sp->value) + " is no policy; expected none, quarantine or reject");
  }
  for (const dkim::Tag& tag : tags->tags()) {
    record.tags.emplace_back(tag.name, tag.value);
    if (!TakeTag(tag, record)) record.bad_values.push_back(std::string(tag.name) + "=" + std::string(tag.value));
  }
  return record;
}

std::string WithTags(const DmarcRecord& record, const std::vector<TagChange>& changes) {
  std::string text;
  const auto add = [&](std::string_view tag, std::string_view of) {
    if (!of.empty()) text += (text.empty() ? "" : "; ") + std::string(tag) + "=" + std::string(of);
  };
  for (const auto& tag : record.tags) {
    const auto change =
        std::find_if(changes.begin(), changes.end(), [&](const TagChange& one) { return one.name == tag.first; });
    add(tag.first, change == changes.end() ? tag.second : change->value);
  }
  for (const TagChange& change : changes) {
    const bool there =
        std::any_of(record.tags.begin(), record.tags.end(), [&](const auto& tag) { return tag.first == change.name; });
    if (!there) add(change.name, change.value);
  }
  return text;
}

std::string WithTag(const DmarcRecord& record, std::string_view name, std::string_view value) {
  return WithTags(record, {{name, value}});
}

}  // namespace hallmark::posture
