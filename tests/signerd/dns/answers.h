#pragma once

#include <algorithm>

#include "signerd/dns/observer.h"

// What all servers of an observation say, in one word.
namespace hallmark::dns {

// Whether each server has exactly the one record `value`.
inline bool AllHave(const Observation& observation, const std::string& value) {
  return !observation.servers.empty() &&
         std::all_of(observation.servers.begin(), observation.servers.end(), [&](const ServerAnswer& answer) {
           return answer.kind == ServerAnswer::Kind::kRecord && answer.values.size() == 1 && answer.values[0] == value;
         });
}

// Whether each server says that there is no record.
inline bool AllHaveNone(const Observation& observation) {
  return !observation.servers.empty() &&
         std::all_of(observation.servers.begin(), observation.servers.end(),
                     [](const ServerAnswer& answer) { return answer.kind == ServerAnswer::Kind::kNone; });
}

}  // namespace hallmark::dns
