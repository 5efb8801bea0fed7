#include "signerd/ledger/sink.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <poll.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "firmware/runtime/log.h"
#include "hallmark/ledger/v1/record.pb.h"

namespace hallmark::ledger {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRetry{500};
constexpr std::chrono::milliseconds kLook{100};  // whether the end has come, while the file takes nothing
constexpr off_t kRoom = 1 << 20;                 // that there must be on the disk where a write failed
constexpr char kJournal[] = "/run/systemd/journal/socket";
constexpr char kMessageId[] = "MESSAGE_ID=8c1f2a3f6f9b4a06a5b6f6f5b1d7a0c4";

Error SinkError(const std::string& what) {
  return MakeError(Reason::kLedgerUnavailable, "the ledger's second sink: " + what);
}

// sd_journal_sendv(3) says that all went well where there is no journal: whether there is one has to be seen.
Status SeeJournal() {
  if (::access(kJournal, W_OK) == 0) return Ok();
  return SinkError(std::string("journald: ") + kJournal + ": " + std::strerror(errno));
}

// Whether a file does not end with a line's end: what was being written when the power failed. Of one that cannot be
// read that is not known, and an empty line spoils nothing.
bool EndsWithinALine(const std::filesystem::path& path, off_t octets) {
  if (octets == 0) return false;
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  char last = 0;
  return !file || ::pread(file.get(), &last, 1, octets - 1) != 1 || last != '\n';
}

// {"sequence":"7","time_us":"1700000000000000","signature":{...}}
Result<std::string> ToLine(const std::string& octets, std::uint64_t sequence) {
  v1::Record record;
  if (!record.ParseFromString(octets)) return SinkError("a record does not parse");
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(record, &json, options).ok() || json.size() < 2) {
    return SinkError("a record has no JSON form");
  }
  return "{\"sequence\":\"" + std::to_string(sequence) + "\"," + json.substr(1);
}

}  // namespace

Result<std::unique_ptr<Sink>> Sink::Start(const SinkConfig& config) {
  std::unique_ptr<Sink> sink(new Sink(config));
  const Status opened = config.kind == SinkKind::kFile ? sink->Reopen() : SeeJournal();
  if (!opened && config.required) return opened.error();
  if (!opened) sink->SetState(opened);
  sink->writer_ = std::thread([sink = sink.get()] { sink->Run(); });
  if (config.required) sink->watcher_ = std::thread([sink = sink.get()] { sink->Watch(); });
  return sink;
}

Sink::~Sink() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    last_ = steady_clock::now() + kMostEnd;
    wake_.notify_all();
    watch_.notify_all();
  }
  if (writer_.joinable()) writer_.join();
  watch_.notify_all();  // nobody waits any more
  if (watcher_.joinable()) watcher_.join();
}

void Sink::Send(std::vector<std::string> records, std::uint64_t first, Done done) {
  const std::size_t count = records.size();
  std::size_t octets = 0;
  for (const std::string& record : records) octets += record.size();
  const auto entry =
      std::make_shared<Entry>(Entry{std::move(records), first, steady_clock::now() + config_.timeout, nullptr, octets});
  {
    const std::lock_guard lock(mutex_);
    const bool taken = queue_.size() < kMostQueued && queued_octets_ + octets <= kMostQueuedOctets && !stop_;
    if (taken) {
      queued_octets_ += octets;
      if (config_.required) {
        entry->done = std::exchange(done, nullptr);
        waiting_.push_back(entry);
        watch_.notify_one();
      }
      queue_.push_back(entry);
      wake_.notify_one();
    } else {
      status_.dropped += count;
    }
  }
  if (done == nullptr) return;  // it is answered when the sink has it
  if (config_.required) {
    done(SinkError("it does not keep up, and is required"));
  } else {
    done(first);
  }
}

void Sink::Run() {
  Status failed = Ok();  // after the stop
  while (const auto entry = Take()) {
    if (!failed) {
      Drop(entry, failed);
      continue;
    }
    const Status written = Write(*entry);
    Done done;
    {
      const std::lock_guard lock(mutex_);
      (written ? status_.written : status_.dropped) += entry->records.size();
      done = std::exchange(entry->done, nullptr);
      if (stop_) failed = written;
    }
    SetState(written);  // after the count: whoever sees that the sink fails sees what was dropped
    if (done) done(written ? Result<std::uint64_t>(entry->first) : Result<std::uint64_t>(written.error()));
  }
}

std::shared_ptr<Sink::Entry> Sink::Take() {
  std::unique_lock lock(mutex_);
  const auto due = [this] { return stop_ || !queue_.empty(); };
  while (!due()) {
    if (status_.available) {
      wake_.wait(lock, due);
    } else if (!wake_.wait_for(lock, kRetry, due)) {
      lock.unlock();
      SetState(Probe());
      lock.lock();
    }
  }
  if (queue_.empty()) return nullptr;
  auto entry = std::move(queue_.front());
  queue_.pop_front();
  queued_octets_ -= entry->octets;
  return entry;
}

void Sink::Drop(const std::shared_ptr<Entry>& entry, const Status& why) {
  Done done;
  {
    const std::lock_guard lock(mutex_);
    status_.dropped += entry->records.size();
    done = std::exchange(entry->done, nullptr);
  }
  if (done) done(why.error());
}

void Sink::Watch() {
  std::unique_lock lock(mutex_);
  while (true) {
    while (!waiting_.empty() && waiting_.front()->done == nullptr) waiting_.pop_front();
    if (waiting_.empty()) {
      if (stop_) return;
      watch_.wait(lock);
      continue;
    }
    const std::shared_ptr<Entry> oldest = waiting_.front();
    if (steady_clock::now() < oldest->expires) {
      watch_.wait_until(lock, oldest->expires);
      continue;
    }
    const Done done = std::exchange(oldest->done, nullptr);
    if (done == nullptr) continue;
    const Error late =
        SinkError("no answer within " + std::to_string(config_.timeout.count()) + " ms, and it is required");
    // Under the lock: the writing thread has this entry or one before it, and what it finds comes after this.
    const bool was = std::exchange(status_.available, false);
    lock.unlock();
    if (was) log::error("ledger: {}", late.message);
    done(late);
    lock.lock();
  }
}

Status Sink::Write(const Entry& entry) {
  // What came too late to be answered is written all the same, but holds nobody up for longer.
  const auto until = steady_clock::now() + config_.timeout;
  {
    const std::lock_guard lock(mutex_);
    if (stop_ && steady_clock::now() >= last_) return SinkError("it did not take in time what was queued at the end");
  }
  const Status opened = config_.kind == SinkKind::kFile ? Reopen() : SeeJournal();
  if (!opened) return opened;
  std::uint64_t sequence = entry.first;
  for (const std::string& record : entry.records) {
    auto line = ToLine(record, sequence++);
    if (!line) return line.error();
    const Status written = WriteLine(std::move(*line), until);
    if (!written) return written;
  }
  if (config_.kind == SinkKind::kFile && ::fdatasync(file_.get()) != 0 && errno != EINVAL) {
    return SinkError(config_.path.string() + ": cannot sync: " + std::strerror(errno));
  }
  return Ok();
}

Status Sink::WriteLine(std::string line, steady_clock::time_point until) {
  if (config_.kind == SinkKind::kJournald) {
    const std::string message = "MESSAGE=" + line;
    const iovec fields[] = {{const_cast<char*>(message.data()), message.size()},
                            {const_cast<char*>("PRIORITY=6"), 10},
                            {const_cast<char*>(kMessageId), sizeof kMessageId - 1},
                            {const_cast<char*>("SYSLOG_IDENTIFIER=hallmark-ledger"), 33}};
    const int failed = ::sd_journal_sendv(fields, static_cast<int>(std::size(fields)));
    return failed == 0 ? Ok() : Status(SinkError(std::string("journald: ") + std::strerror(-failed)));
  }
  if (torn_) line.insert(0, "\n");  // so that only the line that was cut short is spoilt
  line += '\n';
  torn_ = false;
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = ::write(file_.get(), rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
      torn_ = !rest.empty();
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return SinkError(config_.path.string() + ": cannot write: " + std::strerror(errno));
    if (!AwaitRoom(until)) return SinkError(config_.path.string() + ": takes nothing more");
  }
  return Ok();
}

bool Sink::AwaitRoom(steady_clock::time_point until) const {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stop_) until = std::min(until, last_);
    }
    const auto now = steady_clock::now();
    if (now >= until) return false;
    const auto wait = std::min(std::chrono::ceil<std::chrono::milliseconds>(until - now), kLook);
    pollfd ready{file_.get(), POLLOUT, 0};
    if (::poll(&ready, 1, static_cast<int>(wait.count())) > 0) return true;
  }
}

Status Sink::Probe() {
  if (config_.kind == SinkKind::kJournald) {
    const Status seen = SeeJournal();
    if (!seen) return seen;
    const int failed = ::sd_journal_print(LOG_INFO, "The ledger's second sink is tried again.");
    return failed == 0 ? Ok() : Status(SinkError(std::string("journald: ") + std::strerror(-failed)));
  }
  const Status opened = Reopen();
  if (!opened) return opened;
  pollfd ready{file_.get(), POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1 || ready.revents != POLLOUT) {
    return SinkError(config_.path.string() + ": takes nothing more");
  }
  const off_t end = ::lseek(file_.get(), 0, SEEK_END);
  const bool full = end >= 0 && ::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, end, kRoom) != 0 &&
                    (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO);
  if (full) return SinkError(config_.path.string() + ": cannot write: " + std::strerror(errno));
  return Ok();
}

// Opens the file, anew when it was moved away (log rotation).
Status Sink::Reopen() {
  struct stat now {
  }, open{};
  const bool same = file_ && ::stat(config_.path.c_str(), &now) == 0 && ::fstat(file_.get(), &open) == 0 &&
                    now.st_ino == open.st_ino && now.st_dev == open.st_dev;
  if (same) return Ok();
  FileDescriptor file(
      ::open(config_.path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640));
  if (!file) return SinkError(config_.path.string() + ": cannot open: " + std::strerror(errno));
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) {
    return SinkError(config_.path.string() + ": cannot open: " + std::strerror(errno));
  }
  const bool regular = S_ISREG(facts.st_mode);
  if (regular && facts.st_size == 0) {  // just made, maybe
    const auto folder = config_.path.has_parent_path() ? config_.path.parent_path() : std::filesystem::path(".");
    const Status synced = SyncFolder(folder);
    if (!synced) return SinkError(synced.error().message);
  }
  torn_ = regular && EndsWithinALine(config_.path, facts.st_size);
  file_ = std::move(file);
  return Ok();
}

void Sink::SetState(const Status& state) {
  {
    const std::lock_guard lock(mutex_);
    if (status_.available == state.has_value()) return;
    status_.available = state.has_value();
  }
  if (state) {
    log::info("ledger: the second sink takes records again");
  } else {
    log::error("ledger: {}", state.error().message);
  }
}

SinkStatus Sink::status() const {
  const std::lock_guard lock(mutex_);
  SinkStatus status = status_;
  status.required = config_.required;
  return status;
}

}  // namespace hallmark::ledger
