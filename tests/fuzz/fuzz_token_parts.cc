#include <algorithm>
#include <array>
#include <string>

#include "check.h"
#include "hsm/pkcs11/private_part.h"
#include "hsm/pkcs11/public_part.h"

// What tokend takes a key's parts from: a wrapped private key on its import, and what a token says of a public one. The
// first octet says which. What is taken apart and put together again is the same.
namespace {

using namespace hallmark;
using namespace hallmark::pkcs11;

// Of the seeds that are wrapped.
constexpr std::array<std::uint8_t, 32> kSecret = {1, 2, 3, 4, 5, 6, 7, 8};

bool Equal(ByteView a, ByteView b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

ByteView WithoutZeros(ByteView number) {
  while (!number.empty() && number.front() == 0) number = number.subspan(1);
  return number;
}

void CheckPublic(ByteView spki, bool ed25519) {
  const auto numbers = NumbersOf(spki);
  Check(numbers && numbers->point.empty() != ed25519, "a key has the numbers of its type");
  const auto again = ed25519 ? Ed25519Spki(numbers->point) : RsaSpki(numbers->modulus, numbers->exponent);
  if (!ed25519 && (numbers->modulus.empty() || numbers->exponent.empty())) {
    Check(!again, "of a number that is nothing no key is made");
    return;
  }
  Check(again.has_value(), "its numbers make a key");
  const auto same = NumbersOf(*again);
  Check(
      same && same->modulus == numbers->modulus && same->exponent == numbers->exponent && same->point == numbers->point,
      "which has the same numbers");
  Check(BitsOf(spki) == BitsOf(*again), "and as many bits");
}

void TryPrivate(ByteView der) {
  const auto part = ParsePkcs8(der);
  if (!part) {
    Check(!part.error().message.empty(), "a fault has a sentence");
    return;
  }
  const bool ed25519 = part->type == KeyType::kEd25519;
  CheckPublic(part->spki, ed25519);
  if (ed25519) {
    Check(part->values.size() == 1 && part->values[0].first == CKA_VALUE && part->values[0].second.size() == 32,
          "an Ed25519 key is its seed");
    return;
  }
  const auto numbers = NumbersOf(part->spki);
  Check(
      part->values.size() == 8 && part->values[0].first == CKA_MODULUS && part->values[1].first == CKA_PUBLIC_EXPONENT,
      "an RSA key has eight numbers");
  Check(
      Equal(part->values[0].second.view(), numbers->modulus) && Equal(part->values[1].second.view(), numbers->exponent),
      "the private part is of the public one");
}

void TryWrapped(ByteView wrapped) {
  const auto pkcs8 = UnwrapWithSecret(kSecret, wrapped);
  if (!pkcs8) return;
  Check(pkcs8->size() + 8 <= wrapped.size() && pkcs8->size() + 16 > wrapped.size(),
        "what unwraps is shorter by its check");
  TryPrivate(pkcs8->view());
}

void TryRsa(ByteView octets) {
  if (octets.empty()) return;
  const std::size_t size = std::min<std::size_t>(octets[0], octets.size() - 1);
  const ByteView exponent = octets.subspan(1, size), modulus = octets.subspan(1 + size);
  const auto spki = RsaSpki(modulus, exponent);
  if (!spki) return;
  const auto numbers = NumbersOf(*spki);
  Check(numbers && Equal(numbers->modulus, WithoutZeros(modulus)) && Equal(numbers->exponent, WithoutZeros(exponent)),
        "a token's numbers are those of the key");
}

void TryPoint(ByteView octets) {
  const auto spki = Ed25519Spki(octets);
  if (!spki) return;
  const auto numbers = NumbersOf(*spki);
  Check(octets.size() >= 32 && numbers && Equal(numbers->point, octets.last(32)), "a token's point is that of the key");
}

void TrySpki(ByteView octets) {
  const std::size_t signature = std::min<std::size_t>(octets.size(), 64);
  const std::array<std::uint8_t, 32> digest{};
  Verifies(octets, digest, octets.last(signature));
  const auto numbers = NumbersOf(octets);
  if (numbers) CheckPublic(octets, !numbers->point.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView octets(data + 1, size - 1);
  switch (data[0] % 5) {
    case 0: TryPrivate(octets); break;
    case 1: TryWrapped(octets); break;
    case 2: TryRsa(octets); break;
    case 3: TryPoint(octets); break;
    case 4: TrySpki(octets); break;
  }
  return 0;
}
