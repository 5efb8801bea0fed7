#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// Takes an input for a row of choices. When it is used up, all further ones are the first.
class Choices {
 public:
  Choices(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  // 0 to `most`.
  std::size_t UpTo(std::size_t most) {
    std::size_t number = 0;
    for (std::size_t left = most; left != 0; left >>= 8) {
      number = number << 8 | Octet();
    }
    return most == SIZE_MAX ? number : number % (most + 1);
  }
  bool Flip() { return (Octet() & 1) != 0; }
  std::uint8_t Octet() {
    if (rest_.empty()) return 0;
    const auto octet = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return octet;
  }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};
