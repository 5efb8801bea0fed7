#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hallmark::ctl {

// Rows of text in columns, for a person. No line is wider than kColumns: what is too wide for its column goes on below.
// Text from elsewhere is safe: control characters are shown as '?'.
class Table {
 public:
  static constexpr std::size_t kColumns = 80;

  // No headings: as many columns as the first row has, and no line above it.
  explicit Table(std::vector<std::string> headings = {}) : headings_(std::move(headings)) {}

  // As many cells as there are columns.
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }

  // Lines with their line ends; nothing when there are no rows.
  std::string Render() const;

 private:
  std::vector<std::size_t> Widths() const;
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

// Cuts `text` into lines of at most `width` characters, after a blank where there is one, else
// after '.', ',', '/', '-' or '='.
std::vector<std::string> Wrap(std::string_view text, std::size_t width);

}  // namespace hallmark::ctl
