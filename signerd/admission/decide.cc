#include <array>
#include <utility>

#include "firmware/runtime/time_text.h"
#include "signerd/admission/admission.h"
#include "signerd/dkim/ascii.h"
#include "signerd/snapshot/organizational_domain.h"

// The rules, one function each. A rule reads the question and what the rules before it have decided; it passes or
// refuses. `why`, null on the way of a message, takes a sentence when it passes: only an explanation pays for words.
namespace hallmark::admission {
namespace {

using snapshot::Alignment;
using snapshot::Domain;
using snapshot::Partner;

std::string Number(std::uint64_t number) { return std::to_string(number); }

Status CheckRelay(const Question& question, Decision&, std::string* why) {
  if (question.relay.state != snapshot::RelayState::kActive) {
    return MakeError(Reason::kCertificateRevoked, "relay " + question.relay.name + " is revoked");
  }
  if (why != nullptr) *why = "relay " + question.relay.name + " is active";
  return Ok();
}

Status CheckPartner(const Question& question, Decision& decision, std::string* why) {
  const auto partner = FindPartner(question.snapshot, question.relay, question.requested_partner);
  if (!partner) return partner.error();
  decision.partner = *partner;
  // A partner is cold when a message of it comes: what its rules will read comes together, not one after the other.
  (*partner)->author_domains.Prefetch();
  (*partner)->signing_domains.Prefetch();
  __builtin_prefetch((*partner)->addresses.data());
  if (why != nullptr) {
    *why = "relay " + question.relay.name + " may speak for partner " + (*partner)->name +
           (question.requested_partner.empty() ? ", which it is taken for as it names none" : "");
  }
  return Ok();
}

Status CheckState(const Question&, Decision& decision, std::string* why) {
  const Partner& partner = *decision.partner;
  if (partner.state == snapshot::PartnerState::kSuspended) {
    return MakeError(Reason::kPartnerSuspended, "partner " + partner.name + " is suspended");
  }
  if (partner.state == snapshot::PartnerState::kRevoked) {
    return MakeError(Reason::kPartnerRevoked, "partner " + partner.name + " is revoked");
  }
  if (why != nullptr) *why = "partner " + partner.name + " is active";
  return Ok();
}

Status CheckDates(const Question& question, Decision& decision, std::string* why) {
  const Partner& partner = *decision.partner;
  if (partner.not_before && question.now < *partner.not_before) {
    return MakeError(Reason::kPartnerNotValid,
                     "partner " + partner.name + " is not valid before " + TimeText(*partner.not_before));
  }
  if (partner.not_after && question.now >= *partner.not_after) {
    return MakeError(Reason::kPartnerNotValid,
                     "partner " + partner.name + " is not valid since " + TimeText(*partner.not_after));
  }
  if (why != nullptr) {
    *why = "valid from " + (partner.not_before ? TimeText(*partner.not_before) : "ever") + " until " +
           (partner.not_after ? TimeText(*partner.not_after) : "ever");
  }
  return Ok();
}

Status CheckAuthor(const Question& question, Decision& decision, std::string* why) {
  auto author = dkim::FindAuthor(question.header);
  if (!author) return author.error();
  decision.author = std::move(*author);
  if (why != nullptr) *why = "From has the author domain " + decision.author.domain;
  return Ok();
}

Status CheckAuthorDomain(const Question&, Decision& decision, std::string* why) {
  const std::string& domain = decision.author.domain;
  if (!decision.partner->author_domains.Match(domain)) {
    return MakeError(Reason::kAuthorNotAllowed,
                     "partner " + decision.partner->name + " may not send with the author domain " + domain);
  }
  if (why != nullptr) *why = "partner " + decision.partner->name + " may send with the author domain " + domain;
  return Ok();
}

bool IsAllowedAddress(const Partner& partner, const std::string& address, const std::string& domain) {
  for (const auto& pattern : partner.addresses) {
    if (pattern.Match(address, domain)) return true;
  }
  return false;
}

Status CheckAddresses(const Question&, Decision& decision, std::string* why) {
  const Partner& partner = *decision.partner;
  const dkim::Author& author = decision.author;
  if (partner.addresses.empty()) {
    if (why != nullptr) *why = "any address of the author domain";
    return Ok();
  }
  bool allowed = IsAllowedAddress(partner, author.address, author.domain);
  for (const std::string& other : author.others) allowed = allowed && IsAllowedAddress(partner, other, author.domain);
  if (!allowed) {
    return MakeError(Reason::kAuthorNotAllowed,
                     "partner " + partner.name + " may not send with " +
                         (author.others.empty() ? "this address in From" : "one of these addresses in From"));
  }
  if (why != nullptr) *why = "the address in From is among those that are allowed";
  return Ok();
}

std::string_view EndOf(std::string_view text, std::size_t octets) { return text.substr(text.size() - octets); }

// The longest configured domain that is the author domain or above it. Where the partner may use none of these names,
// that is all that is said: whether one of them is configured is the business of others.
Result<const Domain*> DomainByAuthor(const Question& question, const Decision& decision) {
  const Partner& partner = *decision.partner;
  const std::string& author = decision.author.domain;
  const auto not_allowed = [&](const char* more) {
    return MakeError(Reason::kDomainNotAllowed,
                     "partner " + partner.name + " may not sign for the author domain " + author + more);
  };
  const Domain* domain = question.snapshot.FindDomainFor(author);
  // Never a shorter one that it may use instead: that would sign for a domain in the name of its parent.
  if (domain != nullptr && partner.signing_domains.Match(EndOf(author, domain->name.size()))) return domain;
  if (!partner.signing_domains.MatchAny(author)) {
    return not_allowed(partner.alignment == Alignment::kOff ? "; name the signing domain in the request" : "");
  }
  if (domain != nullptr) return not_allowed("");
  return MakeError(Reason::kDomainNotConfigured, "no signing domain is configured for the author domain " + author);
}

Result<const Domain*> DomainByName(const Question& question, const Decision& decision) {
  const auto name = dkim::NormalizeDomain(question.requested_domain);
  if (!name) return MakeError(Reason::kInvalidArgument, "signing_domain: " + name.error().message);
  // Before anything about the domain is told: it may be another tenant's.
  if (!decision.partner->signing_domains.Match(*name)) {
    return MakeError(Reason::kDomainNotAllowed,
                     "partner " + decision.partner->name + " may not sign for the domain " + *name);
  }
  const Domain* domain = question.snapshot.FindDomain(*name);
  if (domain != nullptr) return domain;
  return MakeError(Reason::kDomainNotConfigured, "the signing domain " + *name + " is not configured");
}

Status ChooseDomain(const Question& question, Decision& decision, std::string* why) {
  const bool named = !question.requested_domain.empty();
  const auto domain = named ? DomainByName(question, decision) : DomainByAuthor(question, decision);
  if (!domain) return domain.error();
  decision.domain = *domain;
  if (why != nullptr) {
    *why = (*domain)->name + (named ? " was asked for" : " is the longest configured domain for the author domain") +
           ", and partner " + decision.partner->name + " may sign for it";
  }
  return Ok();
}

// What receivers will find (RFC 7489 section 3.1.1).
bool IsAligned(const std::string& author, const Domain& domain, Alignment alignment) {
  if (alignment == Alignment::kOff || author == domain.name) return true;
  if (alignment == Alignment::kStrict) return false;
  const std::string_view organizational = snapshot::OrganizationalDomain(author);
  return !organizational.empty() && organizational == snapshot::OrganizationalDomain(domain.name);
}

Status CheckAlignment(const Question&, Decision& decision, std::string* why) {
  const std::string& author = decision.author.domain;
  const Alignment alignment = decision.partner->alignment;
  if (!IsAligned(author, *decision.domain, alignment)) {
    return MakeError(Reason::kNotAligned,
                     "the author domain " + author + " and the signing domain " + decision.domain->name +
                         (alignment == Alignment::kStrict ? " are not the same, which strict alignment asks for"
                                                          : " have different organizational domains"));
  }
  if (why != nullptr) {
    *why = alignment == Alignment::kOff ? "the alignment of partner " + decision.partner->name + " is off"
                                        : author + " and " + decision.domain->name + " are aligned (" +
                                              (alignment == Alignment::kStrict ? "strict)" : "relaxed)");
  }
  return Ok();
}

Status CheckKeys(const Question&, Decision& decision, std::string* why) {
  const auto& keys = decision.domain->active_keys;
  if (keys.empty()) return MakeError(Reason::kNoActiveKey, decision.domain->name + " has no active key");
  if (why != nullptr) {
    *why = "active keys:";
    for (const auto& key : keys) *why += " " + key->selector;
  }
  return Ok();
}

bool Has(const dkim::Header& header, std::string_view name) {
  for (const dkim::Field& field : header.fields()) {
    if (dkim::EqualsIgnoringCase(field.name, name)) return true;
  }
  return false;
}

Status CheckFields(const Question& question, Decision& decision, std::string* why) {
  const snapshot::MessageRules& rules = decision.partner->message;
  const auto refusal = [&](Reason reason, const std::string& what) {
    return MakeError(reason, "the message of partner " + decision.partner->name + what);
  };
  if (rules.forbid_bcc && (Has(question.header, "bcc") || Has(question.header, "resent-bcc"))) {
    return refusal(Reason::kFieldForbidden, " must carry no Bcc");
  }
  if (rules.require_date && !Has(question.header, "date")) return refusal(Reason::kFieldRequired, " must carry a Date");
  if (rules.require_message_id && !Has(question.header, "message-id")) {
    return refusal(Reason::kFieldRequired, " must carry a Message-ID");
  }
  if (why != nullptr) *why = "no field is missing or forbidden";
  return Ok();
}

Status CheckLineEnds(const Question& question, Decision& decision, std::string* why) {
  const dkim::LineFacts& facts = question.header.line_facts();
  const dkim::SigningProfile& profile = *decision.domain->profile;
  const bool bare = facts.bare_lf != 0 || facts.bare_cr != 0;
  if (bare && profile.line_endings == dkim::LineEndings::kRefuse) {
    return MakeError(Reason::kBareLineEnding, "the header has " + Number(facts.bare_lf) + " bare LF and " +
                                                  Number(facts.bare_cr) + " bare CR, and the signing profile " +
                                                  profile.name + " refuses them: end every line with CRLF");
  }
  if (why != nullptr)
    *why = bare ? "bare CR and LF in the header count as CRLF" : "every line of the header ends in CRLF";
  return Ok();
}

Status CheckOctets(const Question& question, Decision& decision, std::string* why) {
  if (question.octets) {
    const Status size = CheckSize(*decision.partner, *question.octets);
    if (!size) return size;
  }
  if (why != nullptr) {
    const std::uint64_t most = decision.partner->message.max_octets;
    *why = (question.octets ? Number(*question.octets) + " octets" : "size not known yet") +
           (most == 0 ? ", no limit" : ", at most " + Number(most));
  }
  return Ok();
}

Status CheckRecipients(const Question& question, Decision& decision, std::string* why) {
  const std::uint64_t most = decision.partner->quota.recipients_per_message;
  if (most != 0 && question.recipients > most) {
    return MakeError(Reason::kRecipientsExceeded, "the message has " + Number(question.recipients) +
                                                      " recipients, partner " + decision.partner->name + " may have " +
                                                      Number(most) + " a message");
  }
  if (why != nullptr) {
    *why = Number(question.recipients) + " recipients" + (most == 0 ? ", no limit" : ", at most " + Number(most));
  }
  return Ok();
}

struct Rule {
  std::string_view name;
  Status (*check)(const Question&, Decision&, std::string* why);
};
// In this order: who, then for whom, then what. Nothing about a domain is said before it is known whose it is.
constexpr std::array kRules = {
    Rule{"relay", &CheckRelay},
    Rule{"partner", &CheckPartner},
    Rule{"partner's state", &CheckState},
    Rule{"partner's dates", &CheckDates},
    Rule{"author", &CheckAuthor},
    Rule{"author domain", &CheckAuthorDomain},
    Rule{"author address", &CheckAddresses},
    Rule{"signing domain", &ChooseDomain},
    Rule{"alignment", &CheckAlignment},
    Rule{"active key", &CheckKeys},
    Rule{"header fields", &CheckFields},
    Rule{"line ends", &CheckLineEnds},
    Rule{"size", &CheckOctets},
    Rule{"recipients", &CheckRecipients},
};

}  // namespace

Result<Decision> Decide(const Question& question, Trace* trace) {
  Decision decision;
  std::string why;
  for (const Rule& rule : kRules) {
    const Status passed = rule.check(question, decision, trace == nullptr ? nullptr : &why);
    if (trace != nullptr) trace->push_back({rule.name, passed.has_value(), passed ? why : passed.error().message});
    if (!passed) return passed.error();
  }
  return decision;
}

std::vector<std::string_view> RuleNames() {
  std::vector<std::string_view> names;
  for (const Rule& rule : kRules) names.push_back(rule.name);
  return names;
}

}  // namespace hallmark::admission
