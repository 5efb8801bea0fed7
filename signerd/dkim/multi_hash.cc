#include "signerd/dkim/multi_hash.h"

#include <algorithm>
#include <numeric>

#include "signerd/dkim/sha256.h"

#ifdef HALLMARK_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

namespace hallmark::dkim {

#ifdef HALLMARK_IPSEC_MB

namespace {

// From here on, sixteen lanes that are partly empty beat two that are full.
constexpr std::size_t kEnoughForWide = 6;
// The length of a job has 16 bits.
constexpr std::size_t kLongestJob = 65535;
// Too short to be worth a job.
constexpr std::size_t kShortestJob = 64;

}  // namespace

// A manager of intel-ipsec-mb: jobs go in, are spread over its lanes, and come out in another order.
class MultiHash::Lanes {
 public:
  using Init = void (*)(IMB_MGR*);

  // Null when there is no memory, or the library refuses to work on this machine.
  static std::unique_ptr<Lanes> Make(Init init) {
    Manager manager(alloc_mb_mgr(0), &free_mb_mgr);
    if (manager == nullptr) return nullptr;
    init(manager.get());
    if (imb_get_errno(manager.get()) != 0) return nullptr;
    return std::unique_ptr<Lanes>(new Lanes(std::move(manager)));
  }

  // Sets done[i] for each string that was hashed.
  void Hash(std::span<const std::string_view> strings, std::span<Digest> digests, std::vector<bool>& done) {
    done.assign(strings.size(), false);
    // The longest first: then the lanes run dry together.
    order_.resize(strings.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(),
              [&](std::size_t a, std::size_t b) { return strings[a].size() > strings[b].size(); });
    for (const std::size_t index : order_) {
      const std::string_view text = strings[index];
      if (text.size() > kLongestJob || text.size() < kShortestJob) continue;
      IMB_JOB* job = IMB_GET_NEXT_JOB(manager_.get());
      job->cipher_mode = IMB_CIPHER_NULL;
      job->cipher_direction = IMB_DIR_ENCRYPT;
      job->chain_order = IMB_ORDER_HASH_CIPHER;
      job->hash_alg = IMB_AUTH_SHA_256;
      job->src = reinterpret_cast<const std::uint8_t*>(text.data());
      job->hash_start_src_offset_in_bytes = 0;
      job->msg_len_to_hash_in_bytes = text.size();
      job->auth_tag_output = digests[index].data();
      job->auth_tag_output_len_in_bytes = digests[index].size();
      job->user_data = reinterpret_cast<void*>(index);
      for (job = IMB_SUBMIT_JOB(manager_.get()); job != nullptr; job = IMB_GET_COMPLETED_JOB(manager_.get())) {
        Take(*job, done);
      }
    }
    for (IMB_JOB* job = IMB_FLUSH_JOB(manager_.get()); job != nullptr; job = IMB_FLUSH_JOB(manager_.get())) {
      Take(*job, done);
    }
  }

 private:
  using Manager = std::unique_ptr<IMB_MGR, decltype(&free_mb_mgr)>;
  explicit Lanes(Manager manager) : manager_(std::move(manager)) {}

  static void Take(const IMB_JOB& job, std::vector<bool>& done) {
    done[reinterpret_cast<std::size_t>(job.user_data)] = job.status == IMB_STATUS_COMPLETED;
  }

  Manager manager_;
  std::vector<std::size_t> order_;
};

namespace {

std::uint64_t Features() {
  static const std::uint64_t features = [] {
    const std::unique_ptr<IMB_MGR, decltype(&free_mb_mgr)> manager(alloc_mb_mgr(0), &free_mb_mgr);
    return manager == nullptr ? 0 : manager->features;
  }();
  return features;
}

}  // namespace

bool MultiHash::Has(Engine engine) {
  if (engine == Engine::kPair) return (Features() & IMB_FEATURE_SHANI) != 0;
  if (engine == Engine::kWide) return (Features() & IMB_FEATURE_AVX512_SKX) != 0;
  return true;
}

MultiHash::MultiHash(Engine engine) : engine_(engine) {
  const bool best = engine == Engine::kBest;
  if ((best || engine == Engine::kPair) && Has(Engine::kPair)) pair_ = Lanes::Make(&init_mb_mgr_sse);
  if ((best || engine == Engine::kWide) && Has(Engine::kWide)) wide_ = Lanes::Make(&init_mb_mgr_avx512);
}

MultiHash::Lanes* MultiHash::Choose(std::size_t count) {
  if (engine_ != Engine::kBest) return engine_ == Engine::kPair ? pair_.get() : wide_.get();
  if (count >= kEnoughForWide && wide_ != nullptr) return wide_.get();
  return count >= 2 ? pair_.get() : nullptr;
}

#else

class MultiHash::Lanes {
 public:
  void Hash(std::span<const std::string_view>, std::span<Digest>, std::vector<bool>&) {}
};

bool MultiHash::Has(Engine engine) { return engine == Engine::kBest || engine == Engine::kOpenSsl; }
MultiHash::MultiHash(Engine engine) : engine_(engine) {}
MultiHash::Lanes* MultiHash::Choose(std::size_t) { return nullptr; }

#endif

MultiHash::~MultiHash() = default;
MultiHash::MultiHash(MultiHash&&) noexcept = default;

std::vector<Digest> MultiHash::Hash(std::span<const std::string_view> strings) {
  std::vector<Digest> digests(strings.size());
  std::vector<bool> done(strings.size(), false);
  if (Lanes* lanes = Choose(strings.size())) lanes->Hash(strings, digests, done);
  // What is left: whatever is too short or too long for a job, and everything where there are no lanes.
  for (std::size_t i = 0; i < strings.size(); ++i) {
    if (done[i]) {
      ++in_lanes_;
    } else {
      digests[i] = Sha256Of(strings[i]);
    }
  }
  return digests;
}

}  // namespace hallmark::dkim
