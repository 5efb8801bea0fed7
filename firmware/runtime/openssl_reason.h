#pragma once

#include <string>

namespace hallmark {

// Why OpenSSL could not do what it was last asked for, on this thread: ": bad decrypt", to be put behind a sentence.
// Empty where it does not say. Its queue of errors is empty afterwards.
std::string OpenSslReason();

}  // namespace hallmark
