#pragma once

#include <cstdint>

// FNV-1a, 64 bits: quick, the same on every machine and in every version, and good for nothing that an attacker must
// not foresee.
namespace hallmark {

constexpr std::uint64_t kFnv1aBasis = 0xcbf29ce484222325;
// The hash of what was hashed to `hash` and one more octet.
constexpr std::uint64_t Fnv1a(std::uint64_t hash, char octet) {
  return (hash ^ static_cast<unsigned char>(octet)) * 0x100000001b3;
}

}  // namespace hallmark
