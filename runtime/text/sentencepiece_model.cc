#include "runtime/text/sentencepiece_model.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/protobuf_wire.h"
#include "runtime/text/token_decoder.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

// Numbers of fields in sentencepiece_model.proto.
enum ModelField : uint32_t { kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5 };
enum PieceField : uint32_t { kText = 1, kScore = 2, kType = 3 };
enum TrainerField : uint32_t {
  kModelType = 3,
  kWhitespaceAsSuffix = 24,
  kByteFallback = 35,
  kUnknownPiece = 45,
  kBosPiece = 46,
  kEosPiece = 47
};
enum NormalizerField : uint32_t { kCharacterMap = 2, kDummyPrefix = 3, kRemoveSpaces = 4, kEscapeSpaces = 5 };

constexpr size_t kMostPieces = size_t{1} << 22;
constexpr size_t kMostPieceBytes = 4096;
// libsentencepiece looks for user-defined pieces with room for 64 that begin alike.
constexpr size_t kMostNested = 64;

template <typename Take>
absl::Status ForEachField(std::string_view message, const Take& take) {
  ProtobufReader reader(message);
  while (!reader.AtEnd()) {
    TERNION_ASSIGN_OR_RETURN(const ProtobufField field, reader.Next());
    TERNION_RETURN_IF_ERROR(take(field));
  }
  return absl::OkStatus();
}

absl::StatusOr<SentencePiece> ReadPiece(std::string_view message) {
  SentencePiece piece;
  const absl::Status read = ForEachField(message, [&](const ProtobufField& field) {
    if (field.number == kText) piece.text = field.bytes;
    if (field.number == kScore) piece.score = field.AsFloat();
    if (field.number != kType) return absl::OkStatus();
    if (field.value < 1 || field.value > 6) {
      return absl::InvalidArgumentError(absl::StrCat("has the type ", field.value, "; types are 1 to 6"));
    }
    piece.type = static_cast<PieceType>(field.value);
    return absl::OkStatus();
  });
  if (!read.ok()) return read;
  return piece;
}

absl::Status ReadTrainer(std::string_view message, SentencePieceModel& model) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (field.number == kModelType) {
      if (field.value != 1 && field.value != 2) {
        return absl::UnimplementedError(absl::StrCat("trainer_spec.model_type is ", field.value,
                                                     "; only 1 (UNIGRAM) and 2 (BPE) are supported"));
      }
      model.kind = static_cast<SentencePieceModel::Kind>(field.value);
    }
    if (field.number == kWhitespaceAsSuffix && field.value != 0) {
      return absl::UnimplementedError("trainer_spec.treat_whitespace_as_suffix is not supported");
    }
    if (field.number == kByteFallback) model.byte_fallback = field.value != 0;
    if (field.number == kBosPiece) model.bos_piece = field.bytes;
    if (field.number == kEosPiece) model.eos_piece = field.bytes;
    return absl::OkStatus();
  });
}

absl::Status ReadNormalizer(std::string_view message, SentencePieceModel& model) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (field.number == kCharacterMap && !field.bytes.empty()) {
      return absl::UnimplementedError(
          "normalizer_spec.precompiled_charsmap is not supported; normalization \"identity\", which has "
          "none, is");
    }
    if (field.number == kDummyPrefix) model.add_dummy_prefix = field.value != 0;
    if (field.number == kRemoveSpaces) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == kEscapeSpaces) model.escape_whitespaces = field.value != 0;
    return absl::OkStatus();
  });
}

absl::Status CheckPiece(const SentencePiece& piece) {
  if (piece.text.empty()) return absl::InvalidArgumentError("is empty");
  if (piece.text.size() > kMostPieceBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", piece.text.size(), " bytes; it may have ", kMostPieceBytes));
  }
  if (FindInvalidUtf8(piece.text) != std::string::npos) return absl::InvalidArgumentError("is not UTF-8");
  if (piece.text.find('\0') != std::string::npos) return absl::InvalidArgumentError("holds a zero byte");
  if (!std::isfinite(piece.score)) return absl::InvalidArgumentError("has a score that is no finite number");
  if (piece.type == PieceType::kByte && !ByteOfSpelling(piece.text).has_value()) {
    return absl::InvalidArgumentError("has the type of bytes; these are <0x00> to <0xFF>");
  }
  return absl::OkStatus();
}

absl::Status CheckUserDefined(const std::vector<SentencePiece>& pieces) {
  std::vector<std::string_view> defined;
  for (const SentencePiece& piece : pieces) {
    if (piece.type == PieceType::kUserDefined) defined.push_back(piece.text);
  }
  std::sort(defined.begin(), defined.end());
  std::vector<std::string_view> around;  // each begins the next
  for (const std::string_view text : defined) {
    while (!around.empty() && text.substr(0, around.back().size()) != around.back()) around.pop_back();
    around.push_back(text);
    if (around.size() > kMostNested) {
      return absl::InvalidArgumentError(
          absl::StrCat("more than ", kMostNested, " user-defined pieces begin one another"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SentencePieceModel> SentencePieceModel::Parse(std::string_view bytes) {
  SentencePieceModel model;
  const absl::Status read = ForEachField(bytes, [&](const ProtobufField& field) -> absl::Status {
    if (field.number == kTrainer) return ReadTrainer(field.bytes, model);
    if (field.number == kNormalizer) return ReadNormalizer(field.bytes, model);
    if (field.number == kDenormalizer) return ReadNormalizer(field.bytes, model);
    if (field.number != kPieces) return absl::OkStatus();
    if (model.pieces.size() == kMostPieces) {
      return absl::InvalidArgumentError(absl::StrCat("has more than ", kMostPieces, " pieces"));
    }
    absl::StatusOr<SentencePiece> piece = ReadPiece(field.bytes);
    if (!piece.ok()) {
      return {piece.status().code(),
              absl::StrCat("piece ", model.pieces.size(), ": ", piece.status().message())};
    }
    model.pieces.push_back(*std::move(piece));
    return absl::OkStatus();
  });
  if (!read.ok()) return read;
  TERNION_RETURN_IF_ERROR(model.Check());
  return model;
}

absl::Status SentencePieceModel::Check() const {
  std::array<int, 256> byte_pieces{};
  int unknown = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const absl::Status piece = CheckPiece(pieces[id]);
    if (!piece.ok()) return {piece.code(), absl::StrCat("piece ", id, ": ", piece.message())};
    if (pieces[id].type == PieceType::kUnknown) ++unknown;
    if (pieces[id].type == PieceType::kByte)
      ++byte_pieces[static_cast<uint8_t>(*ByteOfSpelling(pieces[id].text))];
  }
  if (unknown != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", unknown, " unknown pieces among ", pieces.size(), "; it must have one"));
  }
  if (byte_fallback && std::count(byte_pieces.begin(), byte_pieces.end(), 1) != 256) {
    return absl::InvalidArgumentError("has byte_fallback, but not one piece for each of the 256 bytes");
  }
  if (!escape_whitespaces)
    return absl::UnimplementedError("normalizer_spec.escape_whitespaces false is not supported");
  return CheckUserDefined(pieces);
}

std::string SentencePieceModel::Serialize() const {
  ProtobufWriter model;
  std::string unknown;
  for (const SentencePiece& piece : pieces) {
    ProtobufWriter message;
    message.Bytes(kText, piece.text);
    message.Float(kScore, piece.score);
    message.Varint(kType, static_cast<uint64_t>(piece.type));
    model.Bytes(kPieces, message.bytes());
    if (piece.type == PieceType::kUnknown) unknown = piece.text;
  }
  ProtobufWriter trainer;
  trainer.Varint(kModelType, static_cast<uint64_t>(kind));
  trainer.Varint(kByteFallback, byte_fallback ? 1 : 0);
  trainer.Bytes(kUnknownPiece, unknown);
  model.Bytes(kTrainer, trainer.bytes());
  ProtobufWriter normalizer;
  normalizer.Varint(kDummyPrefix, add_dummy_prefix ? 1 : 0);
  normalizer.Varint(kRemoveSpaces, remove_extra_whitespaces ? 1 : 0);
  normalizer.Varint(kEscapeSpaces, escape_whitespaces ? 1 : 0);
  model.Bytes(kNormalizer, normalizer.bytes());
  return model.bytes();
}

int32_t SentencePieceModel::FindControl(std::string_view text) const {
  const auto found = std::find_if(pieces.begin(), pieces.end(), [&](const SentencePiece& piece) {
    return piece.type == PieceType::kControl && piece.text == text;
  });
  return found == pieces.end() ? -1 : static_cast<int32_t>(found - pieces.begin());
}

}  // namespace ternion
