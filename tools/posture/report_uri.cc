#include "tools/posture/report_uri.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/tag_list.h"
#include "tools/posture/finding.h"

namespace hallmark::posture {
namespace {

Error Wrong(std::string_view uri, const std::string& what) {
  return MakeError(Reason::kInvalidArgument, "the address " + Quoted(uri) + " " + what);
}

// "!10m" at the end: a number and at most one letter of k, m, g, t.
bool TakeSize(std::string_view& text) {
  const std::size_t mark = text.rfind('!');
  if (mark == std::string_view::npos) return true;
  std::string_view size = text.substr(mark + 1);
  if (!size.empty() && std::string_view("kmgt").find(dkim::Lower(size.back())) != std::string_view::npos)
    size.remove_suffix(1);
  if (size.empty() || !std::all_of(size.begin(), size.end(), &dkim::IsDigit)) return false;
  text = text.substr(0, mark);
  return true;
}

bool StartsWith(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && dkim::EqualsIgnoringCase(text.substr(0, start.size()), start);
}

}  // namespace

Result<ReportUri> ParseReportUri(std::string_view text, bool with_size) {
  const std::string_view whole = text;
  if (with_size && !TakeSize(text)) return Wrong(whole, "has a size that is none; expected a number and k, m, g or t");
  // Of those that a URI may have, "!" begins a size, "," the next address and ";" the next tag.
  if (std::any_of(text.begin(), text.end(), [](char c) {
        return c <= ' ' || c > '~' || std::string_view("!,;").find(c) != std::string_view::npos;
      }))
    return Wrong(whole, "has characters that must be written as %XX");
  ReportUri uri;
  uri.text = text;
  std::string_view host;
  if (StartsWith(text, "mailto:")) {
    const std::string_view mailbox = text.substr(7, text.find('?') - 7);
    const std::size_t at = mailbox.rfind('@');
    if (at == std::string_view::npos || at == 0) return Wrong(whole, "is no mail address");
    host = mailbox.substr(at + 1);
  } else if (StartsWith(text, "https://")) {
    uri.mailto = false;
    host = text.substr(8);
    host = host.substr(0, host.find_first_of("/?#:"));
  } else {
    return Wrong(whole, "begins with neither mailto: nor https://");
  }
  auto domain = dkim::NormalizeDomain(host);
  if (!domain) return Wrong(whole, "has no domain name");
  uri.domain = std::move(*domain);
  return uri;
}

std::vector<std::string_view> SplitUris(std::string_view list) { return dkim::SplitList(list, ','); }

}  // namespace hallmark::posture
