#include "firmware/provision/records.h"

#include <thread>

#include "firmware/runtime/file.h"

namespace hallmark::provision {
namespace {

constexpr std::chrono::milliseconds kLook{500};
constexpr const char* kFile = "dns-records.txt";

// Tried until `end`: an update has the stick mounted while it looks for a bundle on it. What went wrong is said once.
// Whether somebody has them: they are on the stick, or there is none.
bool HandOver(const std::string& records, const Console& console, const Stick& stick,
              std::chrono::steady_clock::time_point end) {
  Status written = Ok();
  for (bool first = true; stick.Present(); first = false) {
    written = stick.Write({{kFile, records}});
    if (written) {
      console.Say("they are on the stick too: " + std::string(kFile));
      return true;
    }
    if (first) console.Say("they are not on the stick yet: " + written.error().message);
    if (std::chrono::steady_clock::now() >= end) break;
    std::this_thread::sleep_for(kLook);
  }
  return written.has_value();
}

}  // namespace

Status ShowRecords(const Places& places, const Console& console, const Stick& stick, std::chrono::seconds wait) {
  const auto configuration = Current(places);
  if (!configuration) return configuration.error();
  std::error_code ignored;
  if (configuration->domains.empty() || std::filesystem::exists(places.config / kRecordsShown, ignored)) return Ok();
  const auto end = std::chrono::steady_clock::now() + wait;
  Result<std::string> records = ReadFile(places.state / "dns-records", kMostOctets);
  while (!records) {
    if (std::chrono::steady_clock::now() >= end) {
      return MakeError(Reason::kDeadlineExceeded, "there are no keys yet; see dkimctl key list and dkimctl dns show");
    }
    std::this_thread::sleep_for(kLook);
    records = ReadFile(places.state / "dns-records", kMostOctets);
  }
  console.Say("put these records into the DNS; a domain signs from when every name server has its own:");
  for (std::size_t at = 0; at < records->size();) {
    const std::size_t line_end = std::min(records->find('\n', at), records->size());
    std::printf("%s\n", records->substr(at, line_end - at).c_str());
    at = line_end + 1;
  }
  std::fflush(stdout);
  if (!HandOver(*records, console, stick, end)) {
    console.Say("the DNS records are not on the stick: they are shown again at the next start");
    return Ok();
  }
  return WriteFileAtomically(places.config / kRecordsShown, "");
}

}  // namespace hallmark::provision
