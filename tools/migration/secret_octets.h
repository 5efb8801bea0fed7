#pragma once

#include <openssl/crypto.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace hallmark::migration {

// Wipes memory as it is given back, so that a container that grows leaves nothing behind either.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) {}  // NOLINT: allocators convert
  T* allocate(std::size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* memory, std::size_t count) {
    OPENSSL_cleanse(memory, count * sizeof(T));
    std::allocator<T>().deallocate(memory, count);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};

// Octets of a private key, or that may be.
using SecretOctets = std::vector<std::uint8_t, WipingAllocator<std::uint8_t>>;

inline std::string_view TextOf(const SecretOctets& octets) {
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

}  // namespace hallmark::migration
