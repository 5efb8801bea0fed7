#include "signerd/keys/noted_pairs.h"

#include "firmware/runtime/encoding.h"

namespace hallmark::keys {
namespace {

constexpr char kRecorded[] = "RECORDED";
constexpr std::string_view kId = "CKA_ID ", kIn = " in token ";

Result<NotedPair> PairOf(const store::KeyEvent& event) {
  const std::size_t in = event.note.find(kIn);
  if (event.note.starts_with(kId) && in != std::string::npos) {
    auto id = HexDecode(std::string_view(event.note).substr(kId.size(), in - kId.size()));
    if (id) return NotedPair{event.domain, event.selector, event.note.substr(in + kIn.size()), std::move(*id)};
  }
  return MakeError(Reason::kInternal,
                   event.domain + ": the note of a pair in a token is not understood: " + event.note);
}

}  // namespace

Status NotePair(store::Store& store, const NotedPair& pair, std::chrono::sys_seconds now) {
  const std::string note = std::string(kId) + HexEncode(pair.cka_id) + std::string(kIn) + pair.token;
  return store.PlanKeyEvent({0, pair.domain, pair.selector, "key", "", kRecorded, now, {}, "operator", note});
}

Result<std::optional<NotedPair>> NotedPairOf(store::Store& store, const std::string& domain,
                                             const std::string& selector) {
  const auto noted = store.IsPlanned(domain, selector, kRecorded);
  if (!noted) return noted.error();
  if (!*noted) return std::optional<NotedPair>();
  auto pairs = ListNotedPairs(store);
  if (!pairs) return pairs.error();
  for (NotedPair& pair : *pairs) {
    if (pair.domain == domain && pair.selector == selector) return std::optional(std::move(pair));
  }
  return std::optional<NotedPair>();
}

Result<std::vector<NotedPair>> ListNotedPairs(store::Store& store) {
  const auto events = store.ListPlanned(kRecorded);
  if (!events) return events.error();
  std::vector<NotedPair> pairs;
  for (const store::KeyEvent& event : *events) {
    auto pair = PairOf(event);
    if (!pair) return pair.error();
    pairs.push_back(std::move(*pair));
  }
  return pairs;
}

Status DestroyUnrecorded(Signer& signer, const std::vector<std::string>& tokens, const Bytes& cka_id) {
  Status done = Ok();
  for (const std::string& token : tokens) {
    const auto found = signer.Find(token, cka_id);
    const bool none = !found && found.error().reason == Reason::kKeyMissing;
    Status destroyed = found || none ? signer.Destroy(token, cka_id, found ? found->spki : Bytes()) : found.error();
    // A pair without its private object is not found, and goes; one without its public object may be somebody's.
    if (none && !destroyed && destroyed.error().reason == Reason::kKeyMismatch) destroyed = Ok();
    if (done) done = destroyed;
  }
  return done;
}

}  // namespace hallmark::keys
