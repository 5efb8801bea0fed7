#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "signerd/snapshot/snapshot.h"

namespace hallmark::tokens {

// Whose work it is, and how large a share it gets where there is more work than can be done.
struct Flow {
  std::string_view name;  // good during a call only
  double weight = 1;
};

// A queue in which flows share what takes from it by their weights, however much each of them puts in: start-time fair
// queueing (Goyal, Vin and Cheng, 1996). Within a flow it is first in, first out. Not thread-safe.
template <class T>
class FairQueue {
 public:
  // `cost` is the work of the item in any unit, the same for all items.
  void Push(const Flow& flow, double cost, T item) {
    Share& share = ShareOf(flow);
    const double start = std::max(now_, share.next);
    share.next = start + cost / flow.weight;
    if (share.queued++ == 0) busy_weight_ += share.weight = flow.weight;
    items_.emplace(Place(start, ++pushed_), Item{&share, std::move(item)});
  }

  // Before everything else: it was taken, and comes back.
  void PushFront(T item) { returned_.insert(returned_.begin(), std::move(item)); }

  // What to take next. Not when empty.
  T Pop() {
    if (!returned_.empty()) {
      T item = std::move(returned_.front());
      returned_.erase(returned_.begin());
      return item;
    }
    auto node = items_.extract(items_.begin());
    now_ = node.key().first;
    Leave(*node.mapped().share);
    return std::move(node.mapped().item);
  }

  // How much is about to be taken before what `flow` pushes next.
  double Ahead(const Flow& flow) const {
    const auto found = shares_.find(flow.name);
    const double start = found == shares_.end() ? now_ : std::max(now_, found->second.next);
    const double before = (start - now_) * (busy_weight_ + (found == shares_.end() ? flow.weight : 0));
    return std::min(before, static_cast<double>(items_.size())) + static_cast<double>(returned_.size());
  }

  // Takes out all that `wanted` is true for.
  template <class Wanted>
  std::vector<T> Remove(Wanted wanted) {
    std::vector<T> removed;
    for (auto place = returned_.begin(); place != returned_.end();) {
      if (!wanted(*place)) {
        ++place;
        continue;
      }
      removed.push_back(std::move(*place));
      place = returned_.erase(place);
    }
    for (auto place = items_.begin(); place != items_.end();) {
      if (!wanted(place->second.item)) {
        ++place;
        continue;
      }
      Share& share = *place->second.share;
      removed.push_back(std::move(place->second.item));
      place = items_.erase(place);
      Leave(share);
    }
    return removed;
  }

  bool empty() const { return items_.empty() && returned_.empty(); }
  std::size_t size() const { return items_.size() + returned_.size(); }

 private:
  struct Share {
    double next = 0;  // where the flow's next item would start
    double weight = 0;
    std::size_t queued = 0;
  };
  struct Item {
    Share* share;
    T item;
  };
  using Place = std::pair<double, std::uint64_t>;  // start, then the order of Push

  Share& ShareOf(const Flow& flow) {
    const auto found = shares_.find(flow.name);
    return found != shares_.end() ? found->second : shares_[std::string(flow.name)];
  }

  void Leave(Share& share) {
    if (--share.queued == 0) busy_weight_ -= share.weight;
    if (!items_.empty()) return;
    // Nobody waits, so nobody is ahead of others any more.
    shares_.clear();
    now_ = busy_weight_ = 0;
  }

  std::map<Place, Item> items_;
  std::vector<T> returned_;
  snapshot::NameMap<Share> shares_;  // of flows since the queue was empty the last time
  double now_ = 0;                   // the start of what was taken last
  double busy_weight_ = 0;           // of all flows that have something queued
  std::uint64_t pushed_ = 0;
};

}  // namespace hallmark::tokens
