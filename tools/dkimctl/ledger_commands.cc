#include <google/protobuf/util/time_util.h>

#include <chrono>

#include "firmware/runtime/file.h"
#include "hallmark/admin/v1/ledger.grpc.pb.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/export_folder.h"
#include "tools/dkimctl/ledger_text.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/new_file.h"
#include "tools/dkimctl/progress.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
using Stub = api::LedgerService::Stub;

constexpr std::size_t kMostCheckpoints = 16u << 20;  // as signerd takes them

struct Options {
  api::SearchRecordsRequest search;
  std::string since, until, checkpoint, out, directory;
  std::uint64_t sequence = 0, from = 0;
  std::optional<std::uint64_t> to;
  std::int64_t keep_days = -1;
  bool use_default = false, yes = false;
};

Outcome Search(const Context& context, const Options& options) {
  api::SearchRecordsRequest request = options.search;
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  if (!options.since.empty()) {
    const auto time = TimeFrom(options.since, now);
    if (!time) return time.error();
    *request.mutable_since() = *time;
  }
  if (!options.until.empty()) {
    const auto time = TimeFrom(options.until, now);
    if (!time) return time.error();
    *request.mutable_until() = *time;
  }
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto page = client->Call(&Stub::SearchRecords, request);
  if (!page) return page.error();
  if (context.output == "csv") {
    PrintOut(RecordCsvHeadings());
    for (const auto& record : page->records()) PrintOut(RecordCsv(record));
    if (!page->next_page_token().empty()) Complain("more with --page " + page->next_page_token());
    return ExitCode::kDone;
  }
  const std::string more = page->next_page_token().empty() ? "" : "more with --page " + page->next_page_token() + "\n";
  Print(context, RecordTable(*page) + more, Json::Message(*page));
  return ExitCode::kDone;
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::GetRecordRequest request;
  request.set_sequence(options.sequence);
  const auto record = client->Call(&Stub::GetRecord, request);
  if (!record) return record.error();
  Print(context, RecordFacts(*record), Json::Message(*record));
  return ExitCode::kDone;
}

Outcome Prove(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::GetInclusionProofRequest request;
  request.set_sequence(options.sequence);
  const auto proof = client->Call(&Stub::GetInclusionProof, request);
  if (!proof) return proof.error();
  if (options.out.empty()) {
    PrintOut(ProofFile(*proof));
    return ExitCode::kDone;
  }
  const auto written = WriteNewFile(options.out, ProofFile(*proof));
  if (!written) return written.error();
  Print(context,
        options.out + ": record " + std::to_string(options.sequence) + " in a tree of " +
            std::to_string(proof->tree_size()) + " records\n",
        Json::Object()
            .Set("file", Json::Text(options.out))
            .Set("sequence", Json::Number(static_cast<std::int64_t>(options.sequence)))
            .Set("tree_size", Json::Number(static_cast<std::int64_t>(proof->tree_size()))));
  return ExitCode::kDone;
}

std::string Verdict(const api::VerifyLedgerResult& result) {
  // Of a ledger that is whole there are records, though what was kept cannot be compared with it.
  if (!result.whole())
    return (result.records() == 0 ? "NOT whole: " : "NOT compared: ") + OneLine(result.problem()) + "\n";
  std::string text = "whole: ";
  if (result.end_record() - result.first_record() != result.records()) {
    text +=
        "records " + std::to_string(result.first_record()) + " to " + std::to_string(result.end_record() - 1) + " of ";
  }
  text += std::to_string(result.records()) + " records, " + std::to_string(result.checkpoints()) + " checkpoints";
  if (result.deleted_records() != 0) {
    text += "; of records " + std::to_string(result.first_record()) + " to " +
            std::to_string(result.first_record() + result.deleted_records() - 1) + " only hashes are left";
  }
  return text + "\n";
}

Outcome Verify(const Context& context, const Options& options) {
  api::VerifyLedgerRequest request;
  if (options.to && *options.to < options.from) return WrongUsage("--to: comes before --from");
  request.set_first_record(options.from);
  if (options.to) request.set_end_record(*options.to + 1);
  if (!options.checkpoint.empty()) {
    auto kept = ReadFile(options.checkpoint, kMostCheckpoints);
    if (!kept && kept.error().reason == Reason::kInvalidArgument) {
      return WrongUsage("--checkpoint: " + options.checkpoint +
                        " has more than 16 MiB. Give the last 10000 checkpoints (tail -n 60000 " + options.checkpoint +
                        "), or compare all of them with an export (ledger-verify --checkpoint)");
    }
    if (!kept) return FromError(kept.error());
    // To signerd a request without checkpoints is one of somebody who kept none.
    if (kept->find_first_not_of(" \t\r\n") == std::string::npos) {
      return WrongUsage("--checkpoint: there is no checkpoint in " + options.checkpoint);
    }
    request.set_checkpoints(std::move(*kept));
  }
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::VerifyLedgerResult result;
  {
    CountBar bar("records");
    const auto done = client->Stream<Stub, api::VerifyLedgerRequest, api::VerifyLedgerResponse>(
        &Stub::VerifyLedger, request, [&](const api::VerifyLedgerResponse& response) -> Answer<void> {
          if (response.has_result()) result = response.result();
          if (response.has_progress()) bar.Show(response.progress().done(), response.progress().total());
          return {};
        });
    if (!done) return done.error();
  }
  const std::string text = Verdict(result);
  Print(context, text, Json::Message(result));
  return result.whole() ? ExitCode::kDone : ExitCode::kNotVerified;
}

Outcome Export(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  ExportFolder folder(options.directory);
  const auto begun = folder.Begin();
  if (!begun) return begun.error();
  std::uint64_t octets = 0;
  {
    CountBar bar("records");
    const auto done = client->Stream<Stub, api::ExportLedgerRequest, api::ExportLedgerResponse>(
        &Stub::ExportLedger, api::ExportLedgerRequest(), [&](const api::ExportLedgerResponse& piece) -> Answer<void> {
          octets += piece.octets().size();
          bar.Show(piece.progress().done(), piece.progress().total());
          return folder.Write(piece.path(), piece.octets());
        });
    if (!done) return done.error();
  }
  const auto kept = folder.Keep();
  if (!kept) return kept.error();
  Print(context, options.directory + ": " + std::to_string(octets) + " octets; check them with ledger-verify\n",
        Json::Object()
            .Set("folder", Json::Text(options.directory))
            .Set("octets", Json::Number(static_cast<std::int64_t>(octets))));
  return ExitCode::kDone;
}

Outcome Checkpoint(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto checkpoint = client->Call(&Stub::GetCheckpoint, api::GetCheckpointRequest());
  if (!checkpoint) return checkpoint.error();
  if (!options.out.empty()) {
    const auto written = WriteNewFile(options.out, checkpoint->note());
    if (!written) return written.error();
  }
  Print(context, checkpoint->note(), Json::Message(*checkpoint));
  return ExitCode::kDone;
}

Outcome Rebuild(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  std::uint64_t records = 0;
  {
    CountBar bar("records");
    const auto done = client->Stream<Stub, api::RebuildIndexRequest, api::RebuildIndexResponse>(
        &Stub::RebuildIndex, api::RebuildIndexRequest(),
        [&](const api::RebuildIndexResponse& response) -> Answer<void> {
          records = response.progress().done();
          bar.Show(records, response.progress().total());
          return {};
        });
    if (!done) return done.error();
  }
  Print(context, "indexed " + std::to_string(records) + " records\n",
        Json::Object().Set("records", Json::Number(static_cast<std::int64_t>(records))));
  return ExitCode::kDone;
}

std::string Days(std::int64_t days) { return days == 0 ? "for ever" : std::to_string(days) + " days"; }

Outcome Retention(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  auto now = client->Call(&Stub::GetRetention, api::GetRetentionRequest());
  if (!now) return now.error();
  if (options.keep_days >= 0 || options.use_default) {
    const std::int64_t days = options.use_default ? now->default_keep_days() : options.keep_days;
    const auto status = client->Call(&Stub::GetLedgerStatus, api::GetLedgerStatusRequest());
    if (!status) return status.error();
    if (!status->retention_problem().empty() && !options.yes &&
        !Confirm("At present: " + OneLine(status->retention_problem()) + " Set it?")) {
      return Failed(
          "nothing was set, because of that; where it is the clock, setting it says that the clock is right: --yes");
    }
    const bool shorter = days != 0 && (now->keep_days() == 0 || days < now->keep_days());
    if (shorter && !options.yes &&
        !Confirm("Delete records that are older than " + Days(days) + "? They cannot be brought back.")) {
      return Failed("this deletes records of the ledger for good; say --yes");
    }
    api::SetRetentionRequest request;
    if (options.use_default) {
      request.set_use_default(true);
    } else {
      request.set_keep_days(options.keep_days);
    }
    now = client->Call(&Stub::SetRetention, request);
    if (!now) return now.error();
  }
  Print(context,
        "records are kept " + Days(now->keep_days()) +
            (now->set_by_operator()
                 ? " (set by an operator; the configuration says " + Days(now->default_keep_days()) + ")"
                 : " (from the configuration)") +
            "\n",
        Json::Message(*now));
  return ExitCode::kDone;
}

Outcome ShowStatus(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto status = client->Call(&Stub::GetLedgerStatus, api::GetLedgerStatusRequest());
  if (!status) return status.error();
  Table table;
  table.Add({"written:", status->available() ? "yes" : "NO: nothing is signed"});
  table.Add({"records:", std::to_string(status->records())});
  table.Add({"first kept:", std::to_string(status->first_record())});
  table.Add({"under a checkpoint:", std::to_string(status->checkpointed_records())});
  table.Add({"indexed:", std::to_string(status->indexed_records()) + (status->rebuilding() ? " (rebuilding)" : "")});
  if (!status->index_problem().empty()) table.Add({"index problem:", OneLine(status->index_problem())});
  if (!status->retention_problem().empty()) table.Add({"retention problem:", OneLine(status->retention_problem())});
  if (status->has_sink()) {
    const auto& sink = status->sink();
    table.Add({"second sink:", std::string(sink.available() ? "yes" : "NO") + (sink.required() ? ", required" : "") +
                                   ", " + std::to_string(sink.written_records()) + " written, " +
                                   std::to_string(sink.dropped_records()) + " dropped"});
  }
  Print(context, table.Render(), Json::Message(*status));
  return ExitCode::kDone;
}

void AddSearch(CLI::App& group, Context& context, const std::shared_ptr<Options>& options) {
  CLI::App* search = AddCommand(group, context, "search", "Find records, newest first",
                                "dkimctl ledger search --domain example.com --since 24h\n"
                                "dkimctl ledger search --recipient bob@example.net\n"
                                "dkimctl ledger search --partner bank --output csv > bank.csv",
                                [&context, options] { return Search(context, *options); });
  search->remove_option(search->get_option("--output"));
  search->add_option("--output", context.output, "table (for people), json or csv")
      ->type_name("FORMAT")
      ->check([](const std::string& value) {
        return value == "table" || value == "json" || value == "csv"
                   ? ""
                   : "\"" + value + "\" is no format; expected table, json or csv";
      });
  auto* request = &options->search;
  search->add_option("--partner", *request->mutable_partner(), "Of this partner")->type_name("NAME");
  search->add_option("--domain", *request->mutable_signing_domain(), "Signed for this domain")->type_name("DOMAIN");
  search->add_option("--recipient", *request->mutable_recipient(), "To this address")->type_name("ADDRESS");
  search->add_option("--message-id", *request->mutable_message_id(), "With this Message-ID")->type_name("ID");
  search->add_option("--from", *request->mutable_from(), "From this author")->type_name("ADDRESS");
  search->add_option("--kind", *request->mutable_kind(), "signature, admin_act or alert")->type_name("KIND");
  search->add_option("--page", *request->mutable_page_token(), "Go on where a page ended")->type_name("TOKEN");
  search->add_option("--since", options->since, "Not before: 2026-01-31, RFC 3339, 36h, 7d")->type_name("TIME");
  search->add_option("--until", options->until, "Before this time")->type_name("TIME");
  search
      ->add_option_function<int>(
          "--limit", [request](int most) { request->set_page_size(most); }, "Most records of a page [100]")
      ->type_name("NUMBER")
      ->check(CLI::Range(1, 1000).description(""));
  search->add_flag_callback(
      "--oldest-first", [request] { request->set_oldest_first(true); }, "The oldest first");
  AddTimeout(*search, context);
}

void AddSequence(CLI::App& command, const std::shared_ptr<Options>& options) {
  command.add_option("RECORD", options->sequence, "Its number, as search shows it")->required()->type_name("");
}

}  // namespace

void AddLedgerCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "ledger", "What was signed, and proof of it", "dkimctl ledger search --since 1h");
  const auto options = std::make_shared<Options>();
  AddSearch(*group, context, options);

  CLI::App* show = AddCommand(*group, context, "show", "Show one record", "dkimctl ledger show 4711",
                              [&context, options] { return Show(context, *options); });
  AddSequence(*show, options);
  AddTimeout(*show, context);

  CLI::App* prove = AddCommand(*group, context, "prove", "Prove that a record is on the ledger",
                               "dkimctl ledger prove 4711 --out proof.json\nledger-verify --proof proof.json --key KEY",
                               [&context, options] { return Prove(context, *options); });
  AddSequence(*prove, options);
  prove->add_option("--out", options->out, "New file for the proof [standard output]")->type_name("FILE");
  AddTimeout(*prove, context);

  CLI::App* verify = AddCommand(*group, context, "verify", "Check the ledger; exit code 4: not whole",
                                "dkimctl ledger verify\n"
                                "dkimctl ledger verify --from 120000 --to 130000\n"
                                "dkimctl ledger verify --checkpoint kept-2026-01-31",
                                [&context, options] { return Verify(context, *options); });
  verify->add_option("--checkpoint", options->checkpoint, "Checkpoints you kept elsewhere, 16 MiB at most")
      ->type_name("FILE");
  verify->add_option("--from", options->from, "Only from this record on")->type_name("SEQUENCE");
  verify->add_option("--to", options->to, "Only up to this record")->type_name("SEQUENCE");
  AddAs(*verify, context);

  CLI::App* output = AddCommand(*group, context, "export", "Copy the ledger's files into a new folder",
                                "dkimctl ledger export ledger-copy\nledger-verify ledger-copy",
                                [&context, options] { return Export(context, *options); });
  output->add_option("FOLDER", options->directory, "Made anew")->required()->type_name("");
  AddAs(*output, context);

  CLI::App* checkpoint = AddCommand(*group, context, "checkpoint", "Show the newest signed head, to keep",
                                    "dkimctl ledger checkpoint --out kept-2026-01-31",
                                    [&context, options] { return Checkpoint(context, *options); });
  checkpoint->add_option("--out", options->out, "New file to write it to")->type_name("FILE");
  AddTimeout(*checkpoint, context);

  CLI::App* rebuild = AddCommand(*group, context, "rebuild-index", "Make the search index anew",
                                 "dkimctl ledger rebuild-index", [&context] { return Rebuild(context); });
  AddAs(*rebuild, context);

  CLI::App* retention = AddCommand(*group, context, "retention", "Show or set how long records are kept",
                                   "dkimctl ledger retention\ndkimctl ledger retention --keep-days 400",
                                   [&context, options] { return Retention(context, *options); });
  auto* days = retention->add_option("--keep-days", options->keep_days, "Days; 0: for ever")
                   ->type_name("NUMBER")
                   ->check(CLI::Range(0, 36500).description(""));
  retention->add_flag("--default", options->use_default, "Back to the configuration's")->excludes(days);
  retention->add_flag("--yes", options->yes, "Do not ask");
  AddTimeout(*retention, context);

  CLI::App* status = AddCommand(*group, context, "status", "How far ledger, checkpoints and index are",
                                "dkimctl ledger status", [&context] { return ShowStatus(context); });
  AddTimeout(*status, context);
}

}  // namespace hallmark::ctl
