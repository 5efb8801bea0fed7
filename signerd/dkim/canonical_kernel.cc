#include "signerd/dkim/canonical_kernel.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

// This file is compiled once for each kind of vector instructions, by being included again.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "signerd/dkim/canonical_kernel.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hallmark::dkim::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

CanonicalKernel Kernel() { return kScalarKernel; }

#else

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kBlock = 64;

// The octets that matter in a block: bit i stands for octet i.
struct Marks {
  std::uint64_t space = 0, tab = 0, cr = 0, lf = 0;
};

using Octets = hn::CappedTag<std::uint8_t, kBlock>;

HWY_INLINE std::uint64_t Bits(const std::uint8_t* stored, std::size_t lanes) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, stored, lanes / 8);
  return bits;
}

HWY_INLINE Marks Find(const char* block) {
  const Octets d;
  const std::size_t lanes = hn::Lanes(d);
  const auto space = hn::Set(d, ' '), tab = hn::Set(d, '\t'), cr = hn::Set(d, '\r'), lf = hn::Set(d, '\n');
  Marks marks;
  HWY_ALIGN std::uint8_t stored[kBlock];
  for (std::size_t i = 0; i < kBlock; i += lanes) {
    const auto octets = hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(block) + i);
    const auto take = [&](auto wanted, std::uint64_t& bits) {
      hn::StoreMaskBits(d, hn::Eq(octets, wanted), stored);
      bits |= Bits(stored, lanes) << i;
    };
    take(space, marks.space);
    take(tab, marks.tab);
    take(cr, marks.cr);
    take(lf, marks.lf);
  }
  return marks;
}

// `block` with spaces for tabs.
HWY_INLINE void CopyWithoutTabs(const char* block, char* out) {
  const Octets d;
  const auto tab = hn::Set(d, '\t'), space = hn::Set(d, ' ');
  for (std::size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
    const auto octets = hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(block) + i);
    hn::StoreU(hn::IfThenElse(hn::Eq(octets, tab), space, octets), d, reinterpret_cast<std::uint8_t*>(out) + i);
  }
}

constexpr bool IsSpaceOrEnd(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// What is to be done with the octets of a block.
struct Verdict {
  std::uint64_t drop;              // white space that goes
  std::uint64_t tab;               // becomes a space, where it stays
  std::uint64_t bare_cr, bare_lf;  // become CRLF
  std::uint64_t line_end;          // where line ends begin
  std::uint64_t events() const { return drop | bare_cr | bare_lf; }
};

// A block and the octet behind it. A block that is shorter than kBlock is copied, so that nothing beyond the slice is
// read; its last octet is then followed by `next`, and only `valid` octets are judged.
struct Block {
  const char* octets;
  std::size_t size;
  char next;
  std::uint64_t valid;
};

// Calls `each` for block after block; stops when it gives false.
template <class Each>
HWY_INLINE bool ForEachBlock(std::string_view slice, char next, Each each) {
  std::size_t at = 0;
  for (; at + kBlock <= slice.size(); at += kBlock) {
    const char after = at + kBlock < slice.size() ? slice[at + kBlock] : next;
    if (!each(Block{slice.data() + at, kBlock, after, ~std::uint64_t{0}})) return false;
  }
  const std::size_t rest = slice.size() - at;
  if (rest == 0) return true;
  char octets[kBlock] = {};
  std::memcpy(octets, slice.data() + at, rest);
  octets[rest] = next;
  return each(Block{octets, rest, '\0', (std::uint64_t{1} << rest) - 1});
}

// `cr_before`: whether the octet before the block is CR (0 or 1).
template <bool kRelaxed>
HWY_INLINE Verdict Judge(const Block& block, std::uint64_t& cr_before) {
  const Marks marks = Find(block.octets);
  const auto last = [](bool set) { return static_cast<std::uint64_t>(set) << (kBlock - 1); };
  const std::uint64_t white = marks.space | marks.tab;
  const std::uint64_t lf_next = marks.lf >> 1 | last(block.next == '\n');
  Verdict verdict;
  verdict.drop = kRelaxed ? white & ((white | marks.cr | marks.lf) >> 1 | last(IsSpaceOrEnd(block.next))) : 0;
  verdict.tab = kRelaxed ? marks.tab : 0;
  verdict.bare_cr = marks.cr & ~lf_next;
  verdict.bare_lf = marks.lf & ~(marks.cr << 1 | cr_before);
  verdict.line_end = marks.cr | verdict.bare_lf;
  for (auto* bits : {&verdict.drop, &verdict.tab, &verdict.bare_cr, &verdict.bare_lf, &verdict.line_end}) {
    *bits &= block.valid;
  }
  cr_before = marks.cr >> (kBlock - 1);
  return verdict;
}

// Lines of a block whose line ends are all CRLF and begin at `cr`.
HWY_INLINE void TallyClean(std::uint64_t cr, std::int64_t size, LineTally& tally) {
  // Without a line end, what there is of the line is counted: the whole of it is no shorter.
  const int first = cr == 0 ? static_cast<int>(size) : std::countr_zero(cr);
  const int last = 63 - std::countl_zero(cr);
  tally.longest = std::max(tally.longest, tally.open + first);
  tally.open = cr == 0 ? tally.open + size : size - (last + 2);
  // Lines within the block are shorter than it, so they matter only as long as no line was longer.
  if (tally.longest >= static_cast<std::int64_t>(kBlock)) return;
  int start = first + 2;
  for (std::uint64_t rest = cr & (cr - 1); rest != 0; rest &= rest - 1) {
    const int end = std::countr_zero(rest);
    tally.longest = std::max<std::int64_t>(tally.longest, end - start);
    start = end + 2;
  }
}

HWY_INLINE void Tally(const Verdict& verdict, std::size_t size, LineTally& tally) {
  int start = 0;
  const std::uint64_t bare = verdict.bare_cr | verdict.bare_lf;
  for (std::uint64_t rest = verdict.line_end; rest != 0; rest &= rest - 1) {
    const int end = std::countr_zero(rest);
    tally.open += end - start;
    tally.End();
    start = end + ((bare >> end & 1) != 0 ? 1 : 2);
  }
  tally.open += static_cast<std::int64_t>(size) - start;
}

// Whether a block stays as it is, judged with the octet behind it, which must be readable. Sets the bits of its CRs.
template <bool kRelaxed>
HWY_INLINE bool IsCleanBlock(const char* block, std::uint64_t& cr_bits) {
  const Octets d;
  const auto cr = hn::Set(d, '\r'), lf = hn::Set(d, '\n'), space = hn::Set(d, ' '), tab = hn::Set(d, '\t');
  // By its low four bits: the one octet of those that matter which ends in them.
  HWY_ALIGN static constexpr std::uint8_t kByLowBits[16] = {' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0};
  const auto by_low_bits = hn::LoadDup128(d, kByLowBits);
  // An index beyond the table gives another octet on each kind of processor: none on ARM.
  const auto low_bits = hn::Set(d, 0x0f);
  bool clean = true;
  cr_bits = 0;
  HWY_ALIGN std::uint8_t stored[kBlock];
  for (std::size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
    const auto octets = hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(block) + i);
    const auto next = hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(block) + i + 1);
    const auto is_cr = hn::Eq(octets, cr);
    auto dirty = hn::Xor(is_cr, hn::Eq(next, lf));
    if constexpr (kRelaxed) {
      const auto ends_space = hn::Eq(hn::TableLookupBytes(by_low_bits, hn::And(next, low_bits)), next);
      dirty = hn::Or(dirty, hn::Or(hn::Eq(octets, tab), hn::And(hn::Eq(octets, space), ends_space)));
    }
    clean = clean && hn::AllFalse(d, dirty);
    hn::StoreMaskBits(d, is_cr, stored);
    cr_bits |= Bits(stored, hn::Lanes(d)) << i;
  }
  return clean;
}

template <bool kRelaxed>
bool IsCleanAs(std::string_view slice, char next, LineTally& tally) {
  LineTally lines = tally;
  std::uint64_t cr = 0;
  std::size_t at = 0;
  for (; at + kBlock < slice.size(); at += kBlock) {
    if (!IsCleanBlock<kRelaxed>(slice.data() + at, cr)) return false;
    TallyClean(cr, kBlock, lines);
  }
  std::uint64_t cr_before = cr >> (kBlock - 1);
  const bool clean = ForEachBlock(slice.substr(at), next, [&](const Block& block) {
    const Verdict verdict = Judge<kRelaxed>(block, cr_before);
    TallyClean(verdict.line_end, static_cast<std::int64_t>(block.size), lines);
    return (verdict.events() | verdict.tab) == 0;
  });
  if (!clean) return false;
  tally = lines;
  return true;
}

bool IsClean(bool relaxed, std::string_view slice, char next, LineTally& tally) {
  return relaxed ? IsCleanAs<true>(slice, next, tally) : IsCleanAs<false>(slice, next, tally);
}

// Copies a whole block, whatever the size, which is cheaper than to tell sizes apart. MaxCompacted has room for it.
HWY_INLINE char* CopyShort(const char* from, int size, char* out) {
  std::memcpy(out, from, kBlock);
  return out + size;
}

template <bool kRelaxed>
HWY_INLINE void CopyBlock(const char* block, char* out) {
  if constexpr (kRelaxed) {
    CopyWithoutTabs(block, out);
  } else {
    std::memcpy(out, block, kBlock);
  }
}

template <bool kRelaxed>
HWY_INLINE char* CompactBlock(const Block& block, const Verdict& verdict, char* out) {
  std::uint64_t events = verdict.events();
  if (events == 0) {
    CopyBlock<kRelaxed>(block.octets, out);
    return out + block.size;
  }
  char text[2 * kBlock];
  CopyBlock<kRelaxed>(block.octets, text);
  int start = 0;
  for (; events != 0; events &= events - 1) {
    const int event = std::countr_zero(events);
    out = CopyShort(text + start, event - start, out);
    if ((verdict.drop >> event & 1) == 0) {
      *out++ = '\r';
      *out++ = '\n';
    }
    start = event + 1;
  }
  return CopyShort(text + start, static_cast<int>(block.size) - start, out);
}

template <bool kRelaxed>
Compacted CompactAs(std::string_view slice, char next, char* out, LineTally& tally) {
  Compacted result;
  char* end = out;
  std::uint64_t cr_before = 0;
  ForEachBlock(slice, next, [&](const Block& block) {
    const Verdict verdict = Judge<kRelaxed>(block, cr_before);
    Tally(verdict, block.size, tally);
    result.bare_cr += static_cast<std::uint64_t>(std::popcount(verdict.bare_cr));
    result.bare_lf += static_cast<std::uint64_t>(std::popcount(verdict.bare_lf));
    end = CompactBlock<kRelaxed>(block, verdict, end);
    return true;
  });
  result.octets = static_cast<std::size_t>(end - out);
  return result;
}

Compacted Compact(bool relaxed, std::string_view slice, char next, char* out, LineTally& tally) {
  return relaxed ? CompactAs<true>(slice, next, out, tally) : CompactAs<false>(slice, next, out, tally);
}

CanonicalKernel Kernel() { return {hwy::TargetName(HWY_TARGET), &IsClean, &Compact}; }

#endif  // HWY_TARGET

}  // namespace hallmark::dkim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hallmark::dkim {
namespace {

HWY_EXPORT(Kernel);

// Highway has no way to name one level, so each is chosen in turn.
std::vector<CanonicalKernel> FindKernels() {
  std::vector<CanonicalKernel> kernels = {kScalarKernel};
  std::vector<CanonicalKernel> vectors;
  auto targets = hwy::SupportedTargets() & HWY_TARGETS & ~HWY_SCALAR;
  for (; targets != 0; targets &= targets - 1) {
    hwy::SetSupportedTargetsForTest(targets & -targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    vectors.push_back(HWY_DYNAMIC_DISPATCH(Kernel)());
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  // A lower bit is a better level.
  kernels.insert(kernels.end(), vectors.rbegin(), vectors.rend());
  return kernels;
}

}  // namespace

std::span<const CanonicalKernel> Kernels() {
  static const std::vector<CanonicalKernel> kernels = FindKernels();
  return kernels;
}

const CanonicalKernel& BestKernel() {
  static const CanonicalKernel& best = Kernels().back();
  return best;
}

}  // namespace hallmark::dkim
#endif
