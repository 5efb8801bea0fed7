#pragma once

#include <chrono>
#include <span>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dns/nameserver.h"

namespace hallmark::dns {

// One DNS message for one server.
struct Question {
  enum class Transport { kUdp, kTcp };
  Nameserver server;
  Transport transport = Transport::kUdp;
  Bytes message;
};

// Sends all questions at once and waits for the answers; one for each question, in their order. Only an answer that
// comes from the server asked, over the same transport and with the question's id, is taken; others are passed over
// until the time is up. Each question is tried `attempts` times for `timeout` each, so that the whole call takes
// attempts x timeout at most, however slowly a server sends. kDnsUnavailable says what happened. Any thread.
std::vector<Result<Bytes>> Exchange(std::span<const Question> questions, std::chrono::milliseconds timeout,
                                    unsigned attempts);

// For an Exchange that must have ended by `deadline`: `timeout`, or less.
std::chrono::milliseconds TimeLeft(std::chrono::steady_clock::time_point deadline, std::chrono::milliseconds timeout,
                                   unsigned attempts);

// Whether this host has a route to the address; sends nothing.
bool HasRoute(const Nameserver& server);

}  // namespace hallmark::dns
