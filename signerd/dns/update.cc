#include "signerd/dns/update.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "signerd/dns/exchange.h"
#include "signerd/dns/message.h"
#include "signerd/dns/tsig.h"
#include "signerd/dns/zone.h"

namespace hallmark::dns {
namespace {

constexpr std::size_t kMostValue = 65'279;  // what is left of a record's 65,535 octets, one for each string taken off

Error Refused(const std::string& what) { return MakeError(Reason::kDnsRefused, what); }

void AddEmpty(ldns_rr_list* list, const ldns_rdf* owner, ldns_rr_type type, ldns_rr_class record_class) {
  ldns_rr* record = ldns_rr_new();
  ldns_rr_set_owner(record, ldns_rdf_clone(owner));
  ldns_rr_set_type(record, type);
  ldns_rr_set_class(record, record_class);
  ldns_rr_set_ttl(record, 0);
  ldns_rr_list_push_rr(list, record);
}

// One change of one name at one server. What is there is read first; the update then says, as prerequisites, that it is
// still so. What looks foreign may be a wildcard's: the update is then tried as if nothing were there, and the server,
// for which a wildcard is no record of the name (RFC 2136 section 3.2), decides.
class Change {
 public:
  Change(const UpdaterOptions& options, const ldns_rdf* name, std::span<const std::string> ours)
      : options_(options), name_(name), ours_(ours), server_(options.server.address) {}

  // Until it is as wanted, or attempts are used up.
  Status Apply(const ldns_rr* wanted) {
    Status done = MakeError(Reason::kDnsUnavailable, "not tried");
    for (unsigned attempt = 0; attempt < options_.attempts; ++attempt) {
      done = Try(wanted);
      if (done || done.error().reason != Reason::kDnsUnavailable) return done;
    }
    return done;
  }

 private:
  Status Try(const ldns_rr* wanted) {
    const auto zone = FindZone(name_, [&](const ldns_rdf* name, ldns_rr_type type) { return Ask(name, type); });
    if (!zone) return zone.error();
    const auto there = Ask(name_, LDNS_RR_TYPE_TXT);
    if (!there) return there.error();
    if (HasDname(there->get())) return Conflict("an alias above it (DNAME)");
    auto records = Select(ldns_pkt_answer(there->get()), name_, LDNS_RR_TYPE_TXT);
    const std::string foreign = Foreign(there->get(), records, wanted);
    if (!foreign.empty()) records.clear();
    if (foreign.empty() && IsAsWanted(records, wanted)) return Ok();
    return Update(zone->get(), records, wanted, foreign);
  }

  // What the server has, which must have the authority to say so.
  Result<Packet> Ask(const ldns_rdf* name, ldns_rr_type type) {
    const Question question{options_.server, Question::Transport::kTcp, MakeQuery(name, type, Asking::kServer)};
    const auto wire = std::move(Exchange({&question, 1}, options_.timeout, 1).front());
    if (!wire) return Unavailable(wire.error().message);
    auto answer = ParseAnswer(question.message, *wire);
    if (!answer) return Unavailable(answer.error().message);
    const ldns_pkt_rcode rcode = ldns_pkt_get_rcode(answer->get());
    if (rcode == LDNS_RCODE_SERVFAIL) return Unavailable("SERVFAIL");
    const bool usable = rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN;
    if (!usable || !ldns_pkt_aa(answer->get())) {
      return Refused("the server " + server_ + " is not authoritative for " + NameText(name_) + " (" +
                     RcodeText(answer->get()) + "): name the primary server of its zone");
    }
    return answer;
  }

  static bool HasDname(const ldns_pkt* answer) {
    const ldns_rr_list* records = ldns_pkt_answer(answer);
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(records); ++i) {
      if (ldns_rr_get_type(ldns_rr_list_rr(records, i)) == LDNS_RR_TYPE_DNAME) return true;
    }
    return false;
  }

  // What is there that may not be replaced; empty where there is no such thing.
  std::string Foreign(const ldns_pkt* answer, const std::vector<const ldns_rr*>& records, const ldns_rr* wanted) const {
    const auto aliases = Select(ldns_pkt_answer(answer), name_, LDNS_RR_TYPE_CNAME);
    if (!aliases.empty()) return "an alias to " + NameText(ldns_rr_rdf(aliases.front(), 0));
    for (const ldns_rr* record : records) {
      const std::string value = TxtValue(record);
      const bool ours = std::find(ours_.begin(), ours_.end(), value) != ours_.end();
      if (!ours && (wanted == nullptr || value != TxtValue(wanted))) return "the record " + Shortened(value);
    }
    return "";
  }

  static bool IsAsWanted(const std::vector<const ldns_rr*>& records, const ldns_rr* wanted) {
    if (wanted == nullptr) return records.empty();
    return records.size() == 1 && TxtValue(records[0]) == TxtValue(wanted) &&
           ldns_rr_ttl(records[0]) == ldns_rr_ttl(wanted);
  }

  Status Update(const ldns_rdf* zone, const std::vector<const ldns_rr*>& records, const ldns_rr* wanted,
                const std::string& foreign) {
    const Packet request = MakeUpdate(zone, records, wanted);
    if (!request) return MakeError(Reason::kInternal, "no memory for an update");
    if (options_.key) {
      if (const Status signed_well = SignRequest(request.get(), *options_.key); !signed_well) return signed_well;
    }
    std::uint8_t* raw = nullptr;
    std::size_t size = 0;
    const ldns_status status = ldns_pkt2wire(&raw, request.get(), &size);
    const std::unique_ptr<std::uint8_t, LdnsFree<std::free>> freed(raw);
    if (status != LDNS_STATUS_OK) return MakeError(Reason::kInternal, ldns_get_errorstr_by_id(status));
    const Question question{options_.server, Question::Transport::kTcp, Bytes(raw, raw + size)};
    const auto wire = std::move(Exchange({&question, 1}, options_.timeout, 1).front());
    if (!wire) return Unavailable(wire.error().message);
    const auto answer = ParseAnswer(question.message, *wire);
    if (!answer) return Unavailable(answer.error().message);
    if (options_.key) {
      const Status genuine = CheckAnswer(request.get(), answer->get(), *wire, *options_.key);
      if (!genuine) return Refused("the server " + server_ + ": " + genuine.error().message);
    }
    return Outcome(answer->get(), zone, foreign);
  }

  // RFC 2136: the prerequisites (section 2.4) are what was read; then the set is deleted and the record added (2.5).
  Packet MakeUpdate(const ldns_rdf* zone, const std::vector<const ldns_rr*>& records, const ldns_rr* wanted) const {
    const Records prerequisites(ldns_rr_list_new()), updates(ldns_rr_list_new());
    AddEmpty(prerequisites.get(), name_, LDNS_RR_TYPE_CNAME, LDNS_RR_CLASS_NONE);
    if (records.empty()) AddEmpty(prerequisites.get(), name_, LDNS_RR_TYPE_TXT, LDNS_RR_CLASS_NONE);
    for (const ldns_rr* record : records) {
      ldns_rr* same = ldns_rr_clone(record);
      ldns_rr_set_ttl(same, 0);
      ldns_rr_list_push_rr(prerequisites.get(), same);
    }
    if (!records.empty()) AddEmpty(updates.get(), name_, LDNS_RR_TYPE_TXT, LDNS_RR_CLASS_ANY);
    if (wanted != nullptr) ldns_rr_list_push_rr(updates.get(), ldns_rr_clone(wanted));
    Packet request(
        ldns_update_pkt_new(ldns_rdf_clone(zone), LDNS_RR_CLASS_IN, prerequisites.get(), updates.get(), nullptr));
    if (request) ldns_pkt_set_random_id(request.get());
    return request;
  }

  // What the server says of the update (RFC 2136 section 2.2).
  Status Outcome(const ldns_pkt* answer, const ldns_rdf* zone, const std::string& foreign) const {
    const std::string what = RcodeText(answer) + ": the server " + server_ + " ";
    switch (ldns_pkt_get_rcode(answer)) {
      case LDNS_RCODE_NOERROR: return Ok();
      case LDNS_RCODE_YXDOMAIN:
      case LDNS_RCODE_YXRRSET:
      case LDNS_RCODE_NXRRSET:
      case LDNS_RCODE_NXDOMAIN:
        if (!foreign.empty()) return Conflict(foreign);
        return Unavailable("the records at " + NameText(name_) + " change meanwhile");
      case LDNS_RCODE_SERVFAIL: return Unavailable("SERVFAIL");
      case LDNS_RCODE_REFUSED:
        return Refused(what + "does not let " + Who() + " update " + NameText(name_) + ": allow it there");
      case LDNS_RCODE_NOTAUTH:  // Some servers say so where others say REFUSED.
        return Refused(what + "does not let " + Who() + " update the zone " + NameText(zone) +
                       ", or is not its primary server: allow it there, or name that one");
      case LDNS_RCODE_NOTIMPL: return Refused(what + "takes no dynamic updates");
      default: return Refused(what + "does not take the update of " + NameText(zone));
    }
  }

  std::string Who() const { return options_.key ? "the key \"" + options_.key->name + "\"" : "clients without a key"; }
  Error Unavailable(const std::string& why) const {
    return MakeError(Reason::kDnsUnavailable, "the server " + server_ + ": " + why);
  }
  Error Conflict(const std::string& what) const {
    return MakeError(Reason::kRecordConflict, NameText(name_) + " has " + what +
                                                  ", which is not ours: remove it there, or use another selector");
  }

  const UpdaterOptions& options_;
  const ldns_rdf* name_;
  std::span<const std::string> ours_;
  std::string server_;
};

}  // namespace

Result<Updater> Updater::Create(UpdaterOptions options) {
  if (options.attempts == 0 || options.timeout.count() <= 0) {
    return MakeError(Reason::kInvalidArgument, "an updater needs at least one attempt and a time-out above zero");
  }
  const auto address = ParseNameserver(options.server.address);
  if (!address) return address.error();
  return Updater(std::move(options));
}

Status Updater::PutTxt(const std::string& name, const std::string& value, std::uint32_t ttl,
                       std::span<const std::string> ours) {
  const auto owner = ParseName(name);
  if (!owner) return owner.error();
  if (value.size() > kMostValue) return MakeError(Reason::kInvalidArgument, "the value is too long for a TXT record");
  const Record wanted = MakeTxt(owner->get(), ttl, value);
  return Change(options_, owner->get(), ours).Apply(wanted.get());
}

Status Updater::RemoveTxt(const std::string& name, std::span<const std::string> ours) {
  const auto owner = ParseName(name);
  if (!owner) return owner.error();
  return Change(options_, owner->get(), ours).Apply(nullptr);
}

}  // namespace hallmark::dns
