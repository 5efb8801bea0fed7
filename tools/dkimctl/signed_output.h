#pragma once

#include <filesystem>
#include <string>

#include "hallmark/signing/v1/signing.pb.h"
#include "tools/dkimctl/failure.h"
#include "tools/dkimctl/message_source.h"

namespace hallmark::ctl {

// The header fields of an answer, in order, each in wire form.
std::string HeaderFields(const signing::v1::SignResponse& response);

// Writes the header fields and then the message, all in wire form, to standard output. Constant memory.
Answer<void> WriteSignedToStdout(const MessageSource& source, const signing::v1::SignResponse& response);

// As above to `path`, whose folder is made; replaced at once when the whole message is on disk, with `mode`.
Answer<void> WriteSignedToFile(const MessageSource& source, const signing::v1::SignResponse& response,
                               const std::filesystem::path& path, mode_t mode);

}  // namespace hallmark::ctl
