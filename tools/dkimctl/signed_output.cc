#include "tools/dkimctl/signed_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "tools/relay-client/wire_form.h"

namespace hallmark::ctl {
namespace {

constexpr std::size_t kPiece = 256u << 10;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

Failure CannotWrite(const std::filesystem::path& path) {
  return Failed(path.string() + ": cannot write: " + std::strerror(errno));
}

Answer<bool> Write(const MessageSource& source, const signing::v1::SignResponse& response, std::FILE* to) {
  std::string text = HeaderFields(response);
  bool written = std::fwrite(text.data(), 1, text.size(), to) == text.size();
  relay::WireForm form;
  const auto put = [&] { written = written && std::fwrite(text.data(), 1, text.size(), to) == text.size(); };
  const auto read = source.ForEach(kPiece, [&](std::string_view piece) {
    text.clear();
    form.Push(piece, text);
    put();
    return written;
  });
  if (!read) return read.error();
  text.clear();
  form.Finish(text);
  put();
  return written;
}

}  // namespace

std::string HeaderFields(const signing::v1::SignResponse& response) {
  std::string fields;
  for (const auto& signature : response.signatures()) fields += relay::ToWireForm(signature.header_field());
  return fields;
}

Answer<void> WriteSignedToStdout(const MessageSource& source, const signing::v1::SignResponse& response) {
  const auto written = Write(source, response, stdout);
  if (!written) return written.error();
  if (!*written) return CannotWrite("standard output");
  return {};
}

Answer<void> WriteSignedToFile(const MessageSource& source, const signing::v1::SignResponse& response,
                               const std::filesystem::path& path, mode_t mode) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return Failed(path.parent_path().string() + ": cannot make the folder: " + error.message());
  std::string temporary = path.string() + ".XXXXXX";
  FileDescriptor fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return CannotWrite(path);
  ::fchmod(fd.get(), mode);
  File file(::fdopen(fd.get(), "w"), &std::fclose);
  if (!file) return CannotWrite(path);
  fd.Release();  // the stream closes it
  const auto written = Write(source, response, file.get());
  const bool durable = std::fflush(file.get()) == 0 && ::fsync(::fileno(file.get())) == 0;
  const bool closed = std::fclose(file.release()) == 0;
  if (written && *written && durable && closed && ::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const Failure failure = written ? CannotWrite(path) : written.error();
  ::unlink(temporary.c_str());
  return failure;
}

}  // namespace hallmark::ctl
