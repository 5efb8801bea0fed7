#include "firmware/provision/push_request.h"

#include <charconv>

#include "firmware/provision/configuration.h"

namespace hallmark::provision {

Result<PushRequest> ReadPushRequest(std::string_view line) {
  constexpr std::string_view kPrefix = "HALLMARK-PUSH 1 ";
  const Error none = MakeError(Reason::kInvalidArgument, "expected HALLMARK-PUSH 1 CODE SIZE");
  if (!line.starts_with(kPrefix)) return none;
  line.remove_prefix(kPrefix.size());
  const std::size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return none;
  PushRequest request{std::string(line.substr(0, blank)), 0};
  const char* const end = line.data() + line.size();
  const auto [at, error] = std::from_chars(line.data() + blank + 1, end, request.size);
  if (error != std::errc() || at != end || request.size == 0 || request.size > 2 * kMostOctets) return none;
  return request;
}

}  // namespace hallmark::provision
