#include "runtime/cache/kv_cache.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {

namespace {

struct NamedFormat {
  std::string_view name;
  KvFormat format;
};
constexpr NamedFormat kFormats[] = {{"f32", KvFormat::kF32},         {"f16", KvFormat::kF16},
                                    {"int8", KvFormat::kInt8},       {"int4", KvFormat::kInt4},
                                    {"int3", KvFormat::kInt3},       {"int4-g32", KvFormat::kInt4G32},
                                    {"int3-g32", KvFormat::kInt3G32}};

}  // namespace

absl::StatusOr<KvFormat> ParseKvFormat(std::string_view name) {
  std::string names;
  for (const NamedFormat& known : kFormats) {
    if (name == known.name) return known.format;
    absl::StrAppend(&names, names.empty() ? "" : ", ", ToAbsl(known.name));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--kv-cache ", ToAbsl(name), " is not a format; there are ", names));
}

std::string_view KvFormatName(KvFormat format) {
  for (const NamedFormat& known : kFormats) {
    if (format == known.format) return known.name;
  }
  CHECK(false, "not a KV format");
}

absl::Status CheckKvFormat(KvFormat format, int head_dim) {
  if (!IsPacked(format) || head_dim % 16 == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--kv-cache ", ToAbsl(KvFormatName(format)),
                                                 ": it takes heads of a multiple of 16 channels, the ",
                                                 "model's have ", head_dim, "; use f16"));
}

int64_t KvCache::BlockBytes(KvFormat format, const HeadShard& heads) {
  return heads.kv_heads * KvHeadBytes(format, heads.head_dim);
}

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(Backend& backend, KvFormat format, int query_bits,
                                                         int64_t layers, int64_t blocks,
                                                         const HeadShard& heads) {
  TERNION_RETURN_IF_ERROR(CheckKvFormat(format, heads.head_dim));
  auto cache = std::make_unique<KvCache>();
  for (int64_t i = 0; i < layers; ++i) {
    TERNION_ASSIGN_OR_RETURN(Buffer buffer, backend.Allocate(blocks * BlockBytes(format, heads)));
    cache->layers_.push_back({buffer.data(), format, blocks, heads.kv_heads, heads.head_dim, query_bits});
    cache->buffers_.push_back(std::move(buffer));
  }
  return cache;
}

void KvCache::Copy(Backend& backend, BlockCopy copy) const {
  for (const KvLayer& layer : layers_) {
    const int64_t bytes = layer.kv_heads * KvHeadBytes(layer.format, layer.head_dim);
    auto* const blocks = static_cast<char*>(layer.data);
    backend.Copy(blocks + copy.to * bytes, blocks + copy.from * bytes, static_cast<size_t>(bytes));
  }
}

}  // namespace ternion
