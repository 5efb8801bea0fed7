#include "hsm/link/frame.h"

#include <type_traits>

namespace hallmark::link {
namespace {

constexpr std::size_t kPrefix = 5;  // length and type

class Writer {
 public:
  template <class T>
  requires std::is_unsigned_v<T>
  void Put(T number) {
    for (std::size_t i = sizeof(T); i-- > 0;) octets_.push_back(static_cast<std::uint8_t>(number >> (8 * i)));
  }
  template <class E>
  requires std::is_enum_v<E>
  void Put(E value) { Put(static_cast<std::uint8_t>(value)); }
  void Put(ByteView octets) {
    Put(static_cast<std::uint32_t>(octets.size()));
    octets_.insert(octets_.end(), octets.begin(), octets.end());
  }
  void Put(const Bytes& octets) { Put(ByteView(octets)); }
  void Put(const std::string& text) { Put(AsBytes(text)); }
  Bytes& octets() { return octets_; }

 private:
  Bytes octets_;
};

// Every Get fails once something is wrong; what was read then means nothing. Nothing is allocated before the octets for
// it are known to be there.
class Reader {
 public:
  explicit Reader(ByteView octets) : octets_(octets) {}

  template <class T>
  requires std::is_unsigned_v<T>
  bool Get(T& number) {
    if (octets_.size() < sizeof(T)) return false;
    number = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      number = static_cast<T>(static_cast<std::uint64_t>(number) << 8 | octets_[i]);
    octets_ = octets_.subspan(sizeof(T));
    return true;
  }
  // `first` and `last` are the enumerators that exist.
  template <class E>
  bool Get(E& value, E first, E last) {
    std::uint8_t number = 0;
    if (!Get(number) || number < static_cast<std::uint8_t>(first) || number > static_cast<std::uint8_t>(last))
      return false;
    value = static_cast<E>(number);
    return true;
  }
  bool Get(KeyType& type) { return Get(type, KeyType::kRsa, KeyType::kEd25519); }
  bool Get(InputKind& kind) { return Get(kind, InputKind::kDigest, InputKind::kData); }
  bool Get(Outcome& outcome) { return Get(outcome, Outcome::kOk, Outcome::kWantsData); }
  bool Get(TokenState& state) { return Get(state, TokenState::kStarting, TokenState::kDown); }
  bool Get(Bytes& octets) { return GetString(octets); }
  bool Get(std::string& text) { return GetString(text); }
  // How many items of at least `smallest` octets follow.
  bool GetCount(std::uint32_t& count, std::size_t smallest) {
    return Get(count) && count <= kMaxBatch && count <= octets_.size() / smallest;
  }
  bool AtEnd() const { return octets_.empty(); }

 private:
  template <class String>
  bool GetString(String& out) {
    std::uint32_t size = 0;
    if (!Get(size) || size > octets_.size()) return false;
    out.assign(octets_.begin(), octets_.begin() + size);
    octets_ = octets_.subspan(size);
    return true;
  }
  ByteView octets_;
};

// The fields of each frame in the order of the wire, written once for both directions: `io` is a Writer or a Reader.
template <class Io, class... Fields>
bool Each(Io& io, Fields&... fields) {
  if constexpr (std::is_same_v<Io, Writer>) {
    (io.Put(fields), ...);
    return true;
  } else {
    return (io.Get(fields) && ...);
  }
}

template <class Io, class Item, class Code>
bool EachItem(Io& io, std::vector<Item>& items, std::size_t smallest, Code code) {
  if constexpr (std::is_same_v<Io, Writer>) {
    io.Put(static_cast<std::uint32_t>(items.size()));
  } else {
    std::uint32_t count = 0;
    if (!io.GetCount(count, smallest)) return false;
    items.resize(count);
  }
  for (Item& item : items) {
    if (!code(item)) return false;
  }
  return true;
}

template <class Io>
bool Code(Io& io, Hello& f) {
  return Each(io, f.version, f.pid);
}
template <class Io>
bool Code(Io& io, TokenStatus& f) {
  return Each(io, f.state, f.token_code, f.message, f.label, f.serial, f.manufacturer, f.model, f.sessions,
              f.generation, f.wants_data, f.cannot_make);
}
template <class Io>
bool Code(Io& io, DefineKey& f) {
  return Each(io, f.key_ref, f.type, f.cka_id, f.spki);
}
template <class Io>
bool Code(Io& io, SignBatch& f) {
  constexpr std::size_t kSmallest = 8 + 4 + 1 + 4;
  return Each(io, f.timeout_ms) && EachItem(io, f.items, kSmallest, [&](SignItem& item) {
           return Each(io, item.id, item.key_ref, item.kind, item.input);
         });
}
template <class Io>
bool Code(Io& io, SignResults& f) {
  constexpr std::size_t kSmallest = 8 + 1 + 8 + 4;
  return EachItem(io, f.outcomes, kSmallest,
                  [&](SignOutcome& item) { return Each(io, item.id, item.outcome, item.token_code, item.signature); });
}
template <class Io>
bool Code(Io& io, GenerateKey& f) {
  return Each(io, f.id, f.type, f.bits, f.cka_id, f.label);
}
template <class Io>
bool Code(Io& io, FindKey& f) {
  return Each(io, f.id, f.cka_id);
}
template <class Io>
bool Code(Io& io, DestroyKey& f) {
  return Each(io, f.id, f.cka_id, f.spki);
}
template <class Io>
bool Code(Io& io, BeginImport& f) {
  return Each(io, f.id);
}
template <class Io>
bool Code(Io& io, ImportKey& f) {
  return Each(io, f.id, f.cka_id, f.label, f.wrapping_key_sha256, f.wrapped_secret, f.wrapped_key, f.spki);
}
template <class Io>
bool Code(Io& io, KeyCallBegun& f) {
  return Each(io, f.id, f.alone);
}
template <class Io>
bool Code(Io& io, KeyReply& f) {
  return Each(io, f.id, f.outcome, f.token_code, f.message, f.type, f.bits, f.spki, f.sensitive, f.extractable,
              f.never_extractable);
}
template <class Io>
bool Code(Io& io, Ping& f) {
  return Each(io, f.id);
}
template <class Io>
bool Code(Io& io, Pong& f) {
  return Each(io, f.id);
}

// A type's number is its place in Frame, from 1.
template <std::size_t Index = 0>
std::optional<Frame> Make(std::uint8_t type) {
  if constexpr (Index == std::variant_size_v<Frame>) {
    return std::nullopt;
  } else {
    if (type == Index + 1) return Frame(std::in_place_index<Index>);
    return Make<Index + 1>(type);
  }
}

std::size_t ItemCount(const Frame& frame) {
  if (const auto* batch = std::get_if<SignBatch>(&frame)) return batch->items.size();
  if (const auto* results = std::get_if<SignResults>(&frame)) return results->outcomes.size();
  return 0;
}

}  // namespace

Result<Bytes> Encode(const Frame& frame) {
  Writer writer;
  writer.Put(std::uint32_t{0});
  writer.Put(static_cast<std::uint8_t>(frame.index() + 1));
  // A Writer changes nothing; the fields are listed once for both directions, hence not const.
  std::visit([&](const auto& f) { Code(writer, const_cast<std::remove_cvref_t<decltype(f)>&>(f)); }, frame);
  Bytes& octets = writer.octets();
  const std::size_t payload = octets.size() - kPrefix;
  if (payload > kMaxFrame || ItemCount(frame) > kMaxBatch) {
    return MakeError(Reason::kInternal, "a frame is larger than the link allows");
  }
  for (std::size_t i = 0; i < 4; ++i) octets[i] = static_cast<std::uint8_t>(payload >> (8 * (3 - i)));
  return std::move(octets);
}

void Decoder::Push(ByteView octets) {
  if (start_ == buffer_.size()) {
    buffer_.clear();
    start_ = 0;
  }
  buffer_.insert(buffer_.end(), octets.begin(), octets.end());
}

Result<std::optional<Frame>> Decoder::Next() {
  const ByteView rest = ByteView(buffer_).subspan(start_);
  const auto invalid = [](const char* what) { return MakeError(Reason::kInvalidArgument, what); };
  if (rest.size() < kPrefix) return std::optional<Frame>();
  Reader prefix(rest);
  std::uint32_t size = 0;
  std::uint8_t type = 0;
  prefix.Get(size);
  prefix.Get(type);
  if (size > kMaxFrame) return invalid("a frame is longer than the link allows");
  std::optional<Frame> frame = Make(type);
  if (!frame) return invalid("a frame has a type that does not exist");
  if (rest.size() - kPrefix < size) return std::optional<Frame>();
  Reader payload(rest.subspan(kPrefix, size));
  const bool good = std::visit([&](auto& f) { return Code(payload, f); }, *frame) && payload.AtEnd();
  if (!good) return invalid("a frame's payload does not fit its type");
  start_ += kPrefix + size;
  if (start_ > kMaxFrame) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(start_));
    start_ = 0;
  }
  return frame;
}

}  // namespace hallmark::link
