// GGUF files that somebody made to break a reader; among them what has broken llama.cpp's (CVE-2024-21802, 21825, 21836,
// 23496, 23605, 2025-53630, 2026-27940, 2026-33298: counts and lengths past the file, shapes and sizes that wrap).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <ostream>
#include <random>

#include "runtime/checkpoint/gguf.h"
#include "tests/runtime/checkpoint/gguf_writer.h"
#include "tests/runtime/checkpoint/sound_gguf.h"

namespace ternion {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

using Spoil = std::function<void(GgufTestFile&)>;
struct Hostile {
  const char* name;
  Spoil spoil;
  const char* error;  // a part of it
};

void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

Spoil Key(const char* name, std::string value) {
  return [=](GgufTestFile& file) { file.Key(name) = value; };
}
Spoil Sides(std::vector<uint64_t> sides) {
  return [=](GgufTestFile& file) { file.tensors[0].sides = sides; };
}
Spoil Type(uint32_t type) {
  return [=](GgufTestFile& file) { file.tensors[0].type = type; };
}
Spoil Offset(size_t tensor, int64_t error) {
  return [=](GgufTestFile& file) { file.tensors[tensor].offset_error = error; };
}
Spoil TensorName(std::string name) {
  return [=](GgufTestFile& file) { file.tensors[1].name = name; };
}
Spoil NewKey(std::string name) {
  return [=](GgufTestFile& file) { file.keys.insert(file.keys.begin(), {name, GgufU32(1)}); };
}

constexpr uint64_t kHuge = uint64_t{1} << 62;
constexpr char kList[] = "tokenizer.ggml.token_type";
constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kMerges[] = "tokenizer.ggml.merges";
const std::vector<std::string> kNames = {"a", "b", "c", "ab", "abc", "<s>", "</s>", "[PAD7]"};

std::string Tokens(size_t place, const std::string& token) {
  std::vector<std::string> tokens = kNames;
  tokens[place] = token;
  return GgufTexts(tokens);
}

const Hostile kHostile[] = {
    // Header.
    {"Magic", [](auto& file) { file.magic[3] = 'L'; }, "it does not begin with \"GGUF\""},
    {"Version0", [](auto& file) { file.version = 0; }, "is GGUF version 0; versions 2 and 3 are read"},
    {"Version1", [](auto& file) { file.version = 1; }, "is GGUF version 1; versions 2 and 3 are read"},
    {"Version4", [](auto& file) { file.version = 4; }, "is GGUF version 4; versions 2 and 3 are read"},
    {"BigEndian", [](auto& file) { file.version = 0x03000000; }, "is big-endian; only little-endian"},
    {"MoreKeys", [](auto& file) { file.key_count_error = 1; }, "tensor number 0: has a string of"},
    {"FewerKeys", [](auto& file) { file.key_count_error = -1; },
     "tensor tokenizer.chat_template: has 8 dimensions"},
    {"KeysPastTheFile", [](auto& file) { file.key_count_error = 1'000'000; }, "announces 1000017 keys"},
    {"KeysOverflow", [](auto& file) { file.key_count_error = INT64_MAX; }, "keys, but the file has only"},
    {"KeysNegative", [](auto& file) { file.key_count_error = -18; }, "announces 18446744073709551615 keys"},
    {"MoreTensors", [](auto& file) { file.tensor_count_error = 1; }, "tensor number 4"},
    {"FewerTensors", [](auto& file) { file.tensor_count_error = -1; }, "data: ends at byte"},
    {"TensorsPastTheFile", [](auto& file) { file.tensor_count_error = 1'000'000; },
     "announces 1000004 tensors"},
    {"TensorsOverflow", [](auto& file) { file.tensor_count_error = INT64_MAX; },
     "tensors, but the file has only"},
    {"TensorsNegative", [](auto& file) { file.tensor_count_error = -5; },
     "announces 18446744073709551615 tensors"},
    // Keys.
    {"KeyEmpty", NewKey(""), "key number 0: its name has 0 bytes; it must have 1 to 65535"},
    {"KeyLong", NewKey(std::string(65536, 'x')), "its name has 65536 bytes"},
    {"KeyWithNul", NewKey(std::string("a\0b", 3)), "not printable ASCII"},
    {"KeyWithEscape", NewKey("a\x1b[2J"), "not printable ASCII"},
    {"KeyNotAscii", NewKey("\xff\xfe"), "not printable ASCII"},
    {"KeyTwice", NewKey("llama.block_count"), "key llama.block_count: is there twice"},
    {"ArrayKeyTwice", NewKey(kMerges), "key tokenizer.ggml.merges: is there twice"},
    {"AlignmentTwice", NewKey("general.alignment"), "key general.alignment: is there twice"},
    // Values.
    {"ValueType13", Key("x", GgufNumber<uint32_t>(13) + GgufNumber(0)),
     "key x: has the value type 13; types are 0 to 12"},
    {"ValueTypeNegative", Key("x", GgufNumber<int32_t>(-1)), "has the value type 4294967295"},
    {"Bool2", Key("x", GgufBool(2)), "is the boolean 2; it must be 0 or 1"},
    {"StringPastTheFile", Key("x", GgufNumber<uint32_t>(8) + GgufNumber<uint64_t>(1 << 20)),
     "has a string of 1048576 bytes"},
    {"StringOverflow", Key("x", GgufNumber<uint32_t>(8) + GgufNumber(UINT64_MAX)),
     "has a string of 18446744073709551615"},
    {"StringNotUtf8", Key("x", GgufText("ab\xff")), "its text is not UTF-8 at byte 2"},
    {"ArrayOfArrays", Key("x", GgufArray(9, 1, GgufNumber<uint32_t>(4) + GgufNumber<uint64_t>(0))),
     "is an array of arrays"},
    {"ArrayOfUnknown", Key("x", GgufArray(77, 1, "")), "has the value type 77"},
    {"ArrayPastTheFile", Key("x", GgufArray(4, 1 << 20, "")), "has 1048576 elements of 4 bytes, but"},
    {"ArrayOverflow", Key("x", GgufArray(4, kHuge + 1, "")),
     "has 4611686018427387905 elements of 4 bytes, but"},
    {"BytesPastTheFile", Key("x", GgufArray(0, kHuge, "")), "has 4611686018427387904 bytes, but"},
    {"StringsPastTheFile", Key("x", GgufArray(8, 1 << 20, "")), "holds 1048576 strings"},
    {"StringsOverflow", Key("x", GgufArray(8, UINT64_MAX / 8 + 2, "")), "strings, but the file has only"},
    {"StringInArrayPastTheFile", Key("x", GgufArray(8, 1, GgufNumber(kHuge))),
     "has a string of 4611686018427387904"},
    {"Alignment0", Key("general.alignment", GgufU32(0)),
     "general.alignment is 0; it must be an integer from 8 to"},
    {"Alignment1", Key("general.alignment", GgufU32(1)),
     "general.alignment is 1; it must be an integer from 8 to"},
    {"Alignment24", Key("general.alignment", GgufU32(24)),
     "general.alignment is 24; it must be a power of two"},
    {"AlignmentHuge", Key("general.alignment", GgufU32(1u << 31)),
     "general.alignment is 2147483648; it must be"},
    {"AlignmentText", Key("general.alignment", GgufText("32")), "general.alignment is \"32\"; it must be"},
    {"AlignmentOther", Key("general.alignment", GgufU32(64)),
     "tensor blk.0.attn_q.scale: its data begins at"},
    // Tensors.
    {"NameEmpty", TensorName(""), "tensor number 1: its name has 0 bytes; it must have 1 to 64"},
    {"NameLong", TensorName(std::string(65, 'x')), "its name has 65 bytes; it must have 1 to 64"},
    {"NameWithNul", TensorName(std::string("a\0b", 3)), "not printable ASCII"},
    {"NameTwice", TensorName("token_embd.weight"), "tensor token_embd.weight: is there twice"},
    {"Dimensions5", Sides({128, 8, 1, 1, 1}), "tensor token_embd.weight: has 5 dimensions; at most 4"},
    {"SideZero", Sides({128, 0}), "has a side of 0; it must be at least 1"},
    {"SideNegative", Sides({128, UINT64_MAX}), "has a side of -1; it must be at least 1"},
    {"SidesOverflow", Sides({uint64_t{1} << 32, uint64_t{1} << 31}),
     "its number of values overflows 64 bits"},
    {"SidesWrapToSmall", Sides({uint64_t{1} << 32, uint64_t{1} << 32, 8}),
     "its number of values overflows 64 bits"},
    {"BytesOverflow", [](auto& file) { file.tensors[1].sides = {kHuge}; },
     "F32 [4611686018427387904], whose bytes overflow"},
    {"BytesEndBeyond64Bits", [](auto& file) { file.tensors[1].sides = {kHuge - 1}; },
     "whose bytes end beyond 64 bits"},
    {"DataPastTheFile", Sides({128, 1 << 20}),
     "its data begins at 2048, but that of the tensors before it ends"},
    {"TypeUnknown", Type(5), "has the type 5, which is not known here"},
    {"TypeHuge", Type(UINT32_MAX), "has the type 4294967295, which is not known here"},
    {"TypeOfWiderBlocks", Type(14), "is Q6_K [8, 128]; rows of Q6_K are a multiple of 256"},
    {"TypeOfFewerBytes", Type(8), "its data begins at 2048, but"},
    {"TypeOfMoreBytes", Type(0), "its data begins at 2048, but"},
    {"OffsetOverlaps", Offset(1, -32), "tensor output_norm.weight: its data begins at 2016, but"},
    {"OffsetZeroAgain", Offset(1, -2048), "tensor output_norm.weight: its data begins at 0, but"},
    {"OffsetLeavesAGap", Offset(1, 32), "tensor output_norm.weight: its data begins at 2080, but"},
    {"OffsetUnaligned", Offset(2, 1),
     "its data begins at 2561, but that of the tensors before it ends, aligned to 32, at 2560"},
    {"OffsetPastTheFile", Offset(3, INT64_MAX), "tensor blk.0.attn_q.scale: its data begins at"},
    {"OffsetWraps", Offset(0, -64), "its data begins at 18446744073709551552, but"},
    {"LastTensorCutShort", [](auto& file) { file.tensors[3].data.clear(); },
     "tensor blk.0.attn_q.scale: has 4 bytes, but"},
    {"BytesAtTheEnd", [](auto& file) { file.tail.assign(1, 'x'); }, "but the file has 29 more"},
    // The model.
    {"NoArchitecture", [](auto& file) { file.keys.erase(file.keys.begin()); },
     "general.architecture is missing; it must be"},
    {"OtherArchitecture", Key("general.architecture", GgufText("qwen2")),
     "general.architecture is \"qwen2\"; it must be"},
    {"ArchitectureNumber", Key("general.architecture", GgufU32(3)), "general.architecture is 3; it must be"},
    {"NoEmbedding", [](auto& file) { file.tensors.erase(file.tensors.begin()); },
     "has no tensor token_embd.weight"},
    {"EmbeddingOfOneSide", Sides({1024}),
     "token_embd.weight: is F16 [1024]; it must be [vocabulary, embedding_length]"},
    {"LayersZero", Key("llama.block_count", GgufU32(0)),
     "llama.block_count is 0; it must be an integer from 1"},
    {"LayersHuge", Key("llama.block_count", GgufU32(UINT32_MAX)),
     "llama.block_count is 4294967295; it must be"},
    {"LayersList", Key("llama.block_count", GgufI32s({1})),
     "llama.block_count is [\"array of 1 i32\"]; it must be"},
    {"HeadsZero", Key("llama.attention.head_count", GgufU32(0)),
     "llama.attention.head_count is 0; it must be"},
    {"HeadsDoNotDivide", Key("llama.attention.head_count", GgufU32(3)), "llama.embedding_length is 128; "},
    {"KvHeadsDoNotDivide", Key("llama.attention.head_count_kv", GgufU32(3)),
     "llama.attention.head_count_kv is 3; it must be"},
    {"EpsilonNan", Key("llama.attention.layer_norm_rms_epsilon", GgufF32(NAN)),
     "layer_norm_rms_epsilon is null; it must be"},
    {"RopeBaseInfinite", Key("llama.rope.freq_base", GgufF32(INFINITY)),
     "llama.rope.freq_base is null; it must be"},
    {"RopePartly", Key("llama.rope.dimension_count", GgufU32(32)),
     "llama.rope.dimension_count is 32; only that of a whole head, 64"},
    {"RopeScaled", Key("llama.rope.scaling.type", GgufText("yarn")),
     "llama.rope.scaling.type is \"yarn\"; it must be"},
    {"RopeFactor", Key("llama.rope.scaling.factor", GgufF32(2)),
     "llama.rope.scaling.factor is 2.0; only 1 is supported"},
    {"Experts", Key("llama.expert_count", GgufU32(8)), "llama.expert_count is 8; only 0 is supported"},
    {"UnknownKey", Key("llama.logit_scale", GgufF32(2)),
     "llama.logit_scale is 2.0; this key is not known here"},
    {"ActivationUnknown", Key("llama.hidden_activation", GgufText("gelu")),
     "llama.hidden_activation is \"gelu\"; it must be"},
    {"VocabularyDiffers", Key("llama.vocab_size", GgufU32(9)),
     "llama.vocab_size is 9; token_embd.weight has 8 rows"},
    {"Split", Key("split.count", GgufNumber<uint32_t>(2) + GgufNumber<uint16_t>(3)),
     "split.count is 3; merge the parts"},
    {"ScaleNotFinite", [](auto& file) { file.tensors[2].data.replace(4096, 4, "\xff\xff\xff\xff"); },
     "must be finite and positive"},
    // The tokenizer.
    {"TokenizerMissing", Key("tokenizer.ggml.model", GgufU32(1)),
     "tokenizer.ggml.model is 1; it must be \"gpt2\" or \"llama\""},
    {"SentencePieceScores", Key("tokenizer.ggml.model", GgufText("llama")),
     "tokenizer.ggml.scores is missing; it must be an array of 32-bit floats"},
    {"TokenizerUnknown", Key("tokenizer.ggml.model", GgufText("bert")),
     "tokenizer.ggml.model is \"bert\"; only byte-level BPE"},
    {"CutsUnknown", Key("tokenizer.ggml.pre", GgufText("kimi-k2")),
     "tokenizer.ggml.pre is \"kimi-k2\"; this way to cut words"},
    {"TokensNumbers", Key(kTokens, GgufI32s({1, 2})),
     "tokenizer.ggml.tokens is [\"array of 2 i32\"]; it must be an array of strings"},
    {"TokensText", Key(kTokens, GgufText("a")),
     "tokenizer.ggml.tokens is \"a\"; it must be an array of strings"},
    {"TokenNotUtf8", Key(kTokens, Tokens(2, "\xc3")), "tokenizer.ggml.tokens: token 2 is not UTF-8"},
    {"TokenTwice", Key(kTokens, Tokens(2, "b")), "token 2 \"b\" is token 1 too"},
    {"ControlTokenTwice", Key(kTokens, Tokens(5, "b")), "\"b\" has the id 5 here and 1 elsewhere"},
    {"TypesTooFew", Key(kList, GgufI32s({1, 1})),
     "is [\"array of 2 i32\"]; there are 8 tokens, and each has one"},
    {"TypesFloats", Key(kList, GgufArray(6, 8, std::string(32, '\0'))),
     "token_type is [\"array of 8 f32\"]; it must be"},
    {"TypeOfATokenUnknown", Key(kList, GgufI32s({1, 1, 1, 9, 1, 3, 3, 5})),
     "token 3 has the type 9; byte-level BPE has"},
    {"TypeOfATokenByte", Key(kList, GgufI32s({6, 1, 1, 1, 1, 3, 3, 5})), "token 0 has the type 6"},
    {"MergesMissing", Key(kMerges, GgufU32(1)), "tokenizer.ggml.merges is 1; it must be an array of strings"},
    {"MergeWithoutASpace", Key(kMerges, GgufTexts({"ab"})), "merges[0]: is neither"},
    {"MergeOfUnknownTokens", Key(kMerges, GgufTexts({"a z"})), "\"z\" is not in the vocabulary"},
    {"MergeNotUtf8", Key(kMerges, GgufTexts({"a b", "\xff b"})),
     "tokenizer.ggml.merges: merge 1 is not UTF-8"},
    {"BosOutside", Key("tokenizer.ggml.bos_token_id", GgufU32(8)),
     "tokenizer.ggml.bos_token_id is 8; it must be"},
    {"BosNegative", Key("tokenizer.ggml.bos_token_id", GgufNumber<uint32_t>(5) + GgufNumber(-1)),
     "bos_token_id is -1"},
    {"EosOutside", Key("tokenizer.ggml.eos_token_id", GgufU32(UINT32_MAX)), "tokenizer.ggml.eos_token_id"},
    {"AddBosNumber", Key("tokenizer.ggml.add_bos_token", GgufU32(1)),
     "add_bos_token is 1; it must be true or false"},
};

class HostileGgufFile : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileGgufFile, IsOneClearError) {
  GgufTestFile file = SoundGguf();
  ASSERT_TRUE(ReadAllOfGguf(file.Bytes()).ok());
  GetParam().spoil(file);
  const absl::Status status = ReadAllOfGguf(file.Bytes());
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), StartsWith("model.gguf: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(All, HostileGgufFile, ::testing::ValuesIn(kHostile),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(HostileGguf, IsRefusedWhereverItIsCutShort) {
  const std::string whole = SoundGguf().Bytes();
  const size_t data = whole.size() - (2048 + 512 + 4128 + 32);
  for (size_t bytes = 0; bytes < whole.size() - 28; bytes += bytes < data ? 1 : 97) {
    const std::string cut = whole.substr(0, bytes);
    EXPECT_EQ(Gguf::Parse(AsBytes(cut), "model.gguf").status().code(), absl::StatusCode::kDataLoss) << bytes;
  }
}

// Whatever the bytes are, the answer is a status. Runs under the sanitizers too.
TEST(HostileGguf, SurvivesRandomDamage) {
  const std::string whole = SoundGguf().Bytes();
  const size_t header = whole.size() - (2048 + 512 + 4128 + 32);
  std::mt19937 random(3);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = whole;
    for (int changes = 1 + static_cast<int>(random() % 3); changes > 0; --changes) {
      const char byte =
          random() % 2 == 0 ? static_cast<char>(random()) : "\x00\x01\x7f\x80\xff"[random() % 5];
      damaged[random() % header] = byte;
    }
    const absl::Status status = ReadAllOfGguf(damaged);
    if (status.ok()) continue;
    EXPECT_THAT(std::string(status.message()), StartsWith("model.gguf: "));
    ++refused;
  }
  EXPECT_GT(refused, 10000);
}

}  // namespace
}  // namespace ternion
