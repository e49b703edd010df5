#include "runtime/text/post_processor.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

absl::Status AppendSpecial(const JsonNode& processor, const JsonNode& piece, const Vocabulary& vocabulary,
                           std::vector<int32_t>& out) {
  TERNION_ASSIGN_OR_RETURN(const std::string name, piece.String("id"));
  TERNION_ASSIGN_OR_RETURN(const JsonNode tokens, processor.Field("special_tokens"));
  TERNION_ASSIGN_OR_RETURN(const JsonNode token, tokens.Field(name));
  TERNION_ASSIGN_OR_RETURN(const JsonNode ids, token.Field("ids"));
  TERNION_RETURN_IF_ERROR(ids.ExpectArray());
  for (const nlohmann::json& id : ids.value()) {
    if (!id.is_number_integer() || !vocabulary.Contains(id.get<int64_t>())) {
      return ids.Invalid("holds something that is no token's id");
    }
    out.push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<PostProcessor> ReadTemplate(const JsonNode& processor, const Vocabulary& vocabulary) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode pieces, processor.Field("single"));
  TERNION_RETURN_IF_ERROR(pieces.ExpectArray());
  PostProcessor result;
  int texts = 0;
  for (size_t i = 0; i < pieces.value().size(); ++i) {
    const JsonNode piece = pieces.Item(i);
    if (piece.Has("Sequence")) {
      ++texts;
      continue;
    }
    TERNION_ASSIGN_OR_RETURN(const JsonNode special, piece.Field("SpecialToken"));
    std::vector<int32_t>& side = texts == 0 ? result.before : result.after;
    TERNION_RETURN_IF_ERROR(AppendSpecial(processor, special, vocabulary, side));
  }
  if (texts != 1) return pieces.Invalid(absl::StrCat("holds the text ", texts, " times, not once"));
  return result;
}

absl::StatusOr<PostProcessor> ReadSequence(const JsonNode& node, const Vocabulary& vocabulary) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode processors, node.Field("processors"));
  TERNION_RETURN_IF_ERROR(processors.ExpectArray());
  PostProcessor result;
  for (size_t i = 0; i < processors.value().size(); ++i) {
    const JsonNode item = processors.Item(i);
    TERNION_ASSIGN_OR_RETURN(PostProcessor one, PostProcessor::FromJson(item, vocabulary));
    if (one.empty()) continue;
    if (!result.empty()) return item.Unimplemented("a second processor that adds tokens is not supported");
    result = std::move(one);
  }
  return result;
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::FromJson(const JsonNode& node, const Vocabulary& vocabulary) {
  TERNION_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "ByteLevel") return PostProcessor{};
  if (type == "TemplateProcessing") return ReadTemplate(node, vocabulary);
  if (type == "Sequence") return ReadSequence(node, vocabulary);
  return node.Unimplemented(absl::StrCat("post-processor \"", type, "\" is not supported"));
}

}  // namespace ternion
