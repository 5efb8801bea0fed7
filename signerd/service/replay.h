#pragma once

#include <functional>
#include <string>
#include <utility>

#include "signerd/service/admin_gate.h"

namespace hallmark::service {

// AdminGate::SetReplay for a method whose work is a function of its request: `work(caller, request, &response)`. The
// response of an approved request goes nowhere; the approval says how it ended. `lane`: as in the method's Act.
template <class Request, class Response, class Work>
void SetReplayOf(AdminGate& gate, const std::string& method, Work work, Lane lane = Lane::kStore) {
  const auto replay = [work = std::move(work)](const Caller& caller, const std::string& octets) -> Status {
    Request request;
    if (!request.ParseFromString(octets)) return MakeError(Reason::kInternal, "the request was not kept whole");
    Response response;
    return work(caller, std::as_const(request), &response);
  };
  gate.SetReplay(method, Request::default_instance(), replay, lane);
}

}  // namespace hallmark::service
