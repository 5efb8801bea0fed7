#pragma once

#include <functional>

#include "signerd/service/admin_gate.h"
#include "signerd/service/stream_writer.h"

namespace hallmark::service {

// Does `work`, which writes a long answer, for a caller whom the gate knows already: admits them, ends with their
// session, and tells the gate how it ended. What the answer is to be finished with. On a thread that may wait.
template <class Response>
Status RunGated(AdminGate& gate, const grpc::ServerContextBase& context, const Caller& caller,
                StreamWriter<Response>& out, const std::function<Status(StreamWriter<Response>&)>& work) {
  const Status admitted = gate.Admit(context, caller);
  if (!admitted) return admitted;
  // Who was logged out meanwhile reads no further.
  const auto session = [&] { return gate.CheckSession(context, caller); };
  out.CheckEach([&] { return session().has_value(); });
  Status done = work(out);
  if (!done) {
    if (const Status still = session(); !still) done = still;
  }
  out.CheckEach(nullptr);  // what it asks ends here
  gate.Done(caller, done);
  return done;
}

}  // namespace hallmark::service
