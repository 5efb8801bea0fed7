#include "signerd/service/act_changes.h"

#include "signerd/service/cut_text.h"

namespace hallmark::service {
namespace {

constexpr std::size_t kEach = 8;  // what a sentence takes of a record beside its octets

}  // namespace

std::size_t AddChanges(const std::vector<std::string>& changes, std::size_t next, ledger::v1::AdminAct& act) {
  std::size_t octets = 0;
  for (; next < changes.size(); ++next) {
    std::string sentence = CutText(changes[next], kMostChanges - kEach);
    octets += sentence.size() + kEach;
    if (octets > kMostChanges) break;
    act.add_changes(std::move(sentence));
  }
  return next;
}

void SetChanges(const std::vector<std::string>& changes, ledger::v1::AdminAct& act) {
  act.clear_changes();
  const std::size_t told = AddChanges(changes, 0, act);
  if (told < changes.size()) act.add_changes("... and " + std::to_string(changes.size() - told) + " more");
}

}  // namespace hallmark::service
