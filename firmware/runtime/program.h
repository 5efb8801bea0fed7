#pragma once

#include <filesystem>
#include <string_view>

namespace hallmark {

// Where another program of Hallmark's is: beside this one's executable, as in a build tree, or where the packages put
// it:
// ../sbin, else ../libexec/hallmark. The last is the answer where there is none.
std::filesystem::path CompanionProgram(std::string_view name);

}  // namespace hallmark
