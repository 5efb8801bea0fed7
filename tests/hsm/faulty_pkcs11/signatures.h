#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>

namespace faulty {

// Signatures by what was signed: key, mechanism and input in one string. Any thread.
class SignatureTable {
 public:
  // Whether it is there. `signature` keeps its memory from call to call.
  bool Find(const std::string& entry, std::string& signature) const;
  void Add(const std::string& entry, const std::string& signature);
  void Clear();

 private:
  // Sessions that add would otherwise hold up all that only look.
  struct Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<std::string, std::string> signatures;
  };
  static constexpr std::size_t kShards = 16;
  static std::size_t ShardOf(const std::string& entry) { return std::hash<std::string>()(entry) % kShards; }
  std::array<Shard, kShards> shards_;
};

// The table's copy in a file, which several processes may add to at once. Any thread.
class SignatureFile {
 public:
  ~SignatureFile() { Close(); }
  // Gives what the file holds to `table`. A record that is torn, and what follows it, is cut off: appended to, it would
  // hide all later ones. False, with a line to standard error: the file cannot be opened, or is something else.
  bool Open(const std::string& path, SignatureTable& table);
  void Append(const std::string& entry, const std::string& signature);
  void Close();

 private:
  std::mutex mutex_;
  int descriptor_ = -1;
};

}  // namespace faulty
