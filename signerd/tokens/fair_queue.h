#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
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
  std::string_view relay = {};  // which it came through: relays have equal shares of what their flow gets
};

// One of several that wait for their turns.
struct Turn {
  double weight = 1;
  double next = 0;  // where it starts when it waits again; while it waits, where it starts
  bool waits = false;
  std::uint64_t entered = 0;
};

// Whose turn it is of those that wait: start-time fair queueing (Goyal, Vin and Cheng, 1996). Each gets its share by
// weight, however much it wants; who was silent has saved nothing up, and who comes late owes nothing.
template <class Member>  // a Turn
class Turns {
 public:
  // It has something to be taken. A new weight counts from its next turn.
  void Wait(Member& member, double weight) {
    busy_weight_ += weight - (member.waits ? member.weight : 0);
    member.weight = weight;
    if (member.waits) return;
    member.waits = true;
    member.next = std::max(now_, member.next);
    member.entered = ++entered_;
    waiting_.emplace(Place(member.next, member.entered), &member);
  }
  bool empty() const { return waiting_.empty(); }
  Member& Next() const { return *waiting_.begin()->second; }
  // Something of this cost was taken from the next one, which has more or has not.
  void Took(double cost, bool more) {
    auto node = waiting_.extract(waiting_.begin());
    Member& member = *node.mapped();
    now_ = member.next;
    member.next += cost / member.weight;
    latest_ = std::max(latest_, member.next);
    if (!more) {
      Left(member);
      return;
    }
    member.entered = ++entered_;
    node.key() = Place(member.next, member.entered);
    waiting_.insert(std::move(node));
  }
  // It has nothing any more, and it was not taken.
  void Leave(Member& member) {
    waiting_.erase(Place(member.next, member.entered));
    Left(member);
  }
  // What is taken of all of them before this one, or a new one where it is null, has had `own` and has its next turn.
  double Ahead(const Member* member, double weight, double own) const {
    const bool waits = member != nullptr && member->waits;
    const double start = member == nullptr ? now_ : std::max(now_, member->next);
    return (start - now_ + own / weight) * (busy_weight_ + (waits ? 0 : weight));
  }

 private:
  using Place = std::pair<double, std::uint64_t>;  // start, then who came first

  void Left(Member& member) {
    member.waits = false;
    busy_weight_ -= member.weight;
    if (!waiting_.empty()) return;
    now_ = std::max(now_, latest_);  // nobody waits, so nobody is ahead of others any more
    busy_weight_ = 0;
  }

  std::map<Place, Member*> waiting_;
  double now_ = 0;          // the start of what was taken last
  double latest_ = 0;       // the latest end of what was taken
  double busy_weight_ = 0;  // of all that wait
  std::uint64_t entered_ = 0;
};

// A queue in which flows share what takes from it by their weights, and the relays of a flow share alike, however much
// each of them puts in. Within a relay it is first in, first out. Not thread-safe.
template <class T>
class FairQueue {
 public:
  // `cost` is the work of the item in any unit, the same for all items.
  void Push(const Flow& flow, double cost, T item) {
    Share& share = snapshot::At(shares_, flow.name);
    Lane& lane = snapshot::At(share.lanes, flow.relay);
    lane.items.emplace_back(cost, std::move(item));
    lane.cost += cost;
    share.cost += cost;
    ++share.size;
    cost_ += cost;
    ++size_;
    share.turns.Wait(lane, 1);
    turns_.Wait(share, flow.weight);
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
    Share& share = turns_.Next();
    Lane& lane = share.turns.Next();
    auto [cost, item] = std::move(lane.items.front());
    lane.items.pop_front();
    Account(share, lane, cost);
    share.turns.Took(cost, !lane.items.empty());
    turns_.Took(cost, !share.turns.empty());
    return std::move(item);
  }

  // How much, in the unit of `cost`, is about to be taken before what `flow` pushes next.
  double Ahead(const Flow& flow) const {
    if (empty()) return 0;
    const Share* share = Find(shares_, flow.name);
    const Lane* lane = share == nullptr ? nullptr : Find(share->lanes, flow.relay);
    const double own =
        share == nullptr ? 0 : std::min(share->cost, share->turns.Ahead(lane, 1, lane == nullptr ? 0 : lane->cost));
    return std::min(cost_, turns_.Ahead(share, flow.weight, own)) + static_cast<double>(returned_.size());
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
    for (auto& [flow, share] : shares_) {
      if (!share.waits) continue;
      for (auto& [relay, lane] : share.lanes) RemoveFrom(share, lane, wanted, removed);
      if (share.turns.empty()) turns_.Leave(share);
    }
    return removed;
  }

  bool empty() const { return size() == 0; }
  std::size_t size() const { return size_ + returned_.size(); }

 private:
  struct Lane : Turn {
    std::list<std::pair<double, T>> items;  // with their costs
    double cost = 0;                        // of them
  };
  struct Share : Turn {
    snapshot::NameMap<Lane> lanes;  // by relay
    Turns<Lane> turns;
    double cost = 0;  // of all its items
    std::size_t size = 0;
  };

  template <class Map>
  static auto* Find(const Map& map, std::string_view name) {
    const auto found = map.find(name);
    return found != map.end() ? &found->second : nullptr;
  }

  // An item of this cost was taken out. What is empty costs nothing, however its sum was rounded.
  void Account(Share& share, Lane& lane, double cost) {
    lane.cost = lane.items.empty() ? 0 : lane.cost - cost;
    share.cost = --share.size == 0 ? 0 : share.cost - cost;
    cost_ = --size_ == 0 ? 0 : cost_ - cost;
  }

  template <class Wanted>
  void RemoveFrom(Share& share, Lane& lane, Wanted& wanted, std::vector<T>& removed) {
    if (!lane.waits) return;
    for (auto place = lane.items.begin(); place != lane.items.end();) {
      if (!wanted(place->second)) {
        ++place;
        continue;
      }
      const double cost = place->first;
      removed.push_back(std::move(place->second));
      place = lane.items.erase(place);
      Account(share, lane, cost);
    }
    if (lane.items.empty()) share.turns.Leave(lane);
  }

  snapshot::NameMap<Share> shares_;  // by flow; there are as many as the policy has had
  Turns<Share> turns_;
  double cost_ = 0;       // of all but what was returned
  std::size_t size_ = 0;  // the same
  std::vector<T> returned_;
};

}  // namespace hallmark::tokens
