#include "runtime/text/normalizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/text_pattern.h"
#include "runtime/text/unicode_form.h"

namespace ternion {
namespace {

class Prepend : public NormalizerStep {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  absl::StatusOr<std::string> Apply(std::string_view text, std::vector<TextEdit>* edits) const override {
    if (edits != nullptr) edits->push_back({0, 0, prefix_.size()});
    return absl::StrCat(prefix_, ToAbsl(text));
  }

 private:
  std::string prefix_;
};

class Replace : public NormalizerStep {
 public:
  Replace(Regex pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::StatusOr<std::string> Apply(std::string_view text, std::vector<TextEdit>* edits) const override {
    const RegexMatcher matcher(pattern_);
    std::string result;
    result.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      TERNION_ASSIGN_OR_RETURN(const RegexMatch match, matcher.Find(text, at));
      result += text.substr(at, match.begin - at);
      at = match.end;
      if (!match.found) break;
      result += content_;
      if (edits != nullptr) edits->push_back({match.begin, match.end - match.begin, content_.size()});
    }
    return result;
  }

 private:
  Regex pattern_;
  std::string content_;
};

absl::StatusOr<std::shared_ptr<const NormalizerStep>> ReadStep(const JsonNode& node) {
  TERNION_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Prepend") {
    TERNION_ASSIGN_OR_RETURN(std::string prefix, node.String("prepend"));
    return std::make_shared<Prepend>(std::move(prefix));
  }
  if (type == "Replace") {
    TERNION_ASSIGN_OR_RETURN(const JsonNode pattern, node.Field("pattern"));
    TERNION_ASSIGN_OR_RETURN(Regex regex, CompilePattern(pattern));
    TERNION_ASSIGN_OR_RETURN(std::string content, node.String("content"));
    return std::make_shared<Replace>(std::move(regex), std::move(content));
  }
  auto form = MakeUnicodeForm(type);
  if (absl::IsNotFound(form.status())) {
    return node.Unimplemented(absl::StrCat("normalizer \"", type, "\" is not supported"));
  }
  if (!form.ok()) return node.Locate(form.status());
  return *std::move(form);
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::FromJson(const JsonNode& node) {
  Normalizer result;
  if (!node.value().is_null()) TERNION_RETURN_IF_ERROR(result.Add(node));
  return result;
}

absl::Status Normalizer::Add(const JsonNode& node) {
  TERNION_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type != "Sequence") {
    TERNION_ASSIGN_OR_RETURN(steps_.emplace_back(), ReadStep(node));
    return absl::OkStatus();
  }
  TERNION_ASSIGN_OR_RETURN(const JsonNode items, node.Field("normalizers"));
  TERNION_RETURN_IF_ERROR(items.ExpectArray());
  for (size_t i = 0; i < items.value().size(); ++i) TERNION_RETURN_IF_ERROR(Add(items.Item(i)));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Normalizer::Normalize(std::string_view text,
                                                  std::vector<TextRange>* plain) const {
  std::string result(text);
  for (const auto& step : steps_) {
    if (result.empty()) break;
    std::vector<TextEdit> edits;
    const bool ask = plain != nullptr && !plain->empty();
    TERNION_ASSIGN_OR_RETURN(result, step->Apply(result, ask ? &edits : nullptr));
    if (ask) *plain = MoveRanges(*plain, edits);
  }
  return result;
}

}  // namespace ternion
