#include "signerd/service/request_json.h"

#include <google/protobuf/util/json_util.h>

#include <memory>

#include "hallmark/admin/v1/options.pb.h"
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

std::string RequestJson(const Message& request) {
  const std::unique_ptr<Message> shown(request.New());
  shown->CopyFrom(request);
  ClearSecrets(*shown);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(*shown, &json, options).ok()) return "{}";
  return CutText(std::move(json), kMost);
}

}  // namespace hallmark::service
