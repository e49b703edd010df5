// Safetensors files and their indexes, beyond what safetensors_test and tensor_index_test spoil.
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "tests/runtime/checkpoint/broken_model.h"

namespace ternion {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr char kBase[] = "llama_bitnet";
constexpr char kFile[] = "model.safetensors";
constexpr char kGate[] = "model.layers.0.mlp.gate_proj.weight";
constexpr char kQuery[] = "model.layers.0.self_attn.q_proj.weight";
constexpr char kIndex[] = "model.safetensors.index.json";

Breaking Content(const std::string& content) {
  return File([=](const std::string&) { return content; });
}
Breaking HeaderLength(std::function<uint64_t(uint64_t file_bytes)> length) {
  return File([=](std::string file) {
    const uint64_t wrong = length(file.size());
    std::memcpy(file.data(), &wrong, sizeof(wrong));
    return file;
  });
}
Breaking Cut(double share) {
  return File([=](const std::string& file) {
    return file.substr(0, static_cast<size_t>(static_cast<double>(file.size()) * share));
  });
}
// A field of one tensor's entry.
Breaking Entry(const char* tensor, const char* field, json value) {
  return Header([=](json& header) { header[tensor][field] = value; });
}
// The same as a text that no JSON library would write; `mark` holds its place.
Breaking EntryText(const char* field, const std::string& text) {
  return HeaderText([=](const std::string& old) {
    json header = json::parse(old);
    header[kGate][field] = "MARK";
    std::string all = header.dump();
    all.replace(all.find("\"MARK\""), 6, text);
    return all;
  });
}
// Another name, as it stands in the JSON text.
Breaking Renamed(const std::string& to) {
  return HeaderText([=](std::string header) {
    const std::string from = absl::StrCat("\"", kQuery, "\"");
    return header.replace(header.find(from), from.size(), absl::StrCat("\"", to, "\""));
  });
}
Breaking Around(const std::string& before, const std::string& behind) {
  return HeaderText([=](const std::string& header) { return absl::StrCat(before, header, behind); });
}
Breaking Offsets(int64_t begin_error, int64_t end_error) {
  return Header([=](json& header) {
    json& offsets = header[kGate]["data_offsets"];
    offsets[0] = offsets[0].get<int64_t>() + begin_error;
    offsets[1] = offsets[1].get<int64_t>() + end_error;
  });
}
Breaking Replaced(const char* file, std::function<void(const fs::path&)> by) {
  return After([=](const fs::path& folder) {
    fs::remove(folder / file);
    by(folder / file);
  });
}
void MakeFolder(const fs::path& path) { fs::create_directory(path); }
void MakePipe(const fs::path& path) { CHECK(mkfifo(path.c_str(), 0600) == 0, "cannot make a named pipe"); }
void MakeLoop(const fs::path& path) { fs::create_symlink(path.filename(), path); }
void MakeDangling(const fs::path& path) { fs::create_symlink("nowhere.safetensors", path); }

const std::string kUtf16 = [] {
  std::string text;
  for (const char c : std::string("{\"a\":1}")) text += {c, '\0'};
  return text;
}();

std::string Repeated(const std::string& part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

// A header of many small things: what is kept of each must not be many times its text.
std::string ManyTensors(int tensors) {
  std::string header = "{";
  for (int i = 0; i < tensors; ++i) {
    absl::StrAppend(&header, i == 0 ? "" : ",", "\"", i,
                    R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})");
  }
  return header + "}";
}

}  // namespace

const std::vector<BrokenCase> kBrokenFiles = {
    // Files of another kind, as a download leaves them behind.
    {"GitLfsPointer", kBase,
     Content("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 4681\n"), {kFile}},
    {"HtmlPage", kBase, Content("<!DOCTYPE html><html><head><title>401 Unauthorized</title></head></html>"), {kFile}},
    {"ZipOfPickles", kBase, Content("PK\x03\x04" + std::string(2000, 'p')), {kFile}},
    {"Gzip", kBase, Content("\x1f\x8b\x08" + std::string(2000, 'g')), {kFile}},
    {"GgufInstead", kBase, Content("GGUF\x03" + std::string(2000, '\0')), {kFile}},
    {"AllZeroBytes", kBase, Content(std::string(4096, '\0')), {kFile}},
    {"AllOnes", kBase, Content(std::string(4096, '\xff')), {kFile}},
    {"Folder", kBase, Replaced(kFile, MakeFolder), {kFile, "not a plain file"}},
    {"NamedPipe", kBase, Replaced(kFile, MakePipe), {kFile, "not a plain file"}},
    {"LinkToItself", kBase, Replaced(kFile, MakeLoop), {""}},
    {"LinkToNowhere", kBase, Replaced(kFile, MakeDangling), {""}},
    // Lengths.
    {"HeaderIsTheWholeFile", kBase, HeaderLength([](uint64_t file) { return file - 8; }), {kFile, "header"}},
    {"HeaderNegative", kBase, HeaderLength([](uint64_t) { return uint64_t{1} << 63; }), {kFile, "header"}},
    {"HeaderOfOneByte", kBase, HeaderLength([](uint64_t) { return 1; }), {kFile, "header"}},
    {"HeaderCutInAName", kBase, HeaderLength([](uint64_t) { return 40; }), {kFile, "header"}},
    {"CutInTheHeader", kBase, Cut(0.002), {kFile}},
    {"CutInHalf", kBase, Cut(0.5), {kFile, "cut short"}},
    {"CutOfItsLastPercent", kBase, Cut(0.99), {kFile, "cut short"}},
    {"FileTwice", kBase, File([](const std::string& file) { return file + file; }), {kFile, "bytes of data"}},
    // JSON that is none.
    {"ByteOrderMark", kBase, Around("\xef\xbb\xbf", ""), {kFile, "header"}},
    {"LeadingBlank", kBase, Around(" ", ""), {kFile, "header"}},
    {"Utf16", kBase, HeaderText([](const std::string&) { return kUtf16; }), {kFile, "header"}},
    {"Comment", kBase, Around("{\"a\":/**/", "}"), {kFile, "header"}},
    {"TwoDocuments", kBase, Around("", "{}"), {kFile, "header"}},
    {"TextBehind", kBase, Around("", "x"), {kFile, "header"}},
    {"NotClosed", kBase, HeaderText([](std::string header) { return header.substr(0, header.size() - 1); }), {kFile, "header"}},
    {"NestedDeep", kBase, Around("{\"a\":" + std::string(5000, '['), std::string(5000, ']') + "}"), {kFile, "nested"}},
    {"MetadataNestedDeep", kBase,
     HeaderText([](std::string header) {
       return "{\"__metadata__\":" + std::string(300, '{') + header.substr(1);
     }),
     {kFile, "header"}},
    // Names.
    {"NameNotUtf8", kBase, Renamed("q\xff\xfe"), {kFile, "UTF-8"}},
    {"NameCutInACharacter", kBase, Renamed("q\xe6\xbc"), {kFile}},
    {"NameOverlong", kBase, Renamed("q\xc0\xaf"), {kFile}},
    {"NameLoneSurrogate", kBase, Renamed("q\\ud800"), {kFile}},
    {"NameWithNul", kBase, Renamed(std::string(kQuery) + "\\u0000"), {kFile, kQuery}},
    {"NameEmpty", kBase, Renamed(""), {kFile, kQuery}},
    {"NameOfAnotherCase", kBase, Renamed("MODEL.layers.0.self_attn.q_proj.weight"), {kFile, kQuery}},
    {"NameTwice", kBase, Renamed(kGate), {kFile, kGate, "twice"}},
    {"NameTwiceByEscape", kBase, Renamed("\\u006dodel.layers.0.mlp.gate_proj.weight"), {kFile, kGate, "twice"}},
    {"NameIsMetadata", kBase, Renamed("__metadata__"), {kFile}},
    {"NameWithANewline", kBase,
     HeaderText([](std::string header) {
       const std::string from = absl::StrCat("\"", kQuery, "\":{\"data_offsets\":[");
       return header.replace(header.find(from), from.size(), "\"q\\nok: loaded\":{\"data_offsets\":[1");
     }),
     {kFile}},
    // Entries.
    {"EntryNull", kBase, Header([](json& header) { header[kGate] = nullptr; }), {kFile, kGate}},
    {"EntryList", kBase, Header([](json& header) { header[kGate] = json::array(); }), {kFile, kGate}},
    {"EntryEmpty", kBase, Header([](json& header) { header[kGate] = json::object(); }), {kFile, kGate}},
    {"DtypeLowerCase", kBase, Entry(kGate, "dtype", "u8"), {kFile, kGate, "dtype"}},
    {"DtypeFloat8", kBase, Entry(kGate, "dtype", "F8_E4M3"), {kFile, kGate, "F8_E4M3"}},
    {"DtypeBool", kBase, Entry(kGate, "dtype", "BOOL"), {kFile, kGate, "BOOL"}},
    {"DtypeNumber", kBase, Entry(kGate, "dtype", 3), {kFile, kGate, "dtype"}},
    {"DtypeNull", kBase, Entry(kGate, "dtype", nullptr), {kFile, kGate, "dtype"}},
    {"DtypeLong", kBase, Entry(kGate, "dtype", "U8" + std::string(100, ' ')), {kFile, kGate, "dtype"}},
    {"DtypeWithANewline", kBase, Entry(kGate, "dtype", "U8\nU8"), {kFile, kGate, "dtype"}},
    {"DtypeTwice", kBase, EntryText("dtype", R"("U8","dtype":"U8")"), {kFile, "twice"}},
    {"ShapeNull", kBase, Entry(kGate, "shape", nullptr), {kFile, kGate, "shape"}},
    {"ShapeText", kBase, Entry(kGate, "shape", "[96, 128]"), {kFile, kGate, "shape"}},
    {"ShapeNested", kBase, Entry(kGate, "shape", {{96, 128}}), {kFile, kGate, "shape"}},
    {"ShapeNegative", kBase, Entry(kGate, "shape", {-96, -128}), {kFile, kGate, "shape"}},
    {"ShapeExponent", kBase, EntryText("shape", "[96e0,128]"), {kFile, kGate, "shape"}},
    {"ShapeBeyond64Bits", kBase, EntryText("shape", "[18446744073709551712,128]"), {kFile, kGate, "shape"}},
    {"ShapeWraps", kBase, EntryText("shape", "[96,128,9223372036854775809,2]"), {kFile, kGate, "overflows"}},
    {"ShapeLeadingZero", kBase, EntryText("shape", "[096,128]"), {kFile}},
    {"ShapeNan", kBase, EntryText("shape", "[NaN,128]"), {kFile}},
    {"ShapeEmpty", kBase, Entry(kGate, "shape", json::array()), {kFile, kGate, "takes 1"}},
    {"ShapeWithZero", kBase, Entry(kGate, "shape", {96, 128, 0}), {kFile, kGate, "takes 0"}},
    {"OffsetsNull", kBase, Entry(kGate, "data_offsets", nullptr), {kFile, kGate, "data_offsets"}},
    {"OffsetsOne", kBase, Entry(kGate, "data_offsets", {0}), {kFile, kGate, "data_offsets"}},
    {"OffsetsFloats", kBase, Entry(kGate, "data_offsets", {0.0, 12288.0}), {kFile, kGate, "data_offsets"}},
    {"OffsetsBeyond64Bits", kBase, EntryText("data_offsets", "[0,18446744073709563904]"), {kFile, kGate}},
    {"OffsetsHuge", kBase, EntryText("data_offsets", "[18446744073709551615,18446744073709551615]"), {kFile, kGate}},
    {"OffsetsOverlapByOne", kBase, Offsets(-1, -1), {kFile, "begin at"}},
    {"OffsetsGapOfOne", kBase, Offsets(1, 1), {kFile, "begin at"}},
    {"OffsetsShortByOne", kBase, Offsets(0, -1), {kFile, kGate, "takes"}},
    {"OffsetsOfAnother", kBase,
     Header([](json& header) {
       header[kGate]["data_offsets"] = header["model.layers.1.mlp.gate_proj.weight"]["data_offsets"];
     }),
     {kFile, "begin at"}},
    {"FieldMissing", kBase, Header([](json& header) { header[kGate].erase("shape"); }), {kFile, kGate, "shape"}},
    {"FieldUnknown", kBase, Entry(kGate, "strides", {128, 1}), {kFile, kGate, "field"}},
    {"NoTensors", kBase, Content(WithHeader("{}", "")), {kFile, "has no tensor"}},
    {"MetadataAlone", kBase, Content(WithHeader(R"({"__metadata__":{"format":"pt"}})", "")), {kFile, "has no tensor"}},
    // Much text for little: no more memory than four times the file.
    {"ManySides", kBase,
     EntryText("shape", "[1" + Repeated(",1", 300'000) + "]"), {kFile, "larger part"}},
    {"ManySidesBesideData", kBase, EntryText("shape", "[1" + Repeated(",1", 20'000) + "]"), {kFile, "memory"}},
    {"ManyTensors", kBase, Content(WithHeader(ManyTensors(10'000), "")), {kFile}},
    {"ManyMetadata", kBase, Content(WithHeader("{\"__metadata__\":[0" + Repeated(",0", 500'000) + "]}", "")), {kFile}},
    {"ManyLists", kBase, Content(WithHeader("{\"a\":[[]" + Repeated(",[]", 200'000) + "]}", "")), {kFile}},
    {"LongName", kBase, Content(WithHeader("{\"" + std::string(500'000, 'n') + "\":1}", "")), {kFile}},
    // Indexes.
    {"IndexOfNothing", kBase, Index([](json& map) { map = json::object(); }), {"has no tensor"}},
    {"IndexList", kBase, Index([](json& map) { map = {"a.safetensors"}; }), {kIndex, "weight_map"}},
    {"IndexNull", kBase, Index([](json& map) { map = nullptr; }), {kIndex, "weight_map"}},
    {"IndexOfTheOtherShard", kBase, Index([](json& map) { map[kQuery] = map[kQuery] == "a.safetensors" ? "b.safetensors" : "a.safetensors"; }),
     {"has no tensor", kQuery, kIndex}},
    {"IndexWithoutATensor", kBase, Index([](json& map) { map.erase(kQuery); }), {"has no tensor", kQuery}},
    {"IndexShardIsAbsent", kBase, Index([](json& map) { map[kQuery] = "c.safetensors"; }), {"c.safetensors", kIndex}},
    {"IndexShardUpwards", kBase, Index([](json& map) { map[kQuery] = "../a.safetensors"; }), {kIndex, kQuery}},
    {"IndexShardInAFolder", kBase, Index([](json& map) { map[kQuery] = "./a.safetensors"; }), {kIndex, kQuery}},
    {"IndexShardWithNul", kBase, Index([](json& map) { map[kQuery] = std::string("a.safetensors\0", 14); }), {kIndex, kQuery}},
    {"IndexShardEmpty", kBase, Index([](json& map) { map[kQuery] = ""; }), {kIndex, kQuery}},
    {"IndexShardIsTheFolder", kBase, Index([](json& map) { map[kQuery] = "."; }), {kIndex, kQuery}},
    {"IndexShardIsTheConfig", kBase, Index([](json& map) { map[kQuery] = "config.json"; }), {"config.json"}},
    {"IndexShardIsTheIndex", kBase, Index([](json& map) { map[kQuery] = kIndex; }), {kIndex}},
    {"IndexShardLong", kBase, Index([](json& map) { map[kQuery] = std::string(5000, 's'); }), {kIndex}},
    {"IndexShardList", kBase, Index([](json& map) { map[kQuery] = {"a.safetensors"}; }), {kIndex, kQuery}},
    {"IndexShardWithANewline", kBase, Index([](json& map) { map[kQuery] = "a\nb"; }), {kIndex}},
    {"IndexTensorWithANewline", kBase, Index([](json& map) { map["q\nok: loaded"] = "a.safetensors"; }), {"has no tensor"}},
    {"IndexShardCutShort", kBase,
     [](BrokenModel& model) {
       model.split = true;
       Cut(0.5)(model);
     },
     {"b.safetensors", "cut short", kIndex}},
    {"IndexShardIsAFolder", kBase,
     [](BrokenModel& model) {
       model.split = true;
       Replaced("b.safetensors", MakeFolder)(model);
     },
     {"b.safetensors", "not a plain file"}},
    {"IndexCut", kBase,
     [](BrokenModel& model) {
       model.split = true;
       model.after = [](const fs::path& folder) { fs::resize_file(folder / kIndex, 100); };
     },
     {kIndex, "JSON"}},
    {"IndexIsAFolder", kBase,
     [](BrokenModel& model) {
       model.split = true;
       Replaced(kIndex, MakeFolder)(model);
     },
     {kIndex, "not a plain file"}},
};

}  // namespace ternion
