#pragma once

#include <grpcpp/support/slice.h>

#include <cstdio>
#include <memory>
#include <string>

#include "tools/dkimctl/failure.h"
#include "tools/dkimload/calls.h"

namespace hallmark::load {

// What became of each message, and some of those that were signed, in a folder (--keep): so that what a ledger has can
// be held against what a relay was told. `outcomes` has a line for each, "REQUEST_ID SIGNATURES" or "REQUEST_ID CODE
// REASON"; each 250th that was signed is written to a file NUMBER.eml with its signatures on top. One thread at a time,
// but RequestId().
class Kept {
 public:
  static ctl::Answer<std::unique_ptr<Kept>> In(const std::string& folder);

  // Of the message with this number: no other run has it.
  std::string RequestId(std::size_t number) const { return run_ + "-" + std::to_string(number); }
  void Add(const Ticket& ticket, const Ending& ending, const grpc::Slice& request, const grpc::Slice& answer);
  // After the last: whether all of it is in the folder.
  ctl::Outcome Close();

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Closer>;
  Kept(std::string folder, File outcomes);
  void WriteMessage(std::size_t number, const std::string& signatures, const grpc::Slice& request);

  const std::string folder_, run_;
  File outcomes_;
  std::size_t signed_ = 0;
  bool failed_ = false;  // something could not be written
};

}  // namespace hallmark::load
