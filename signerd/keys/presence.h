#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "signerd/keys/key_manager.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::keys {

// Whether the keys that sign are in their tokens: they are not where the state was restored beside another token. A
// thread of its own asks for one key after the other, and waits in between, so that signing does not notice.
class Presence {
 public:
  struct Missing {
    std::string domain, selector, token;
    std::string why;  // in one sentence
  };
  struct View {
    std::chrono::sys_seconds time{};  // when that was; nothing: not yet
    std::size_t keys = 0;             // that sign, when it last began to look
    std::size_t looked = 0;           // at how many of them it has looked since
    std::vector<Missing> missing;     // of those that it has looked at, in order of domain and selector
    // The same of keys that some token of their group has: the tokens that do not.
    std::vector<Missing> partial;

    std::vector<std::string> TokensWithout(const std::string& domain, const std::string& selector) const;
  };
  using Keys = std::vector<std::shared_ptr<const snapshot::Key>>;

  // `active_keys`: those that sign now. `signer` must live until Stop(). Looks anew every `interval`; while a key is
  // missing, or a token does not answer, every `soon`.
  Presence(std::function<Keys()> active_keys, Signer& signer, std::chrono::seconds interval = std::chrono::minutes(10),
           std::chrono::milliseconds soon = std::chrono::seconds(10));
  ~Presence() { Stop(); }

  // After the tokens were started.
  void Start();
  // Waits for the call of a token that is under way. Safe to repeat.
  void Stop();
  // Any thread.
  View view() const;

 private:
  void Run();
  // False: a token did not answer.
  bool LookAtAll();
  // Asks each token of the key's group, but those in `silent`, and adds those that do not answer there.
  void LookAt(const snapshot::Key& key, std::set<std::string>& silent, View& view);
  // Why the token does not have the key; empty where it does. An error where it does not answer.
  Result<std::string> WhyNot(const std::string& token, const snapshot::Key& key);
  // True when it is to end.
  bool Wait(std::chrono::nanoseconds time);

  const std::function<Keys()> active_keys_;
  Signer& signer_;
  const std::chrono::seconds interval_;
  const std::chrono::milliseconds soon_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool stopping_ = false;
  View view_;
  std::thread thread_;
};

}  // namespace hallmark::keys
