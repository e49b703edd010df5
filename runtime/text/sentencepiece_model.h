#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace ternion {

enum class PieceType : int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct SentencePiece {
  std::string text;  // a space is U+2581
  float score = 0;
  PieceType type = PieceType::kNormal;

  bool is_special() const { return type == PieceType::kControl || type == PieceType::kUnknown; }
};

// What a SentencePiece model (a tokenizer.model, or the same in a GGUF file) holds, as far as it tells how text is encoded:
// message ModelProto of sentencepiece_model.proto.
struct SentencePieceModel {
  enum class Kind : int32_t { kUnigram = 1, kBpe = 2 };

  Kind kind = Kind::kUnigram;
  std::vector<SentencePiece> pieces;  // by id
  bool byte_fallback = false;         // characters that no piece has are spelled by the pieces of their bytes
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  bool add_dummy_prefix = true;          // a space in front
  bool remove_extra_whitespaces = true;  // all but one of several, and those at the ends
  bool escape_whitespaces = true;

  // kInvalidArgument: malformed; kUnimplemented: words or characters as pieces, a table of character rewritings, white space
  // behind words. Checked as by Check.
  static absl::StatusOr<SentencePieceModel> Parse(std::string_view bytes);
  // kInvalidArgument: what libsentencepiece takes for granted does not hold.
  absl::Status Check() const;
  // As a tokenizer.model.
  std::string Serialize() const;
  // The id of a control piece; -1: there is none of that name.
  int32_t FindControl(std::string_view text) const;
};

}  // namespace ternion
