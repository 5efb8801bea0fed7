#include "tools/dkimload/kept.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "hallmark/signing/v1/signing.pb.h"

namespace hallmark::load {
namespace {

constexpr std::size_t kEach = 250;  // of the signed messages is written out whole

std::string Random() {
  std::random_device device;
  char text[17];
  std::snprintf(text, sizeof text, "%08x%08x", device(), device());
  return text;
}

}  // namespace

Kept::Kept(std::string folder, File outcomes)
    : folder_(std::move(folder)), run_(Random()), outcomes_(std::move(outcomes)) {}

ctl::Answer<std::unique_ptr<Kept>> Kept::In(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  File outcomes(std::fopen((folder + "/outcomes").c_str(), "we"));
  if (!outcomes) return ctl::Failed(folder + "/outcomes: " + std::strerror(errno));
  return std::unique_ptr<Kept>(new Kept(folder, std::move(outcomes)));
}

void Kept::Add(const Ticket& ticket, const Ending& ending, const grpc::Slice& request, const grpc::Slice& answer) {
  if (!ending.well()) {
    std::fprintf(outcomes_.get(), "%s %s %s\n", RequestId(ticket.number).c_str(), CodeName(ending.code),
                 ending.reason.c_str());
    return;
  }
  signing::v1::SignResponse response;
  response.ParseFromArray(answer.begin(), static_cast<int>(answer.size()));  // it was, when the ending was found
  std::fprintf(outcomes_.get(), "%s %d\n", RequestId(ticket.number).c_str(), response.signatures_size());
  if (signed_++ % kEach != 0) return;
  std::string signatures;
  for (const signing::v1::Signature& signature : response.signatures()) signatures += signature.header_field();
  WriteMessage(ticket.number, signatures, request);
}

void Kept::WriteMessage(std::size_t number, const std::string& signatures, const grpc::Slice& request) {
  signing::v1::SignRequest asked;
  asked.ParseFromArray(request.begin(), static_cast<int>(request.size()));
  const std::string text = signatures + asked.message();
  const File file(std::fopen((folder_ + "/" + std::to_string(number) + ".eml").c_str(), "we"));
  failed_ = failed_ || !file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
            std::fflush(file.get()) != 0;
}

ctl::Outcome Kept::Close() {
  if (std::fflush(outcomes_.get()) != 0 || std::ferror(outcomes_.get()) != 0 || failed_) {
    return ctl::Failed("cannot write to " + folder_);
  }
  return ctl::ExitCode::kDone;
}

}  // namespace hallmark::load
