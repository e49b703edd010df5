#include "runtime/text/sentencepiece_encoder.h"

#include <sentencepiece_processor.h>

namespace ternion {

class SentencePieceEncoder::Library {
 public:
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceEncoder::SentencePieceEncoder() : library_(std::make_unique<Library>()) {}
SentencePieceEncoder::~SentencePieceEncoder() = default;

bool SentencePieceEncoder::Load(const std::string& model, std::string* error) {
  const sentencepiece::util::Status status = library_->processor.LoadFromSerializedProto(model);
  if (!status.ok()) *error = status.ToString();
  return status.ok();
}

bool SentencePieceEncoder::Encode(std::string_view text, std::vector<int>* ids, std::string* error) const {
  std::vector<int> more;
  const sentencepiece::util::Status status = library_->processor.Encode(text, &more);
  if (!status.ok()) *error = status.ToString();
  ids->insert(ids->end(), more.begin(), more.end());
  return status.ok();
}

}  // namespace ternion
