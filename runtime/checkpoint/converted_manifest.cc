#include "runtime/checkpoint/converted_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/json.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/checkpoint/sha256.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "ternion-converted";
// Of the folder's layout and of everything that is packed in it. A change of kernels/cpu/ternary_layout.h is a new one.
constexpr int64_t kVersion = 2;
constexpr size_t kMostBytes = size_t{1} << 28;
constexpr int64_t kMostRanks = 4096;
constexpr int64_t kMostCount = int64_t{1} << 50;
constexpr size_t kMostDimensions = 4;
constexpr size_t kShaDigits = 64, kXxhDigits = 16;

constexpr DType kDTypes[] = {DType::kU8, DType::kBF16, DType::kF16, DType::kF32};

json TensorsJson(const std::vector<WrittenTensor>& tensors) {
  json list = json::array();
  for (const WrittenTensor& tensor : tensors) {
    list.push_back({{"name", tensor.name},
                    {"dtype", DTypeName(tensor.dtype)},
                    {"shape", tensor.shape},
                    {"sha256", tensor.sha256}});
  }
  return list;
}

json WeightsJson(const WeightsFormat& weights) {
  switch (weights.kind) {
    case WeightKind::kTernary:
      return {{"kind", "ternary"}};
    case WeightKind::kUniform:
      return {{"kind", "uniform"},
              {"bits", weights.uniform.bits},
              {"group", weights.uniform.group},
              {"row_scales", weights.row_scales},
              {"scale", weights.uniform.scale == ScaleType::kFloat16 ? "F16" : "F32"}};
    case WeightKind::kDense:
      return {{"kind", "dense"}, {"dtype", weights.dense == DenseType::kFloat16 ? "F16" : "BF16"}};
  }
  return {};
}

json ToDocument(const ConvertedManifest& manifest) {
  json document = {{"format", kFormat},
                   {"version", kVersion},
                   {"packing", PackingName(manifest.packing)},
                   {"source", {{"name", manifest.source}, {"digest", manifest.source_digest}}},
                   {"tp", manifest.tp},
                   {"pp", manifest.pp},
                   {"weights", WeightsJson(manifest.weights)},
                   {"ranks", json::array()},
                   {"files", json::array()}};
  for (const RankFile& rank : manifest.ranks) {
    document["ranks"].push_back({{"file", rank.name},
                                 {"bytes", rank.bytes},
                                 {"samples", rank.samples},
                                 {"tensors", TensorsJson(rank.tensors)}});
  }
  for (const KeptFile& file : manifest.files) {
    document["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  return document;
}

std::string Text(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

// A name with a folder in it could lead anywhere on the disk.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.front() != '.' && name.find('/') == name.npos && name.find('\0') == name.npos;
}

bool IsHex(std::string_view text, size_t digits) {
  const auto is_digit = [](unsigned char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); };
  return text.size() == digits && std::all_of(text.begin(), text.end(), is_digit);
}

// An object in the manifest; errors name the file and the way to it.
class Node {
 public:
  Node(const json& value, std::string where) : value_(value), where_(std::move(where)) {}

  absl::Status Wrong(std::string_view field, std::string_view right) const {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": ", ToAbsl(field), " must be ", ToAbsl(right)));
  }
  absl::StatusOr<std::string> String(const char* field) const {
    const json* found = Find(field);
    if (found == nullptr || !found->is_string()) return Wrong(field, "a string");
    return found->get<std::string>();
  }
  absl::StatusOr<std::string> Hex(const char* field, size_t digits) const {
    TERNION_ASSIGN_OR_RETURN(std::string text, String(field));
    if (!IsHex(text, digits)) return Wrong(field, absl::StrCat(digits, " hex digits"));
    return text;
  }
  absl::StatusOr<std::string> FileName(const char* field) const {
    TERNION_ASSIGN_OR_RETURN(std::string text, String(field));
    if (!IsPlainFileName(text)) return Wrong(field, "the name of a file in the same folder");
    return text;
  }
  absl::StatusOr<int64_t> Count(const char* field, int64_t least, int64_t most) const {
    const json* found = Find(field);
    const bool count = found != nullptr && found->is_number_unsigned() &&
                       found->get<uint64_t>() <= static_cast<uint64_t>(most);
    if (!count || found->get<int64_t>() < least) {
      return Wrong(field, absl::StrCat("a whole number from ", least, " to ", most));
    }
    return found->get<int64_t>();
  }
  absl::StatusOr<const json*> List(const char* field) const {
    const json* found = Find(field);
    if (found == nullptr || !found->is_array()) return Wrong(field, "a list");
    return found;
  }
  absl::StatusOr<Node> Object(const char* field) const {
    const json* found = Find(field);
    if (found == nullptr || !found->is_object()) return Wrong(field, "an object");
    return Node(*found, absl::StrCat(where_, ": ", field));
  }
  Node Item(const char* field, size_t i) const {
    return {(*Find(field))[i], absl::StrCat(where_, ": ", field, "[", i, "]")};
  }
  const json* Find(const char* field) const {
    const auto found = value_.is_object() ? value_.find(field) : value_.end();
    return !value_.is_object() || found == value_.end() ? nullptr : &*found;
  }

 private:
  const json& value_;
  const std::string where_;
};

absl::StatusOr<WrittenTensor> ReadTensor(const Node& node) {
  WrittenTensor tensor;
  TERNION_ASSIGN_OR_RETURN(tensor.name, node.String("name"));
  TERNION_ASSIGN_OR_RETURN(const std::string dtype, node.String("dtype"));
  const auto known = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                  [&](DType one) { return DTypeName(one) == dtype; });
  if (known == std::end(kDTypes)) return node.Wrong("dtype", "U8, BF16, F16 or F32");
  tensor.dtype = *known;
  TERNION_ASSIGN_OR_RETURN(const json* shape, node.List("shape"));
  const auto is_side = [](const json& side) {
    return side.is_number_unsigned() && side.get<uint64_t>() <= static_cast<uint64_t>(kMostCount);
  };
  if (shape->empty() || shape->size() > kMostDimensions ||
      !std::all_of(shape->begin(), shape->end(), is_side)) {
    return node.Wrong("shape", "one to four counts");
  }
  tensor.shape = shape->get<std::vector<int64_t>>();
  TERNION_ASSIGN_OR_RETURN(tensor.sha256, node.Hex("sha256", kShaDigits));
  return tensor;
}

absl::StatusOr<RankFile> ReadRank(const Node& node) {
  RankFile rank;
  TERNION_ASSIGN_OR_RETURN(rank.name, node.FileName("file"));
  TERNION_ASSIGN_OR_RETURN(rank.bytes, node.Count("bytes", 1, kMostCount));
  TERNION_ASSIGN_OR_RETURN(rank.samples, node.Hex("samples", kXxhDigits));
  TERNION_ASSIGN_OR_RETURN(const json* tensors, node.List("tensors"));
  for (size_t i = 0; i < tensors->size(); ++i) {
    TERNION_ASSIGN_OR_RETURN(WrittenTensor tensor, ReadTensor(node.Item("tensors", i)));
    rank.tensors.push_back(std::move(tensor));
  }
  return rank;
}

absl::StatusOr<KeptFile> ReadFile(const Node& node) {
  KeptFile file;
  TERNION_ASSIGN_OR_RETURN(file.name, node.FileName("name"));
  TERNION_ASSIGN_OR_RETURN(file.bytes, node.Count("bytes", 0, kMostCount));
  TERNION_ASSIGN_OR_RETURN(file.sha256, node.Hex("sha256", kShaDigits));
  return file;
}

absl::StatusOr<WeightsFormat> ReadUniformFormat(const Node& node) {
  constexpr int64_t kMostGroup = int64_t{1} << 20, kGroupUnit = 32;
  WeightsFormat weights;
  weights.kind = WeightKind::kUniform;
  TERNION_ASSIGN_OR_RETURN(const int64_t bits, node.Count("bits", 2, 4));
  weights.uniform.bits = static_cast<int>(bits);
  TERNION_ASSIGN_OR_RETURN(weights.uniform.group, node.Count("group", 0, kMostGroup));
  if (weights.uniform.group % kGroupUnit != 0) return node.Wrong("group", "a multiple of 32");
  TERNION_ASSIGN_OR_RETURN(weights.row_scales, node.Count("row_scales", 1, kMostRanks));
  TERNION_ASSIGN_OR_RETURN(const std::string scale, node.String("scale"));
  if (scale != "F16" && scale != "F32") return node.Wrong("scale", "\"F16\" or \"F32\"");
  weights.uniform.scale = scale == "F16" ? ScaleType::kFloat16 : ScaleType::kFloat32;
  return weights;
}

absl::StatusOr<WeightsFormat> ReadWeights(const Node& node) {
  TERNION_ASSIGN_OR_RETURN(const std::string kind, node.String("kind"));
  if (kind == "uniform") return ReadUniformFormat(node);
  WeightsFormat weights;
  if (kind == "ternary") return weights;
  if (kind != "dense") return node.Wrong("kind", "\"ternary\", \"uniform\" or \"dense\"");
  weights.kind = WeightKind::kDense;
  TERNION_ASSIGN_OR_RETURN(const std::string dtype, node.String("dtype"));
  if (dtype != "F16" && dtype != "BF16") return node.Wrong("dtype", "\"F16\" or \"BF16\"");
  weights.dense = dtype == "F16" ? DenseType::kFloat16 : DenseType::kBFloat16;
  return weights;
}

absl::Status CheckVersion(const Node& node, std::string_view where) {
  TERNION_ASSIGN_OR_RETURN(const std::string format, node.String("format"));
  if (format != kFormat) return node.Wrong("format", absl::StrCat("\"", kFormat, "\""));
  TERNION_ASSIGN_OR_RETURN(const int64_t version, node.Count("version", 0, kMostCount));
  if (version == kVersion) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(ToAbsl(where), ": is of version ", version,
                                               "; this program reads ", kVersion,
                                               ": convert the source again"));
}

absl::StatusOr<ConvertedManifest> ReadDocument(const json& document, std::string_view where) {
  const Node node(document, std::string(where));
  TERNION_RETURN_IF_ERROR(CheckVersion(node, where));
  ConvertedManifest manifest;
  TERNION_ASSIGN_OR_RETURN(const std::string packing, node.String("packing"));
  const bool five = packing == PackingName(TernaryPacking::kFiveTrits);
  if (!five && packing != PackingName(TernaryPacking::kCpu)) {
    return node.Wrong("packing", "\"cpu\" or \"five-trits\"");
  }
  manifest.packing = five ? TernaryPacking::kFiveTrits : TernaryPacking::kCpu;
  TERNION_ASSIGN_OR_RETURN(const Node source, node.Object("source"));
  TERNION_ASSIGN_OR_RETURN(manifest.source, source.String("name"));
  TERNION_ASSIGN_OR_RETURN(manifest.source_digest, source.Hex("digest", kXxhDigits));
  TERNION_ASSIGN_OR_RETURN(manifest.tp, node.Count("tp", 1, kMostRanks));
  TERNION_ASSIGN_OR_RETURN(manifest.pp, node.Count("pp", 1, kMostRanks));
  TERNION_ASSIGN_OR_RETURN(const Node weights, node.Object("weights"));
  TERNION_ASSIGN_OR_RETURN(manifest.weights, ReadWeights(weights));
  TERNION_ASSIGN_OR_RETURN(const json* ranks, node.List("ranks"));
  for (size_t i = 0; i < ranks->size(); ++i) {
    TERNION_ASSIGN_OR_RETURN(RankFile rank, ReadRank(node.Item("ranks", i)));
    manifest.ranks.push_back(std::move(rank));
  }
  TERNION_ASSIGN_OR_RETURN(const json* files, node.List("files"));
  for (size_t i = 0; i < files->size(); ++i) {
    TERNION_ASSIGN_OR_RETURN(KeptFile file, ReadFile(node.Item("files", i)));
    manifest.files.push_back(std::move(file));
  }
  TERNION_ASSIGN_OR_RETURN(const std::string digest, node.Hex("digest", kShaDigits));
  if (digest == manifest.Digest()) return manifest;
  return absl::DataLossError(
      absl::StrCat(ToAbsl(where),
                   ": its digest is not that of its contents: it was changed, so convert the source again"));
}

}  // namespace

std::string_view PackingName(TernaryPacking packing) {
  return packing == TernaryPacking::kCpu ? "cpu" : "five-trits";
}

WeightsFormat FormatOf(const ModelConfig& config) {
  WeightsFormat weights;
  weights.kind = config.weight_kind;
  if (config.weight_kind == WeightKind::kUniform) {
    weights.uniform = config.uniform;
    weights.row_scales = config.row_scales;
  }
  if (config.weight_kind == WeightKind::kDense) weights.dense = config.dense;
  return weights;
}

std::string ConvertedManifest::Digest() const { return Sha256Of(Text(ToDocument(*this))); }

std::string ConvertedManifest::ToJson() const {
  json document = ToDocument(*this);
  document["digest"] = Sha256Of(Text(document));
  return Text(document) + "\n";
}

absl::StatusOr<ConvertedManifest> ConvertedManifest::Parse(std::string_view text, std::string_view where) {
  TERNION_ASSIGN_OR_RETURN(const json document, ParseJson(text, where, absl::StatusCode::kInvalidArgument));
  return ReadDocument(document, where);
}

absl::StatusOr<ConvertedManifest> ConvertedManifest::Read(const std::filesystem::path& file) {
  TERNION_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file, kMostBytes));
  return Parse(text, file.string());
}

bool IsConverted(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / kManifestFile, ignored);
}

std::string RankFileName(int rank, int ranks) {
  return absl::StrCat("rank-", rank, "-of-", ranks, ".safetensors");
}

}  // namespace ternion
