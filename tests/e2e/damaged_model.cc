#include "tests/e2e/damaged_model.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "kernels/check.h"
#include "tests/support/program.h"

namespace ternion {
namespace {

constexpr size_t kLengthBytes = 8;

std::string ReadDemoFile(const std::string& name) {
  std::ifstream file(DemoModel() + "/" + name, std::ios::binary);
  CHECK(file.good(), "the demo model is part of the repository");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

DamagedModel::DamagedModel() : bytes(ReadDemoFile("model.safetensors")) {}

std::string DamagedModel::Header() const {
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  return bytes.substr(kLengthBytes, length);
}

void DamagedModel::ReplaceInHeader(std::string_view from, std::string_view to) {
  CHECK(from.size() == to.size(), "the header keeps its length");
  const size_t at = Header().find(from);
  CHECK(at != std::string::npos, "the header has this text");
  bytes.replace(kLengthBytes + at, to.size(), to);
}

DamagedModel::Place DamagedModel::Find(std::string_view tensor) const {
  const std::string header = Header();
  const auto offsets = nlohmann::json::parse(header).at(std::string(tensor)).at("data_offsets");
  const size_t begin = offsets[0];
  const size_t end = offsets[1];
  return {kLengthBytes + header.size() + begin, end - begin};
}

std::string DamagedModel::Write() const {
  for (const char* name : {"config.json", "tokenizer.json"}) folder_.Write(name, ReadDemoFile(name));
  folder_.Write("model.safetensors", bytes);
  return folder_.path().string();
}

}  // namespace ternion
