#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/types.h"

namespace hallmark::keys {

// What a rotation policy says, as far as it can be judged without a store, a token and a configuration: signerd judges
// it where it is set, dkimctl before.
struct RotationValues {
  std::vector<dkim::Algorithm> algorithms{};
  std::chrono::seconds lifetime{}, propagation{}, retire{}, revoked{}, trash{}, record_ttl{};
  std::string selector{}, delegation{}, backup_waiver{};
};

// kInvalidArgument names the field.
Status CheckRotationValues(const RotationValues& values);

// The selector that a scheme gives: `date` for {date}, the algorithm's letter for {letter}, `random` for {random}.
std::string FillSelector(std::string scheme, dkim::Algorithm algorithm, const std::string& date,
                         const std::string& random);

}  // namespace hallmark::keys
