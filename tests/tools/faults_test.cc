#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "fake_signerd.h"
#include "hallmark/admin/v1/appliance.grpc.pb.h"
#include "hallmark/admin/v1/ledger.grpc.pb.h"
#include "hallmark/admin/v1/operators.grpc.pb.h"
#include "signerd/operators/totp.h"
#include "tcp_proxy.h"

// What dkimctl leaves behind when signerd, the line or another run comes between.
namespace {

namespace api = hallmark::admin::v1;
using grpc::ServerContext;
using grpc::Status;
using testing::HasSubstr;
using testing::Not;

const hallmark::Bytes kSecret(20, 0x5a);

class FakeOperators final : public api::OperatorService::Service {
 public:
  Status finish;
  std::function<void()> at_begin = [] {}, at_finish = [] {};

 private:
  Status BeginEnrollment(ServerContext*, const api::BeginEnrollmentRequest*,
                         api::BeginEnrollmentResponse* response) override {
    at_begin();
    response->set_name("admin");
    response->set_otpauth_uri(hallmark::totp::OtpauthUri("admin", kSecret));
    return Status::OK;
  }
  Status FinishEnrollment(ServerContext*, const api::FinishEnrollmentRequest*, api::Session* response) override {
    at_finish();
    response->mutable_operator_()->set_name("admin");
    return finish;
  }
};

class EnrollTest : public testing::Test {
 protected:
  hallmark::ProgramResult Enroll(const Status& finish) {
    operators_.finish = finish;
    return Dkimctl({"operator", "enroll", "--secret-out", secret_, "--dir", signerd_.directory()});
  }
  FakeOperators operators_;
  FakeSignerd signerd_{nullptr, nullptr, {&operators_}};
  TemporaryFolder folder_;
  const std::string secret_ = folder_ / "admin.totp";
};

// signerd may have enrolled who waits for the answer.
TEST_F(EnrollTest, TheSecretStaysWhereTheAnswerIsLost) {
  const Status lost[] = {{grpc::UNAVAILABLE, "Socket closed"},
                         {grpc::DEADLINE_EXCEEDED, ""},
                         Refusal(grpc::UNAVAILABLE, "LEDGER_UNAVAILABLE", "the ledger cannot be written"),
                         Refusal(grpc::INTERNAL, "STORAGE_FAILED", "the database cannot be written")};
  for (const Status& status : lost) {
    const auto run = Enroll(status);
    EXPECT_NE(run.exit_code, 0);
    EXPECT_EQ(ReadText(secret_), hallmark::totp::Base32(kSecret) + "\n") << run.err;
    EXPECT_THAT(run.err, HasSubstr("try dkimctl login"));
    struct stat facts {};
    EXPECT_EQ(::stat(secret_.c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600u);
    std::filesystem::remove(secret_);
  }
}

TEST_F(EnrollTest, TheSecretGoesWhereSignerdRefuses) {
  const auto run = Enroll(Refusal(grpc::UNAUTHENTICATED, "LOGIN_REFUSED", "the code is not right"));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.err, "dkimctl: LOGIN_REFUSED: the code is not right\n");
  EXPECT_FALSE(std::filesystem::exists(secret_));
}

// Two runs with one file: that of the other one stays, whichever came first.
TEST_F(EnrollTest, TheSecretOfAnotherRunStays) {
  bool finished = false;
  operators_.at_begin = [&] { WriteText(secret_, "other"); };
  operators_.at_finish = [&] { finished = true; };
  const auto late = Enroll(Status::OK);
  EXPECT_EQ(late.exit_code, 1);
  EXPECT_THAT(late.err, HasSubstr(secret_));
  EXPECT_FALSE(finished) << "nobody would have the secret that signerd then took";
  EXPECT_EQ(ReadText(secret_), "other");
  std::filesystem::remove(secret_);

  operators_.at_begin = [] {};
  operators_.at_finish = [&] {
    std::filesystem::rename(secret_, folder_ / "moved");
    WriteText(secret_, "other");
  };
  const auto early = Enroll(Refusal(grpc::UNAUTHENTICATED, "LOGIN_REFUSED", "the code is not right"));
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_EQ(ReadText(secret_), "other");
}

// Sends a ledger in pieces, and then says how that ended.
class FakeLedger final : public api::LedgerService::Service {
 public:
  Status end;
  std::function<void()> between = [] {};

 private:
  Status ExportLedger(ServerContext*, const api::ExportLedgerRequest*,
                      grpc::ServerWriter<api::ExportLedgerResponse>* writer) override {
    api::ExportLedgerResponse piece;
    for (const auto& [path, octets] :
         {std::pair("segments/00000000000000000000.seg", "one "), std::pair("segments/00000000000000000000.seg", "two"),
          std::pair("checkpoints", "three")}) {
      piece.set_path(path);
      piece.set_octets(octets);
      writer->Write(piece);
    }
    between();
    return end;
  }
  Status GetCheckpoint(ServerContext*, const api::GetCheckpointRequest*, api::Checkpoint* response) override {
    response->set_note("a note\n");
    return Status::OK;
  }
  Status GetInclusionProof(ServerContext*, const api::GetInclusionProofRequest*, api::InclusionProof*) override {
    return Status::OK;
  }
};

class LedgerTest : public testing::Test {
 protected:
  hallmark::ProgramResult Ledger(std::vector<std::string> words) {
    words.insert(words.begin(), "ledger");
    words.insert(words.end(), {"--dir", signerd_.directory()});
    return Dkimctl(words);
  }
  FakeLedger ledger_;
  FakeSignerd signerd_{nullptr, nullptr, {&ledger_}};
  TemporaryFolder folder_;
  const std::string copy_ = folder_ / "copy", part_ = copy_ + ".part";
};

TEST_F(LedgerTest, AnExportHasItsNameWhenItIsWhole) {
  bool under_way = false;
  ledger_.between = [&] { under_way = std::filesystem::exists(part_) && !std::filesystem::exists(copy_); };
  const auto run = Ledger({"export", copy_ + "/"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(under_way);
  EXPECT_FALSE(std::filesystem::exists(part_));
  EXPECT_EQ(ReadText(copy_ + "/segments/00000000000000000000.seg"), "one two");
  EXPECT_EQ(ReadText(copy_ + "/checkpoints"), "three");
  EXPECT_EQ(Ledger({"export", copy_}).exit_code, 1) << "there is something in it";
  std::filesystem::create_directory(folder_ / "empty");
  EXPECT_EQ(Ledger({"export", folder_ / "empty"}).exit_code, 0);
  EXPECT_EQ(ReadText(folder_ / "empty/checkpoints"), "three");
}

TEST_F(LedgerTest, AnExportThatEndsEarlyLeavesNothing) {
  ledger_.end = Refusal(grpc::INTERNAL, "STORAGE_FAILED", "a segment cannot be read");
  EXPECT_EQ(Ledger({"export", copy_}).exit_code, 1);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  // That of a run that was killed stays, and is neither taken for a whole one nor mixed with another.
  WriteText(part_ + "/checkpoints", "half");
  const auto run = Ledger({"export", copy_});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr(part_));
  EXPECT_EQ(ReadText(part_ + "/checkpoints"), "half");
}

TEST_F(LedgerTest, ACheckpointThatWasKeptIsNotReplaced) {
  const std::string file = folder_ / "kept";
  for (const std::vector<std::string>& words : {std::vector<std::string>{"checkpoint"}, {"prove", "7"}}) {
    std::vector<std::string> line = words;
    line.insert(line.end(), {"--out", file});
    EXPECT_EQ(Ledger(line).exit_code, 0);
    WriteText(file, "older");
    const auto run = Ledger(line);
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr(file + ": exists"));
    EXPECT_EQ(ReadText(file), "older");
    std::filesystem::remove(file);
  }
}

TEST_F(LedgerTest, AFileWithoutACheckpointIsWrongUsage) {
  const std::string file = folder_ / "kept";
  for (const char* text : {"", "\n\n"}) {
    WriteText(file, text);
    const auto run = Ledger({"verify", "--checkpoint", file});
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_THAT(run.err, HasSubstr("there is no checkpoint in " + file));
  }
}

TEST_F(LedgerTest, OfTooManyCheckpointsItIsSaidWhatToDo) {
  const std::string file = folder_ / "kept";
  WriteText(file, "");
  std::filesystem::resize_file(file, (16 << 20) + 1);
  const auto run = Ledger({"verify", "--checkpoint", file});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("more than 16 MiB"));
  EXPECT_THAT(run.err, HasSubstr("tail -n 60000 " + file));
  EXPECT_THAT(run.err, HasSubstr("ledger-verify"));
}

// Sends a backup in two pieces.
class FakeAppliance final : public api::ApplianceService::Service {
 public:
  std::function<void(const ServerContext&)> between = [](const ServerContext&) {};

 private:
  Status CreateBackup(ServerContext* context, const api::CreateBackupRequest*,
                      grpc::ServerWriter<api::CreateBackupResponse>* writer) override {
    api::CreateBackupResponse piece;
    piece.set_data("first ");
    writer->Write(piece);
    between(*context);
    piece.set_data("second");
    writer->Write(piece);
    return Status::OK;
  }
};

class BackupTest : public testing::Test {
 protected:
  hallmark::ProgramResult Create() { return Dkimctl({"backup", "create", file_, "--dir", signerd_.directory()}); }
  FakeAppliance appliance_;
  FakeSignerd signerd_{nullptr, nullptr, {&appliance_}};
  TemporaryFolder folder_;
  const std::string file_ = folder_ / "a.backup";
};

TEST_F(BackupTest, TwoRunsDoNotMixTheirFiles) {
  std::atomic<int> runs{0};
  std::optional<hallmark::ProgramResult> second;
  appliance_.between = [&](const ServerContext&) {
    if (++runs == 1) second = Create();
  };
  const auto first = Create();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->exit_code, 0) << second->err;
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_THAT(first.err, HasSubstr("exists"));
  EXPECT_EQ(ReadText(file_), "first second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(BackupTest, ALineThatIsCutEndsTheCall) {
  TcpProxy line(signerd_.port());
  signerd_.MoveTo(line.address());
  appliance_.between = [&](const ServerContext& context) {
    line.Cut();
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  const auto run = Create();
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("cannot reach signerd"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
