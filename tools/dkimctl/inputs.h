#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// One message that the command line names.
struct Input {
  std::string path;            // "-": standard input
  std::filesystem::path name;  // where its copy goes below an output folder
};

// The files that `arguments` name: a folder stands for every regular file in it and below, in order of name, but for
// hidden ones. Fails when one does not exist, and when there is none at all.
Answer<std::vector<Input>> ListInputs(const std::vector<std::string>& arguments);

// kUsage when two inputs would have one name below the output folder.
Answer<void> CheckNames(const std::vector<Input>& inputs);

// kUsage when what becomes of one below `folder` would take the place of one of them.
Answer<void> CheckTargets(const std::vector<Input>& inputs, const std::filesystem::path& folder);

}  // namespace hallmark::ctl
