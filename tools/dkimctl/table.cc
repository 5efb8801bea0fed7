#include "tools/dkimctl/table.h"

#include <algorithm>
#include <numeric>

#include "firmware/runtime/printable.h"

namespace hallmark::ctl {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeastWidth = 6;

bool StartsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

// Characters, not octets: a name may be UTF-8.
std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), StartsCharacter));
}

// The octets of the first `width` characters.
std::size_t Octets(std::string_view text, std::size_t width) {
  std::size_t at = 0;
  while (at < text.size() && (width > 0 || !StartsCharacter(text[at]))) {
    if (StartsCharacter(text[at])) --width;
    ++at;
  }
  return at;
}

std::string Shown(std::string_view text) { return WithoutControls(text, '?'); }

std::string_view TrimRight(std::string_view text) {
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

void AppendRow(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths, std::string& out) {
  std::vector<std::vector<std::string>> columns;
  std::size_t height = 1;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    columns.push_back(Wrap(Shown(i < cells.size() ? cells[i] : ""), widths[i]));
    height = std::max(height, columns.back().size());
  }
  for (std::size_t line = 0; line < height; ++line) {
    std::string text;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = line < columns[i].size() ? columns[i][line] : "";
      text += cell + std::string(widths[i] - std::min(widths[i], Width(cell)) + kGap, ' ');
    }
    out += std::string(TrimRight(text)) + "\n";
  }
}

}  // namespace

std::vector<std::string> Wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  while (Width(text) > width) {
    std::size_t cut = Octets(text, width);
    // A blank at the cut itself will do as well. A mark that is far to the left is left alone.
    const std::string_view head = text.substr(0, cut + (text[cut] == ' ' ? 1 : 0));
    for (const char* marks : {" ", ".,/-="}) {
      const std::size_t mark = head.find_last_of(marks);
      if (mark == std::string_view::npos || mark + 1 < cut / 3) continue;
      cut = mark + 1;
      break;
    }
    lines.emplace_back(TrimRight(text.substr(0, cut)));
    text.remove_prefix(cut);
  }
  if (!text.empty() || lines.empty()) lines.emplace_back(text);
  return lines;
}

std::vector<std::size_t> Table::Widths() const {
  std::vector<std::size_t> widths(headings_.empty() ? rows_.front().size() : headings_.size(), 0);
  const auto widen = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], Width(Shown(cells[i])));
  };
  widen(headings_);
  for (const auto& row : rows_) widen(row);
  const std::size_t room = kColumns - kGap * (widths.size() - 1);
  while (std::accumulate(widths.begin(), widths.end(), std::size_t{0}) > room) {
    auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kLeastWidth) break;
    --*widest;
  }
  return widths;
}

std::string Table::Render() const {
  if (rows_.empty()) return "";
  const std::vector<std::size_t> widths = Widths();
  std::string out;
  if (!headings_.empty()) AppendRow(headings_, widths, out);
  for (const auto& row : rows_) AppendRow(row, widths, out);
  return out;
}

}  // namespace hallmark::ctl
