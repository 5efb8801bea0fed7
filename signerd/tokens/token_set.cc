#include "signerd/tokens/token_set.h"

#include <boost/asio/post.hpp>

#include <future>
#include <iterator>
#include <utility>

namespace hallmark::tokens {

TokenSet::TokenSet(const std::filesystem::path& tokend, const std::vector<TokenConfig>& configs)
    : work_(boost::asio::make_work_guard(io_)), key_calls_end_(io_), first_(configs.front().group_name()) {
  for (const TokenConfig& config : configs) {
    auto& token = by_name_[config.name] = std::make_unique<Token>(io_, tokend, config);
    Group& group = groups_[config.group_name()];
    if (group.tokens == nullptr) group.tokens = std::make_unique<TokenGroup>(io_, config.group_name());
    group.tokens->AddMember(*token);
    group.names.push_back(config.name);
  }
}

TokenSet::~TokenSet() { Stop(); }

void TokenSet::Start() {
  boost::asio::post(io_, [this] {
    for (auto& [name, group] : groups_) group.tokens->Start();
  });
  thread_ = std::thread([this] { io_.run(); });
}

void TokenSet::Stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopped_, true)) return;
  }
  if (!thread_.joinable()) return;
  boost::asio::post(io_, [this] {
    key_calls_end_.cancel();
    for (auto& [name, group] : groups_) group.tokens->Stop();
    work_.reset();
  });
  thread_.join();
}

void TokenSet::EndKeyCallsAfter(std::chrono::milliseconds patience) {
  Post([this, patience] {
    key_calls_end_.expires_after(patience);
    key_calls_end_.async_wait([this](boost::system::error_code stopped) {
      if (stopped) return;
      for (auto& [name, group] : groups_) group.tokens->EndKeyCalls();
    });
  });
}

bool TokenSet::Post(const std::function<void()>& call) {
  const std::lock_guard lock(mutex_);
  if (!stopped_) boost::asio::post(io_, call);
  return !stopped_;
}

void TokenSet::Sign(std::vector<Signing> batch) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      PostSpread();
      inbox_.insert(inbox_.end(), std::make_move_iterator(batch.begin()), std::make_move_iterator(batch.end()));
      return;
    }
  }
  for (Signing& signing : batch) signing.done(MakeError(Reason::kShuttingDown, "the daemon is stopping"));
}

void TokenSet::Distrust(std::string_view token) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  PostSpread();
  distrusted_.emplace(token);
}

void TokenSet::SetSick(const std::string& token, bool sick) {
  const auto found = by_name_.find(token);
  if (found != by_name_.end()) Post([target = found->second.get(), sick] { target->SetSick(sick); });
}

const std::vector<std::string>& TokenSet::MembersOf(const std::string& group) const {
  static const std::vector<std::string> kNone;
  const auto found = groups_.find(group);
  return found == groups_.end() ? kNone : found->second.names;
}

// Under the lock, so that it comes before what Stop() posts.
void TokenSet::PostSpread() {
  if (inbox_.empty() && distrusted_.empty()) boost::asio::post(io_, [this] { Spread(); });
}

void TokenSet::Spread() {
  std::vector<Signing> batch;
  std::set<std::string, std::less<>> distrusted;
  {
    const std::lock_guard lock(mutex_);
    batch.swap(inbox_);
    distrusted.swap(distrusted_);
  }
  for (const std::string& name : distrusted) {
    if (const auto found = by_name_.find(name); found != by_name_.end()) found->second->Distrust();
  }
  std::set<TokenGroup*> touched;
  for (Signing& signing : batch) {
    const auto found = groups_.find(signing.key->token);
    if (found == groups_.end()) {
      signing.done(MakeError(Reason::kTokenDown, "token " + signing.key->token + ": not in the configuration"));
    } else {
      touched.insert(found->second.tokens.get());
      found->second.tokens->Add(std::move(signing));
    }
  }
  for (TokenGroup* group : touched) group->Flush();
}

Result<link::KeyReply> TokenSet::Call(const std::string& token, std::function<void(Token&, KeyDone)> call) {
  const auto found = by_name_.find(token);
  if (found == by_name_.end()) return MakeError(Reason::kNotFound, "the token " + token + " is not configured");
  auto promise = std::make_shared<std::promise<Result<link::KeyReply>>>();
  auto answer = promise->get_future();
  const bool posted = Post([&target = *found->second, call = std::move(call), promise] {
    call(target, [promise](Result<link::KeyReply> reply) { promise->set_value(std::move(reply)); });
  });
  if (!posted) return MakeError(Reason::kShuttingDown, "the daemon is stopping");
  return answer.get();
}

Result<link::KeyReply> TokenSet::Generate(const std::string& token, link::KeyType type, unsigned bits,
                                          const Bytes& cka_id, const std::string& label) {
  return Call(token, [=, this](Token& target, const KeyDone& done) {
    target.Generate(type, bits, cka_id, label, NotingNewKey(target, cka_id, done));
  });
}

KeyDone TokenSet::NotingNewKey(const Token& token, const Bytes& cka_id, KeyDone done) {
  return [&group = *groups_.at(token.config().group_name()).tokens, cka_id,
          done = std::move(done)](const Result<link::KeyReply>& reply) {
    if (reply) group.NoteNewKey(cka_id);
    done(reply);
  };
}

Result<link::KeyReply> TokenSet::Find(const std::string& token, const Bytes& cka_id) {
  return Call(token, [=, this](Token& target, const KeyDone& done) {
    target.Find(cka_id, [=, this, &target](const Result<link::KeyReply>& reply) {
      TokenGroup& group = *groups_.at(target.config().group_name()).tokens;
      if (reply || reply.error().reason == Reason::kKeyMissing)
        group.NoteSeen(target, cka_id, reply ? &*reply : nullptr);
      done(reply);
    });
  });
}

Status TokenSet::Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki) {
  const auto reply = Call(token, [=](Token& target, KeyDone done) { target.Destroy(cka_id, spki, std::move(done)); });
  return reply ? Ok() : Status(reply.error());
}

Result<link::KeyReply> TokenSet::BeginImport(const std::string& token) {
  return Call(token, [](Token& target, KeyDone done) { target.BeginImport(std::move(done)); });
}

Result<link::KeyReply> TokenSet::Import(const std::string& token, const link::ImportKey& call) {
  return Call(token, [&call, this](Token& target, const KeyDone& done) {
    target.Import(call, NotingNewKey(target, call.cka_id, done));
  });
}

std::vector<TokenFacts> TokenSet::Facts() {
  std::promise<std::vector<TokenFacts>> promise;
  const bool posted = Post([&] {
    std::vector<TokenFacts> facts;
    for (const auto& [name, token] : by_name_) {
      facts.push_back(token->Facts());
      facts.back().sick = facts.back().sick && groups_.at(facts.back().group).tokens->several();
    }
    promise.set_value(std::move(facts));
  });
  return posted ? promise.get_future().get() : std::vector<TokenFacts>();
}

}  // namespace hallmark::tokens
