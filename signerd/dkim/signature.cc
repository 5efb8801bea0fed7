#include "signerd/dkim/signature.h"

#include <algorithm>
#include <cstdio>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/canonical.h"
#include "signerd/dkim/field_selection.h"
#include "signerd/dkim/sha256.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kColumns = 78;            // RFC 5322 section 2.1.1
constexpr std::size_t kSignatureColumn = 72;    // base64 characters on a line of b=
constexpr std::size_t kMaxCopiedOctets = 8192;  // of fields, before encoding

// Writes a field and folds it. What is given in one piece stays in one piece.
class FoldingWriter {
 public:
  explicit FoldingWriter(std::string_view start) : text_(start), column_(start.size()) {}

  // A piece after a space, on a new line where it does not fit.
  void AddSpaced(std::string_view piece) {
    if (column_ + 1 + piece.size() > kColumns) {
      Fold();
    } else {
      text_.push_back(' ');
      ++column_;
    }
    Append(piece);
  }
  // A piece directly behind the last one, on a new line where it does not fit with `reserved` columns after it.
  void AddJoined(std::string_view piece, std::size_t reserved = 0) {
    if (column_ + piece.size() + reserved > kColumns) Fold();
    Append(piece);
  }
  void Fold() {
    text_.append("\r\n ");
    column_ = 1;
  }
  void Append(std::string_view piece) {
    text_.append(piece);
    column_ += piece.size();
  }
  std::string& text() { return text_; }

 private:
  std::string text_;
  std::size_t column_;
};

// RFC 6376 section 2.11, with '|' (the separator of z=) encoded too. One element for each octet, so that a fold never
// cuts an encoded one.
template <class Add>
void AddQuotedPrintable(std::string_view text, Add add) {
  for (const char c : text) {
    if (c > ' ' && c < '\x7f' && c != ';' && c != '=' && c != '|') {
      add(std::string_view(&c, 1));
    } else {
      char encoded[4];
      std::snprintf(encoded, sizeof encoded, "=%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      add(std::string_view(encoded, 3));
    }
  }
}

std::string_view NameOf(Canonicalization canonicalization) {
  return canonicalization == Canonicalization::kSimple ? "simple" : "relaxed";
}

// i=, with its domain as an A-label and its local part in quoted-printable, so that the field stays ASCII.
Result<std::string> AuidTag(const std::string& auid, std::string_view signing_domain) {
  const std::size_t at = auid.rfind('@');
  const auto domain = NormalizeDomain(std::string_view(auid).substr(at + 1));
  if (!domain) return domain.error();
  const bool within =
      *domain == signing_domain || (domain->size() > signing_domain.size() && domain->ends_with(signing_domain) &&
                                    (*domain)[domain->size() - signing_domain.size() - 1] == '.');
  if (!within) {
    return MakeError(Reason::kInvalidArgument,
                     "the profile's auid " + auid + " is not within the signing domain " + std::string(signing_domain));
  }
  std::string tag = "i=";
  AddQuotedPrintable(std::string_view(auid).substr(0, at), [&](std::string_view piece) { tag.append(piece); });
  return tag + "@" + *domain + ";";
}

void AddNames(FoldingWriter& writer, const std::vector<std::string_view>& names) {
  std::string piece;
  for (std::size_t i = 0; i < names.size(); ++i) {
    piece.assign(i == 0 ? "h=" : "").append(names[i]).push_back(i + 1 == names.size() ? ';' : ':');
    if (i == 0) {
      writer.AddSpaced(piece);
    } else {
      writer.AddJoined(piece);
    }
  }
}

// z=: the signed fields as they were, for whoever has to find out what broke a signature (RFC 6376 section 3.5). A fold
// may stand anywhere but in a field name. What would make the field too large for some receivers is left out.
void AddCopies(FoldingWriter& writer, const std::vector<const Field*>& fields) {
  std::size_t copied = 0;
  for (const Field* field : fields) {
    if (copied + field->raw.size() > kMaxCopiedOctets) continue;
    if (copied == 0) {
      writer.AddSpaced("z=");
    } else {
      writer.AddJoined("|");
    }
    copied += field->raw.size();
    std::string name;
    AddQuotedPrintable(field->name, [&](std::string_view piece) { name.append(piece); });
    writer.AddJoined(name + ":");
    AddQuotedPrintable(field->value.substr(0, field->value.size() - 2),
                       [&](std::string_view piece) { writer.AddJoined(piece, 1); });
  }
  if (copied != 0) writer.AddJoined(";");
}

// A caller's mistake must not become a tag of its own in the field, or a field of its own in the header.
Status CheckIdentity(const SignatureSpec& spec) {
  const auto domain = NormalizeDomain(spec.domain);
  if (!domain) return domain.error();
  if (*domain != spec.domain)
    return MakeError(Reason::kInvalidArgument, "the signing domain is not in lower case with A-labels");
  return ValidateSelector(spec.selector);
}

std::string Seconds(std::chrono::sys_seconds time) { return std::to_string(time.time_since_epoch().count()); }

}  // namespace

Result<SignedFields> CanonicalizeFields(const Header& header, const PreparedProfile& profile) {
  auto selection = SelectFields(header, profile.fields);
  if (!selection) return selection.error();
  SignedFields fields{std::move(*selection), {}};
  for (const Field* field : fields.selection.fields) {
    AppendCanonicalField(profile.header, field->raw, fields.canonical);
  }
  return fields;
}

Status CheckAuidFor(const SigningProfile& profile, std::string_view signing_domain) {
  if (profile.auid.empty()) return Ok();
  const auto tag = AuidTag(profile.auid, signing_domain);
  return tag ? Ok() : Status(tag.error());
}

Result<PreparedSignature> PrepareSignature(const SignatureSpec& spec) {
  const SigningProfile& profile = spec.profile;
  const FieldSelection& selection = spec.fields.selection;
  const Status identity = CheckIdentity(spec);
  if (!identity) return identity.error();

  FoldingWriter writer("DKIM-Signature:");
  writer.AddSpaced("v=1;");
  writer.AddSpaced("a=" + std::string(InfoOf(spec.algorithm).name) + ";");
  writer.AddSpaced("c=" + std::string(NameOf(profile.header)) + "/" + std::string(NameOf(spec.body_canonicalization)) +
                   ";");
  writer.AddSpaced("d=" + std::string(spec.domain) + ";");
  if (!profile.auid.empty()) {
    const auto tag = AuidTag(profile.auid, spec.domain);
    if (!tag) return tag.error();
    writer.AddSpaced(*tag);
  }
  if (profile.query_method) writer.AddSpaced("q=dns/txt;");
  writer.AddSpaced("s=" + std::string(spec.selector) + ";");
  if (profile.timestamp) writer.AddSpaced("t=" + Seconds(spec.time) + ";");
  if (profile.expires_after) writer.AddSpaced("x=" + Seconds(spec.time + *profile.expires_after) + ";");
  if (profile.body_length) writer.AddSpaced("l=" + std::to_string(spec.body_hash.length) + ";");
  AddNames(writer, selection.names);
  if (profile.copied_fields) AddCopies(writer, selection.fields);
  writer.AddSpaced("bh=" + Base64Encode(spec.body_hash.digest) + ";");
  writer.Fold();
  writer.Append("b=");

  PreparedSignature prepared;
  prepared.field = std::move(writer.text());
  prepared.signed_data = spec.fields.canonical;
  AppendCanonicalField(profile.header, prepared.field + "\r\n", prepared.signed_data);
  prepared.signed_data.resize(prepared.signed_data.size() - 2);  // the signature field itself goes in without its CRLF
  prepared.digest = Sha256Of(prepared.signed_data);
  return prepared;
}

std::string AssembleField(const PreparedSignature& prepared, ByteView signature) {
  const std::string value = Base64Encode(signature);
  std::string field = prepared.field;
  for (std::size_t start = 0; start < value.size(); start += kSignatureColumn) {
    if (start != 0) field.append("\r\n ");
    field.append(value, start, kSignatureColumn);
  }
  return field + "\r\n";
}

}  // namespace hallmark::dkim
