#include "signerd/store/rows.h"

namespace hallmark::store {

std::string JoinLines(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& entry : list) text += (text.empty() ? "" : "\n") + entry;
  return text;
}

std::vector<std::string> SplitLines(const std::string& text) {
  std::vector<std::string> list;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    list.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return list;
}

Statement& BindProfile(Statement& statement, const dkim::SigningProfile& profile) {
  return statement.Bind(1, profile.name)
      .Bind(2, static_cast<std::int64_t>(profile.header))
      .Bind(3, static_cast<std::int64_t>(profile.body))
      .Bind(4, JoinLines(profile.signed_fields))
      .Bind(5, JoinLines(profile.oversigned_fields))
      .Bind(6, JoinLines(profile.excluded_fields))
      .Bind(7, static_cast<std::int64_t>(profile.line_endings))
      .Bind(8, profile.auid)
      .Bind(9, static_cast<std::int64_t>(profile.expires_after.value_or(std::chrono::seconds(0)).count()))
      .Bind(10, static_cast<std::int64_t>(profile.timestamp))
      .Bind(11, static_cast<std::int64_t>(profile.query_method))
      .Bind(12, static_cast<std::int64_t>(profile.copied_fields))
      .Bind(13, static_cast<std::int64_t>(profile.body_length));
}

dkim::SigningProfile ReadProfile(const Statement& row) {
  dkim::SigningProfile profile;
  profile.name = row.Text(0);
  profile.header = static_cast<dkim::Canonicalization>(row.Integer(1));
  profile.body = static_cast<dkim::Canonicalization>(row.Integer(2));
  profile.signed_fields = SplitLines(row.Text(3));
  profile.oversigned_fields = SplitLines(row.Text(4));
  profile.excluded_fields = SplitLines(row.Text(5));
  profile.line_endings = static_cast<dkim::LineEndings>(row.Integer(6));
  profile.auid = row.Text(7);
  profile.expires_after.reset();
  if (row.Integer(8) > 0) profile.expires_after = std::chrono::seconds(row.Integer(8));
  profile.timestamp = row.Integer(9) != 0;
  profile.query_method = row.Integer(10) != 0;
  profile.copied_fields = row.Integer(11) != 0;
  profile.body_length = row.Integer(12) != 0;
  return profile;
}

Result<snapshot::Key> ReadKey(const Statement& row) {
  snapshot::Key key;
  key.domain = row.Text(0);
  key.selector = row.Text(1);
  key.token = row.Text(2);
  key.cka_id = row.Blob(3);
  auto public_key = dkim::PublicKey::FromRecordedSpki(row.Blob(4));
  if (!public_key) {
    return MakeError(Reason::kStorageFailed, "the recorded public key of " + key.selector + "._domainkey." +
                                                 key.domain + " is damaged: " + public_key.error().message);
  }
  key.public_key = std::make_shared<const dkim::PublicKey>(std::move(*public_key));
  key.state = static_cast<snapshot::KeyState>(row.Integer(5));
  key.created = ReadTime(row, 6);
  key.state_since = ReadTime(row, 7);
  key.record = static_cast<snapshot::RecordState>(row.Integer(8));
  key.exposed = row.Integer(9) != 0;
  return key;
}

}  // namespace hallmark::store
