#include "tools/posture/spf.h"

#include <algorithm>
#include <utility>

#include "tools/posture/kinds.h"
#include "tools/posture/spf_walk.h"

namespace hallmark::posture {
namespace {

constexpr std::size_t kMostLookups = 10, kMostVoids = 2;  // RFC 7208 section 4.6.4
constexpr std::size_t kLongestRecord = 450;               // RFC 7208 section 3.4

std::string Join(const std::vector<std::string>& terms, std::string_view end) {
  std::string text = "v=spf1";
  for (const std::string& term : terms) text += " " + term;
  return text + " " + std::string(end);
}

// The line of the record with ~all at its end: its other terms and its modifiers stay. A redirect beside an all means
// nothing. None where it would let nobody in, or may lack somebody who was meant to pass.
std::vector<std::string> WithSoftFail(const std::string& domain, const SpfRecord& record) {
  std::string text = Join(SpfTermsToKeep(record), "~all");
  for (const std::string& modifier : record.unknown) text += " " + modifier;
  if (record.exp) text += " exp=" + *record.exp;
  const auto mended = ParseSpf(text);
  if (record.MayMeanToLetIn() || !mended || !mended->LetsIn()) return {};
  return {TxtLine(domain, text)};
}

// The line of a record that was mended. None where it would let nobody in: somebody was to pass, by a term that is
// written wrongly or stands where it is not looked at, and would be refused for good.
std::vector<std::string> Mended(const std::string& domain, const SpfRecord& record) {
  if (!record.LetsIn()) return {};
  return {TxtLine(domain, SpfText(record))};
}

// The record with what is looked at: nothing behind its all, and no redirect beside that.
SpfRecord WithoutIgnored(SpfRecord record) {
  const auto all = std::find_if(record.terms.begin(), record.terms.end(),
                                [](const SpfTerm& term) { return term.mechanism == SpfMechanism::kAll; });
  if (all != record.terms.end()) {
    record.terms.erase(all + 1, record.terms.end());
    record.redirect.reset();
  }
  return record;
}

SpfRecord WithoutUnknown(SpfRecord record) {
  record.unknown.clear();
  return record;
}

// One record with the terms of all, where each can be read. None where it would let nobody in.
std::vector<std::string> Merged(const std::string& domain, const std::vector<std::string>& records) {
  std::vector<std::string> terms;
  for (const std::string& text : records) {
    const auto record = ParseSpf(text);
    if (!record || record->redirect || record->MayMeanToLetIn()) return {};
    for (const std::string& term : SpfTermsToKeep(*record)) {
      if (std::find(terms.begin(), terms.end(), term) == terms.end()) terms.push_back(term);
    }
  }
  const std::string text = Join(terms, "~all");
  const auto merged = ParseSpf(text);
  if (!merged || !merged->LetsIn()) return {};
  return {TxtLine(domain, text)};
}

void CheckMissing(const std::string& domain, const Fetched& fetched, Dns& dns, Report& report) {
  if (fetched.aliased_nowhere) return;
  const auto mx = dns.Find(domain, dns::RecordType::kMx);
  const bool has_mx =
      mx && std::any_of(mx->values.begin(), mx->values.end(), [](const std::string& host) { return !host.empty(); });
  std::vector<std::string> publish;
  if (has_mx) publish.push_back(TxtLine(domain, "v=spf1 mx ~all"));
  report.Add(kinds::kSpfMissing, domain, "there is no SPF record at " + domain, std::move(publish));
}

// What its all says, or a redirect's.
void CheckEnd(const std::string& domain, const SpfRecord& record, const SpfWalk& walk, Report& report) {
  // What a redirect leads to is not for this record to put right.
  const bool redirected = record.All() == nullptr && record.redirect;
  const std::string who = redirected ? "what redirect=" + *record.redirect + " leads to" : "the record";
  std::vector<std::string> mended;
  if (!redirected) mended = WithSoftFail(domain, record);
  if (walk.end() == '?') report.Add(kinds::kSpfNeutralAll, domain, who + " ends with ?all", mended);
  if (walk.end() == '\0') report.Add(kinds::kSpfNoAll, domain, who + " ends without all and without redirect", mended);
  if (record.after_all.empty() && !(record.All() != nullptr && record.redirect)) return;
  std::string ignored;
  for (const std::string& term : record.after_all) ignored += (ignored.empty() ? "" : " ") + term;
  if (record.redirect) ignored += (ignored.empty() ? "redirect=" : " redirect=") + *record.redirect;
  report.Add(kinds::kSpfIgnoredTerms, domain, Quoted(ignored) + " beside " + Quoted(record.All()->text) + " is ignored",
             Mended(domain, WithoutIgnored(record)));
}

void CheckPassAll(const std::string& domain, const SpfRecord& record, const SpfAdmits& admits, Report& report) {
  if (!admits.everyone) return;
  std::vector<std::string> publish;
  const SpfTerm* all = record.All();
  if (all != nullptr && all->qualifier == '+') publish = WithSoftFail(domain, record);
  report.Add(kinds::kSpfPassAll, domain,
             all != nullptr && all->qualifier == '+' ? "the record ends with " + Quoted(all->text)
                                                     : "the record, or one that it leads to, passes every address",
             std::move(publish));
}

void CheckCounts(const std::string& domain, const SpfWalk& walk, Report& report) {
  const std::size_t lookups = walk.lookups();
  const std::string number = (lookups >= SpfWalk::kMostLookups ? "at least " : "") + std::to_string(lookups);
  if (lookups > kMostLookups) {
    report.Add(kinds::kSpfTooManyLookups, domain, "the record needs " + number + " lookups");
  } else if (lookups + 1 >= kMostLookups) {
    report.Add(kinds::kSpfNearLookupLimit, domain, "the record needs " + number + " lookups");
  }
  if (walk.void_names().size() <= kMostVoids) return;
  std::string names;
  for (const std::string& name : walk.void_names()) names += (names.empty() ? "" : ", ") + name;
  report.Add(kinds::kSpfTooManyVoid, domain,
             std::to_string(walk.void_names().size()) + " lookups find nothing: " + names);
}

void CheckRecord(const std::string& domain, const std::string& text, Dns& dns, Report& report) {
  if (text.size() > kLongestRecord)
    report.Add(kinds::kSpfLongRecord, domain, "the record has " + std::to_string(text.size()) + " octets");
  const auto record = ParseSpf(text);
  if (!record) {
    report.Add(kinds::kSpfSyntax, domain, record.error().message);
    return;
  }
  // One record puts all of them right, and goes with the first: there may be thousands.
  std::vector<std::string> known_alone;
  if (!record->MayMeanToLetIn()) known_alone = Mended(domain, WithoutUnknown(*record));
  for (const std::string& modifier : record->unknown)
    report.Add(kinds::kSpfUnknownModifier, domain, Quoted(modifier) + " is no modifier of SPF",
               std::exchange(known_alone, {}));
  SpfWalk walk(domain, dns, report);
  const SpfAdmits admits = walk.Walk(*record);
  CheckCounts(domain, walk, report);
  CheckEnd(domain, *record, walk, report);
  CheckPassAll(domain, *record, admits, report);
}

}  // namespace

void CheckSpf(const std::string& domain, Dns& dns, Report& report) {
  const Fetched fetched = dns.FetchTxt(domain, &IsSpf);
  switch (fetched.state) {
    case Fetched::State::kUnavailable: break;
    case Fetched::State::kNone: CheckMissing(domain, fetched, dns, report); break;
    case Fetched::State::kOne: CheckRecord(domain, fetched.records.front(), dns, report); break;
    case Fetched::State::kSeveral:
      report.Add(kinds::kSpfSeveralRecords, domain,
                 "there are " + std::to_string(fetched.records.size()) + " SPF records at " + domain,
                 Merged(domain, fetched.records));
      break;
  }
  const auto old = dns.Find(domain, dns::RecordType::kSpf);
  if (old && !old->values.empty())
    report.Add(kinds::kSpfTypeRecord, domain, "there is a record of type SPF at " + domain);
}

}  // namespace hallmark::posture
