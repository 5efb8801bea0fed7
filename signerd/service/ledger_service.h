#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "hallmark/admin/v1/ledger.grpc.pb.h"
#include "signerd/ledger/indexer.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/recipients.h"
#include "signerd/ledger/retention.h"
#include "signerd/service/admin_gate.h"
#include "signerd/service/stream_writer.h"

namespace hallmark::service {

// hallmark.admin.v1.LedgerService. Calls come in by the AdminGate; those that stream run on threads of their own, so
// that a long one never holds up the admin thread.
class LedgerService final : public hallmark::admin::v1::LedgerService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    ledger::Ledger& ledger;
    ledger::Indexer& indexer;
    ledger::Retention& retention;
    const ledger::Recipients& recipients;
    // Who signs the checkpoints, and who did before. kNotFound while there is no such key yet. Any thread.
    std::function<Result<ledger::VerifierKeys>()> verifier_keys;
  };
  // Says to the gate how what was approved is carried out.
  explicit LedgerService(Parts parts);
  ~LedgerService() override { streams_.join(); }

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  template <class Response>
  using Stream = grpc::ServerWriteReactor<Response>;
  Reactor* SearchRecords(Context*, const hallmark::admin::v1::SearchRecordsRequest*,
                         hallmark::admin::v1::SearchRecordsResponse*) override;
  Reactor* GetRecord(Context*, const hallmark::admin::v1::GetRecordRequest*,
                     hallmark::admin::v1::LedgerRecord*) override;
  Reactor* GetInclusionProof(Context*, const hallmark::admin::v1::GetInclusionProofRequest*,
                             hallmark::admin::v1::InclusionProof*) override;
  Reactor* GetCheckpoint(Context*, const hallmark::admin::v1::GetCheckpointRequest*,
                         hallmark::admin::v1::Checkpoint*) override;
  Stream<hallmark::admin::v1::VerifyLedgerResponse>* VerifyLedger(
      Context*, const hallmark::admin::v1::VerifyLedgerRequest*) override;
  Stream<hallmark::admin::v1::ExportLedgerResponse>* ExportLedger(
      Context*, const hallmark::admin::v1::ExportLedgerRequest*) override;
  Stream<hallmark::admin::v1::RebuildIndexResponse>* RebuildIndex(
      Context*, const hallmark::admin::v1::RebuildIndexRequest*) override;
  Reactor* GetLedgerStatus(Context*, const hallmark::admin::v1::GetLedgerStatusRequest*,
                           hallmark::admin::v1::LedgerStatus*) override;
  Reactor* GetRetention(Context*, const hallmark::admin::v1::GetRetentionRequest*,
                        hallmark::admin::v1::Retention*) override;
  Reactor* SetRetention(Context*, const hallmark::admin::v1::SetRetentionRequest*,
                        hallmark::admin::v1::Retention*) override;

 private:
  static constexpr std::size_t kStreams = 4;  // at a time; more wait
  static constexpr int kMostEach = 3;         // of one operator, who so never has all of them

  template <class Response>
  Stream<Response>* RunStream(Context* context, const Act& act, const google::protobuf::Message& request,
                              std::function<Status(StreamWriter<Response>&)> work);
  // Before a stream of this operator, and after: kOverloaded when they have too many.
  Status Enter(const std::string& name);
  void Leave(const std::string& name);
  Status Search(const hallmark::admin::v1::SearchRecordsRequest& request,
                hallmark::admin::v1::SearchRecordsResponse& response) const;
  Status Prove(std::uint64_t sequence, hallmark::admin::v1::InclusionProof& response) const;
  Status FillCheckpoint(hallmark::admin::v1::Checkpoint& response) const;
  Status Verify(const hallmark::admin::v1::VerifyLedgerRequest& request,
                StreamWriter<hallmark::admin::v1::VerifyLedgerResponse>& out) const;
  Status Rebuild(StreamWriter<hallmark::admin::v1::RebuildIndexResponse>& out) const;
  Status KeepFor(const Caller& caller, const hallmark::admin::v1::SetRetentionRequest& request,
                 hallmark::admin::v1::Retention& response) const;
  void FillStatus(hallmark::admin::v1::LedgerStatus& response) const;
  void FillRetention(hallmark::admin::v1::Retention& response) const;

  const Parts parts_;
  std::mutex mutex_;                    // guards running_
  std::map<std::string, int> running_;  // streams that run or wait, by operator
  boost::asio::thread_pool streams_;
};

}  // namespace hallmark::service
