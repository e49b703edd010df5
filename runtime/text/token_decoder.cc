#include "runtime/text/token_decoder.h"

#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/byte_level.h"
#include "runtime/text/metaspace.h"
#include "runtime/text/utf8.h"

namespace ternion {

std::optional<char> ByteOfSpelling(std::string_view spelling) {
  if (spelling.size() != 6 || spelling.substr(0, 3) != "<0x" || spelling.back() != '>') return std::nullopt;
  int value = 0;
  for (const char digit : spelling.substr(3, 2)) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(digit))) return std::nullopt;
    value = value * 16 + (absl::ascii_isdigit(static_cast<unsigned char>(digit)) ? digit - '0'
                                                                                 : (digit | 0x20) - 'a' + 10);
  }
  return static_cast<char>(value);
}

absl::StatusOr<TokenDecoder> TokenDecoder::FromJson(const JsonNode& node) {
  TokenDecoder result;
  TERNION_RETURN_IF_ERROR(result.Add(node));
  if (result.byte_level_ && !result.steps_.empty()) {
    return node.Unimplemented("ByteLevel beside other decoders is not supported");
  }
  return result;
}

absl::Status TokenDecoder::Add(const JsonNode& node) {
  TERNION_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Sequence") return AddSequence(node);
  if (type == "Replace") return AddReplace(node);
  if (type == "Metaspace") return AddMetaspace(node);
  if (type == "Strip") return AddStrip(node);
  if (type == "ByteLevel") {
    byte_level_ = true;
  } else if (type == "ByteFallback") {
    steps_.emplace_back();
  } else if (type == "Fuse") {
    fused_ = true;
  } else {
    return node.Unimplemented(absl::StrCat("decoder \"", type, "\" is not supported"));
  }
  return absl::OkStatus();
}

absl::Status TokenDecoder::AddSequence(const JsonNode& node) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode items, node.Field("decoders"));
  TERNION_RETURN_IF_ERROR(items.ExpectArray());
  for (size_t i = 0; i < items.value().size(); ++i) TERNION_RETURN_IF_ERROR(Add(items.Item(i)));
  return absl::OkStatus();
}

absl::Status TokenDecoder::AddReplace(const JsonNode& node) {
  if (fused_) return node.Unimplemented("Replace behind Fuse is not supported");
  TERNION_ASSIGN_OR_RETURN(const JsonNode pattern, node.Field("pattern"));
  if (!pattern.Has("String")) return pattern.Unimplemented("only a \"String\" is supported");
  Step step;
  TERNION_ASSIGN_OR_RETURN(step.from, pattern.String("String"));
  TERNION_ASSIGN_OR_RETURN(step.to, node.String("content"));
  if (step.from.empty()) return pattern.Invalid("is empty");
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status TokenDecoder::AddMetaspace(const JsonNode& node) {
  if (fused_ || !leading_.empty())
    return node.Unimplemented("Metaspace behind Fuse or Strip is not supported");
  TERNION_ASSIGN_OR_RETURN(const Metaspace metaspace, Metaspace::FromJson(node));
  steps_.push_back({metaspace.mark(), " "});
  if (!metaspace.prepends()) return absl::OkStatus();
  leading_.assign(1, ' ');
  most_leading_ = std::numeric_limits<size_t>::max();
  first_token_only_ = true;
  return absl::OkStatus();
}

absl::Status TokenDecoder::AddStrip(const JsonNode& node) {
  TERNION_ASSIGN_OR_RETURN(const std::string content, node.String("content"));
  TERNION_ASSIGN_OR_RETURN(const int64_t start, node.Int("start"));
  TERNION_ASSIGN_OR_RETURN(const int64_t stop, node.Int("stop"));
  if (CountCharacters(content) != 1 || start < 0 || stop < 0) {
    return node.Invalid("content must be one character, and start and stop counts of it");
  }
  if (start == 0 && stop == 0) return absl::OkStatus();
  if (!fused_ || stop > 0 || !leading_.empty()) {
    return node.Unimplemented("only one Strip behind Fuse, with a stop of 0, is supported");
  }
  leading_ = content;
  most_leading_ = static_cast<size_t>(start);
  return absl::OkStatus();
}

std::string TokenDecoder::Bytes(std::string_view spelling) const {
  if (byte_level_) return FromByteLevel(spelling).value_or(std::string(spelling));
  std::string bytes(spelling);
  for (const Step& step : steps_) {
    if (!step.from.empty()) {
      bytes = ReplaceAll(bytes, step.from, step.to);
    } else if (const std::optional<char> byte = ByteOfSpelling(bytes)) {
      return {*byte};  // what follows acts on characters
    }
  }
  return bytes;
}

size_t TokenDecoder::Leading(std::string_view text, size_t first_token) const {
  if (leading_.empty()) return 0;
  if (first_token_only_) text = text.substr(0, first_token);
  size_t at = 0;
  for (size_t i = 0; i < most_leading_ && text.substr(at, leading_.size()) == leading_; ++i)
    at += leading_.size();
  return at;
}

}  // namespace ternion
