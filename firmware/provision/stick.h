#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::provision {

inline constexpr const char* kFileName = "box.hallmark";

// The stick with the label HALLMARK, which may come and go. It is mounted only for the moment that it is read or
// written.
class Stick {
 public:
  // A folder that stands for a stick is given as it is; empty: the device with the label, mounted at `mount_point`.
  Stick(std::filesystem::path folder, std::filesystem::path mount_point)
      : folder_(std::move(folder)), mount_point_(std::move(mount_point)) {}

  // Whether one is in.
  bool Present() const;
  // Its box.hallmark; kNotFound where it has none.
  Result<std::string> Read() const;
  // While it is mounted, to be read only.
  Status Use(const std::function<Status(const std::filesystem::path& folder)>& use) const;
  // Files by their names. What is there under one of these names, and is not the same, gets a number.
  Status Write(const std::map<std::string, std::string>& files) const;

 private:
  std::filesystem::path folder_, mount_point_;
};

}  // namespace hallmark::provision
