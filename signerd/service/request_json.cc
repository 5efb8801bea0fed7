#include "signerd/service/request_json.h"

#include <google/protobuf/util/json_util.h>

#include <memory>

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/options.pb.h"
#include "signerd/dkim/sha256.h"
#include "signerd/service/cut_text.h"

namespace hallmark::service {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::size_t kMost = 4096;

void ClearSecrets(Message& message) {
  const google::protobuf::Reflection* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->options().GetExtension(admin::v1::secret)) {
      reflection->ClearField(&message, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      // Of a map these are its entries.
      const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
      for (int i = 0; i < count; ++i) {
        ClearSecrets(field->is_repeated() ? *reflection->MutableRepeatedMessage(&message, field, i)
                                          : *reflection->MutableMessage(&message, field));
      }
    }
  }
}

}  // namespace

ShownRequest ShowRequest(const Message& request) {
  const std::unique_ptr<Message> shown(request.New());
  shown->CopyFrom(request);
  ClearSecrets(*shown);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(*shown, &json, options).ok()) return {"{}", ""};
  if (json.size() <= kMost) return {std::move(json), ""};
  std::string hash(AsText(dkim::Sha256Of(json)));
  return {CutText(std::move(json), kMost), std::move(hash)};
}

void SetRequest(const ShownRequest& shown, hallmark::ledger::v1::AdminAct& act) {
  act.set_request(shown.json);
  act.set_request_sha256(shown.sha256);
}

}  // namespace hallmark::service
