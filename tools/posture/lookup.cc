#include "tools/posture/lookup.h"

#include <map>
#include <memory>

#include "signerd/dkim/ascii.h"
#include "tools/posture/kinds.h"

namespace hallmark::posture {

Lookup Remembering(Lookup lookup) {
  using Question = std::pair<std::string, dns::RecordType>;
  using Answers = std::map<Question, Result<dns::Answer>>;
  return
      [lookup = std::move(lookup), known = std::make_shared<Answers>()](const std::string& name, dns::RecordType type) {
        const Question question(dkim::ToLower(name), type);
        const auto found = known->find(question);
        if (found != known->end()) return found->second;
        return known->emplace(question, lookup(name, type)).first->second;
      };
}

Lookup GivingUp(Lookup lookup, std::size_t limit) {
  return [lookup = std::move(lookup), limit, failed = std::make_shared<std::size_t>(0)](
             const std::string& name, dns::RecordType type) -> Result<dns::Answer> {
    if (*failed >= limit) {
      return MakeError(Reason::kIoFailed, "not asked for " + name + " " + std::string(dns::RecordTypeName(type)) +
                                              ": " + std::to_string(limit) + " questions before got no answer");
    }
    auto answer = lookup(name, type);
    if (!answer && answer.error().reason == Reason::kIoFailed) ++*failed;
    return answer;
  };
}

std::optional<dns::Answer> Dns::Find(const std::string& name, dns::RecordType type) {
  auto answer = lookup_(name, type);
  if (answer) return std::move(*answer);
  if (answer.error().reason == Reason::kInvalidArgument) return dns::Answer{{}, false, ""};
  report_.Add(kinds::kDnsNoAnswer, name, answer.error().message);
  return std::nullopt;
}

Fetched Dns::FetchTxt(const std::string& name, bool (*of_version)(std::string_view)) {
  Fetched fetched;
  const auto answer = Find(name, dns::RecordType::kTxt);
  if (!answer) {
    fetched.state = Fetched::State::kUnavailable;
    return fetched;
  }
  fetched.exists = answer->exists;
  fetched.below_dname = answer->by_dname;
  for (const std::string& value : answer->values) {
    if (of_version(value)) {
      fetched.records.push_back(value);
    } else if (fetched.instead.empty()) {
      fetched.instead = value;
    }
  }
  if (fetched.records.size() == 1) fetched.state = Fetched::State::kOne;
  if (fetched.records.size() > 1) fetched.state = Fetched::State::kSeveral;
  if (!answer->exists && !answer->alias.empty() && !answer->by_dname) {
    fetched.aliased_nowhere = true;
    report_.Add(kinds::kAliasBroken, name, name + " is an alias of " + answer->alias + ", which does not exist");
  }
  return fetched;
}

std::optional<bool> Dns::HasAddress(const std::string& name) {
  const auto ipv4 = Find(name, dns::RecordType::kA);
  if (ipv4 && !ipv4->values.empty()) return true;
  const auto ipv6 = Find(name, dns::RecordType::kAaaa);
  if (ipv6 && !ipv6->values.empty()) return true;
  if (!ipv4 || !ipv6) return std::nullopt;
  return false;
}

std::string Instead(const Fetched& fetched) {
  return fetched.instead.empty() ? "" : "; found instead: " + Quoted(fetched.instead);
}

bool HasVersion(std::string_view text, std::string_view version) {
  const std::string_view first = text.substr(0, text.find(';'));
  const std::size_t equals = first.find('=');
  if (equals == std::string_view::npos || first.front() != 'v') return false;
  return dkim::TrimFws(first.substr(0, equals)) == "v" && dkim::TrimFws(first.substr(equals + 1)) == version;
}

}  // namespace hallmark::posture
