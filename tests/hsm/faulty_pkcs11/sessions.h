#pragma once

namespace faulty {

// How many sessions of this process are open in the real module. With a control file the number is the first eight
// octets of a file beside it, NAME.sessions-PID, where a test reads it. Any thread.
void CountOpenedSession();
void CountClosedSession();
// All are closed. How many were open.
unsigned long CountNoSession();

}  // namespace faulty
