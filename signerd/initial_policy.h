#pragma once

#include <filesystem>

#include "firmware/runtime/result.h"
#include "signerd/store/store.h"

namespace hallmark {

// Puts the policy of the file into a store that has none yet: at the first start. `file` may be empty.
// kConfigInvalid with a line for each mistake in the file.
Status PutInitialPolicy(store::Store& store, const std::filesystem::path& file);
// Whether that would take the file. Not needed after the first start, so it may be gone.
Status CheckInitialPolicy(const std::filesystem::path& file);

}  // namespace hallmark
