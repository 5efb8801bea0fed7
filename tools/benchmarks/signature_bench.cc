// Signatures a second and CPU per signature, in one process: the pipeline with SoftHSM behind it, raw C_Sign on the
// same token with as many threads, libopendkim with a PEM key in memory, and OpenSSL alone; and, apart, what it costs
// to verify a signature. Prints one JSON object a line.
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <semaphore>
#include <thread>

#include "firmware/runtime/log.h"
#include "hsm/pkcs11/module.h"
#include "hsm/pkcs11/session.h"
#include "sample.h"
#include "signerd/dkim/profile.h"
#include "signerd/dkim/public_key.h"
#include "signerd/pipeline/pipeline.h"
#include "soft_token.h"
#include "tools/benchmarks/bodies.h"
#include "tools/benchmarks/opendkim_peer.h"

namespace {

// What operator new gave while it was counted: all that C++ allocates, and nothing of what OpenSSL does by itself.
bool count_allocations = false;
std::atomic<long> allocations{0};

void* Allocate(std::size_t size, std::size_t alignment) {
  if (count_allocations) allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = alignment == 0 ? std::malloc(size)
                                : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The others of the standard library are made of these.
void* operator new(std::size_t size) { return Allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace hallmark::bench {
namespace {

using test::SoftToken;
using Clock = std::chrono::steady_clock;

struct Options {
  std::filesystem::path tokend;
  unsigned threads = 2;
  double seconds = 2;
  int repeats = 5;
  std::string only;  // the name of one contestant; empty: all
  bool allocations = false;
};

template <class T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

double CpuSeconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Of this process and its children that run.
double CpuSecondsOfAll() {
  double sum = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(task.path() / "children");
    for (pid_t pid = 0; list >> pid;) {
      clockid_t clock{};
      if (::clock_getcpuclockid(pid, &clock) == 0) sum += CpuSeconds(clock);
    }
  }
  return sum;
}

// Runs `sign` on each thread again and again. It gives the number of signatures made, or throws.
void Measure(const std::string& name, const std::string& algorithm, const Options& options, unsigned threads,
             const std::function<void(unsigned thread, Clock::time_point end, std::atomic<long>& made)>& work) {
  const auto run = [&](double seconds, std::atomic<long>& made) {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i) workers.emplace_back([&, i] { work(i, end, made); });
    for (std::thread& worker : workers) worker.join();
  };
  std::atomic<long> made{0};
  run(0.3, made);
  made = 0;
  const auto start = Clock::now();
  const double cpu = CpuSecondsOfAll();
  allocations = 0;
  run(options.seconds, made);
  const double wall = std::chrono::duration<double>(Clock::now() - start).count();
  const auto count = static_cast<double>(made.load());
  if (options.allocations) {
    std::printf(R"({"name": "%s", "algorithm": "%s", "allocations": %.1f})"
                "\n",
                name.c_str(), algorithm.c_str(), static_cast<double>(allocations.load()) / count);
    return;
  }
  std::printf(R"({"name": "%s", "algorithm": "%s", "threads": %u, "per_second": %.1f, "cpu_us": %.1f})"
              "\n",
              name.c_str(), algorithm.c_str(), options.threads, count / wall, (CpuSecondsOfAll() - cpu) / count * 1e6);
  std::fflush(stdout);
}

using KeyHandle = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

KeyHandle MakeKey(bool rsa) {
  return {rsa ? EVP_RSA_gen(2048) : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free};
}

std::string Pem(EVP_PKEY* key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), &BIO_free);
  PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

void OpenSslAlone(bool rsa, const Options& options) {
  const KeyHandle key = MakeKey(rsa);
  Measure("openssl", rsa ? "rsa2048" : "ed25519", options, options.threads,
          [&](unsigned, Clock::time_point end, std::atomic<long>& made) {
            Bytes signature(256);
            const Bytes digest(32, 7);
            while (Clock::now() < end) {
              const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
              std::size_t size = signature.size();
              if (EVP_DigestSignInit(context.get(), nullptr, rsa ? EVP_sha256() : nullptr, nullptr, key.get()) != 1 ||
                  EVP_DigestSign(context.get(), signature.data(), &size, digest.data(), digest.size()) != 1) {
                throw std::runtime_error("OpenSSL does not sign");
              }
              ++made;
            }
          });
}

// PKCS#1 v1.5 or PureEdDSA of the header data's SHA-256, as a token makes it.
Bytes SignDigest(EVP_PKEY* key, bool rsa, const dkim::Digest& digest) {
  Bytes signature(static_cast<std::size_t>(EVP_PKEY_get_size(key)));
  std::size_t size = signature.size();
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> plain(EVP_PKEY_CTX_new(key, nullptr),
                                                                          &EVP_PKEY_CTX_free);
  const bool made = rsa ? EVP_PKEY_sign_init(plain.get()) == 1 &&
                              EVP_PKEY_CTX_set_signature_md(plain.get(), EVP_sha256()) == 1 &&
                              EVP_PKEY_sign(plain.get(), signature.data(), &size, digest.data(), digest.size()) == 1
                        : EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key) == 1 &&
                              EVP_DigestSign(context.get(), signature.data(), &size, digest.data(), digest.size()) == 1;
  if (!made) throw std::runtime_error("OpenSSL does not sign");
  signature.resize(size);
  return signature;
}

// What the pipeline does with each signature before it is given out: the threads share the key.
void Verify(bool rsa, const Options& options) {
  const KeyHandle pair = MakeKey(rsa);
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(pair.get(), &der);
  const Bytes spki(der, der + std::max(size, 0));
  OPENSSL_free(der);
  const dkim::PublicKey key = Must(dkim::PublicKey::FromRecordedSpki(spki));
  dkim::Digest digest;
  digest.fill(7);
  const Bytes signature = SignDigest(pair.get(), rsa, digest);
  dkim::Digest other = digest;
  ++other.front();
  if (key.Verify(other, signature)) throw std::runtime_error("a wrong signature verifies");
  Measure("verify", rsa ? "rsa2048" : "ed25519", options, options.threads,
          [&](unsigned, Clock::time_point end, std::atomic<long>& made) {
            while (Clock::now() < end) {
              if (!key.Verify(digest, signature)) throw std::runtime_error("a signature does not verify");
              ++made;
            }
          });
}

void LibOpenDkim(bool rsa, const Options& options, const std::string& body) {
  const KeyHandle key = MakeKey(rsa);
  const std::string pem = Pem(key.get());
  Measure("libopendkim", rsa ? "rsa2048" : "ed25519", options, options.threads,
          [&](unsigned, Clock::time_point end, std::atomic<long>& made) {
            OpenDkimPeer* peer = OpenDkimOpen();
            std::string text = body, own_pem = pem;
            while (Clock::now() < end) {
              if (OpenDkimSign(peer, own_pem.data(), rsa ? 0 : 1, text.data(), text.size()) != 1) {
                throw std::runtime_error("libopendkim does not sign");
              }
              ++made;
            }
            OpenDkimClose(peer);
          });
}

Bytes IdOf(bool rsa) { return {static_cast<std::uint8_t>(rsa ? 1 : 2)}; }

void MakeTokenKeys(const Options& options, const SoftToken& token) {
  tokens::TokenSet tokens(options.tokend, {token.Config("softhsm")});
  tokens.Start();
  Must(tokens.Generate("softhsm", link::KeyType::kRsa, 2048, IdOf(true), "bench"));
  Must(tokens.Generate("softhsm", link::KeyType::kEd25519, 0, IdOf(false), "bench"));
}

// The pipeline as signerd has it, without gRPC: messages of 2 kB, each signed with one key.
void OurPipeline(bool rsa, const Options& options, const SoftToken& token, const std::string& body) {
  tokens::TokenSet tokens(options.tokend, {token.Config("softhsm", options.threads)});
  tokens.Start();
  auto reply = tokens.Find("softhsm", IdOf(rsa));
  auto key = std::make_shared<snapshot::Key>();
  key->domain = "example.com";
  key->selector = "bench";
  key->token = "softhsm";
  key->cka_id = IdOf(rsa);
  key->public_key =
      std::make_shared<const dkim::PublicKey>(Must(dkim::PublicKey::FromSpki(Must(std::move(reply)).spki)));
  auto view = std::make_shared<snapshot::Snapshot>();
  view->domains.emplace(
      "example.com",
      snapshot::Domain{"example.com", std::make_shared<const dkim::PreparedProfile>(dkim::DefaultProfile()), {key}});
  view->relays.emplace("dns:bench", snapshot::Relay{"bench", "dns:bench", {"own"}});
  view->partners["own"] = test::PartnerForAll("own");
  const snapshot::Current current(view);
  admission::Quotas quotas;
  const SystemClock clock;
  const test::TemporaryFolder folder;
  {
    ledger::LedgerConfig config;
    config.directory = folder.path() / "ledger";
    config.origin = "bench";
    const auto ledger = Must(ledger::Ledger::Open(config, clock));
    const auto recipients = Must(ledger::Recipients::Open(ledger::Recipients::Mode::kHashed, config.directory));
    pipeline::Pipeline pipeline({}, tokens, clock, current, quotas, *ledger, recipients,
                                [](std::uint64_t) -> Result<std::string> {
                                  return MakeError(Reason::kNotFound, "no message has a request_id here");
                                });
    const std::string message = kHeader + body;
    const pipeline::Origin origin{view, view->FindRelay("dns:bench"), "", "", {}, ""};
    constexpr int kInFlight = 64;
    Measure("hallmark", rsa ? "rsa2048" : "ed25519", options, 1,
            [&](unsigned, Clock::time_point end, std::atomic<long>& made) {
              std::counting_semaphore<kInFlight> places(kInFlight);
              while (Clock::now() < end) {
                places.acquire();
                pipeline.Submit({origin, std::string_view(message), Clock::now() + std::chrono::seconds(30), nullptr,
                                 [&](const Result<pipeline::SignedMessage>& result) {
                                   if (result) ++made;
                                   places.release();
                                 }});
              }
              for (int i = 0; i < kInFlight; ++i) places.acquire();
            });
    tokens.Stop();
  }
}

// C_SignInit and C_Sign on the same token and key, one session a thread.
void RawToken(bool rsa, const Options& options, const SoftToken& token) {
  const auto module = Must(pkcs11::Module::Load(SoftToken::kModule));
  if (const Status ready = module->Initialize(); !ready) throw std::runtime_error(ready.error().message);
  const auto uri = Must(pkcs11::TokenUri::Parse(token.Config("softhsm").uri));
  const auto info = Must(module->FindToken(uri));
  {
    auto login = Must(pkcs11::Session::Open(*module, info.slot, pkcs11::Access::kRead));
    if (const Status in = login.Login(CKU_USER, SoftToken::kPin); !in) throw std::runtime_error(in.error().message);
    const auto key = Must(login.Find(IdOf(rsa)));
    Measure("c_sign", rsa ? "rsa2048" : "ed25519", options, options.threads,
            [&](unsigned, Clock::time_point end, std::atomic<long>& made) {
              auto session = Must(pkcs11::Session::Open(*module, info.slot, pkcs11::Access::kRead));
              const Bytes digest(32, 7);
              while (Clock::now() < end) {
                Must(session.SignDigest(key, digest));
                ++made;
              }
            });
  }
  module->Finalize();
}

void Run(const Options& options) {
  const SoftToken token(options.tokend);
  MakeTokenKeys(options, token);
  const std::string body = Body(2000, false);
  for (int i = 0; i < options.repeats; ++i) {
    for (const bool rsa : {true, false}) {
      const auto wanted = [&](const char* name) { return options.only.empty() || options.only == name; };
      if (wanted("hallmark")) OurPipeline(rsa, options, token, body);
      if (wanted("c_sign")) RawToken(rsa, options, token);
      if (wanted("libopendkim")) LibOpenDkim(rsa, options, body);
      if (wanted("openssl")) OpenSslAlone(rsa, options);
      if (wanted("verify")) Verify(rsa, options);
    }
  }
}

}  // namespace
}  // namespace hallmark::bench

int main(int argc, char** argv) {
  hallmark::bench::Options options;
  CLI::App app("Signatures a second and CPU per signature, in one process.");
  app.add_option("--tokend", options.tokend, "The program")->required();
  app.add_option("--threads", options.threads, "Threads, and sessions of the token")->capture_default_str();
  app.add_option("--seconds", options.seconds, "Each measurement")->capture_default_str();
  app.add_option("--only", options.only, "Only this one")
      ->check(CLI::IsMember({"hallmark", "c_sign", "libopendkim", "openssl", "verify"}));
  app.add_flag("--allocations", options.allocations, "Print how often C++ allocates for one, instead");
  app.add_option("--repeats", options.repeats, "Of all")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  count_allocations = options.allocations;
  try {
    hallmark::bench::Run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "signature_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
