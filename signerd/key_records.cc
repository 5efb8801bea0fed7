#include "signerd/key_records.h"

namespace hallmark {
namespace {

keys::ServerView ToView(dns::ServerAnswer answer) {
  keys::ServerView view;
  view.server = std::move(answer.server);
  view.values = std::move(answer.values);
  view.detail = std::move(answer.detail);
  switch (answer.kind) {
    case dns::ServerAnswer::Kind::kRecord: view.kind = keys::ServerView::Kind::kRecords; break;
    case dns::ServerAnswer::Kind::kNone: view.kind = keys::ServerView::Kind::kNone; break;
    case dns::ServerAnswer::Kind::kSilent: view.kind = keys::ServerView::Kind::kSilent; break;
    case dns::ServerAnswer::Kind::kBogus: view.kind = keys::ServerView::Kind::kBogus; break;
  }
  return view;
}

}  // namespace

Result<std::unique_ptr<KeyRecords>> KeyRecords::Open(const dns::Settings& settings, const Clock& clock) {
  std::unique_ptr<KeyRecords> records(new KeyRecords());
  records->observing_ = {settings.resolver, settings.nameserver_port, settings.timeout,
                         settings.attempts, settings.trust_anchor,    &clock};
  for (const dns::PublisherSettings& publisher : settings.publishers) {
    dns::UpdaterOptions options{publisher.server, std::nullopt, settings.timeout, settings.attempts};
    if (!publisher.secret_file.empty()) {
      auto key = dns::ReadTsigKey(publisher.secret_file, publisher.key, publisher.algorithm);
      if (!key) return key.error();
      options.key = std::move(*key);
    }
    auto updater = dns::Updater::Create(std::move(options));
    if (!updater) return updater.error();
    records->publishers_[publisher.name] = std::unique_ptr<Publisher>(new Publisher{{}, std::move(*updater)});
  }
  return records;
}

bool KeyRecords::HasPublisher(const std::string& publisher) const { return publishers_.contains(publisher); }

Result<KeyRecords::Publisher*> KeyRecords::Find(const std::string& publisher) const {
  const auto found = publishers_.find(publisher);
  if (found != publishers_.end()) return found->second.get();
  return MakeError(Reason::kNotFound, "the publisher " + publisher + " is not in the configuration");
}

Status KeyRecords::Put(const std::string& publisher, const std::string& name, const std::string& value,
                       std::chrono::seconds ttl, std::span<const std::string> ours) {
  const auto found = Find(publisher);
  if (!found) return found.error();
  const std::lock_guard lock((*found)->mutex);
  return (*found)->updater.PutTxt(name, value, static_cast<std::uint32_t>(ttl.count()), ours);
}

Status KeyRecords::Remove(const std::string& publisher, const std::string& name, std::span<const std::string> ours) {
  const auto found = Find(publisher);
  if (!found) return found.error();
  const std::lock_guard lock((*found)->mutex);
  return (*found)->updater.RemoveTxt(name, ours);
}

Result<dns::Observer> KeyRecords::TakeObserver() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      dns::Observer observer = std::move(idle_.back());
      idle_.pop_back();
      return observer;
    }
  }
  return dns::Observer::Create(observing_);
}

Result<keys::RecordView> KeyRecords::Observe(const std::string& name) {
  auto observer = TakeObserver();
  if (!observer) return observer.error();
  auto observation = observer->ObserveTxt(name);
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(*observer));
  }
  if (!observation) return observation.error();
  keys::RecordView view;
  view.longest_ttl = observation->longest_ttl;
  view.negative_ttl = observation->negative_ttl;
  for (dns::ServerAnswer& answer : observation->servers) view.servers.push_back(ToView(std::move(answer)));
  return view;
}

}  // namespace hallmark
