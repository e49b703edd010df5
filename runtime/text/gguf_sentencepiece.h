#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// The SentencePiece tokenizer in a GGUF file's metadata, of model "llama": pieces are merged by their scores, and what is not
// said is as llama.cpp has it (a space in front, a BOS, no EOS). User-defined tokens without spaces are added tokens: they are
// looked for in a text before it is cut into pieces. Independent of `gguf` afterwards. kInvalidArgument, naming the file and the key.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeGgufSentencePieceTokenizer(const Gguf& gguf);

}  // namespace ternion
