#include "firmware/runtime/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cstdlib>

namespace hallmark::log {
namespace {

// The message without anything that ends a line or does something to a terminal: C0, DEL, and C1 as UTF-8 writes it.
// Messages carry what callers sent, and a line of the log is to be one that this program wrote.
class EscapedMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& line) override {
    unsigned char before = 0;
    for (const char c : message.payload) {
      const auto octet = static_cast<unsigned char>(c);
      const bool c1 = before == 0xc2 && octet >= 0x80 && octet < 0xa0;
      if (octet < ' ' || octet == 0x7f || c1) {
        fmt::format_to(std::back_inserter(line), "\\x{:02x}", octet);
      } else {
        line.push_back(c);
      }
      before = octet;
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<EscapedMessage>(); }
};

// What journald takes for the line's priority, and cuts off (sd-daemon(3)).
class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& line) override {
    const auto level = message.level;
    const int priority = level >= spdlog::level::err    ? LOG_ERR
                         : level == spdlog::level::warn ? LOG_WARNING
                         : level == spdlog::level::info ? LOG_INFO
                                                        : LOG_DEBUG;
    fmt::format_to(std::back_inserter(line), "<{}>", priority);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<Priority>(); }
};

// Whether the journal reads standard error; who has the variable may write to a file all the same (systemd.exec(5)).
bool IsForTheJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat facts {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &facts) == 0 &&
         fmt::format("{}:{}", facts.st_dev, facts.st_ino) == stream;
}

}  // namespace

bool Init(const std::string& program, const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off) return false;
  auto logger = std::make_shared<spdlog::logger>(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<EscapedMessage>('*').add_flag<Priority>('&');
  // The journal adds its own time stamp.
  formatter->set_pattern(IsForTheJournal() ? "%&%n %l: %*" : "%Y-%m-%dT%H:%M:%S.%e%z %n %l: %*");
  logger->set_formatter(std::move(formatter));
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  return true;
}

}  // namespace hallmark::log
