#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/runtime/checkpoint/checkpoint_writer.h"
#include "tests/support/temp_folder.h"

// Model folders that somebody made to break a loader: a sound one of tests/data/models, and one change to it.
namespace ternion {

struct BrokenModel {
  // The sound model of this name, its shards in one file.
  static BrokenModel Of(const std::string& name);
  void Write(const TempFolder& folder) const;

  TestTensor& Tensor(
      const std::string& name);  // of the last layer where the name begins with no "model." or "lm_head"
  // Another form; the bytes are as many as it takes, and where there were enough the old ones.
  void Reform(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape);

  nlohmann::json config;
  std::optional<std::string> config_text;  // instead of config
  TestTensors tensors;
  bool split = false;                                       // in two shards with an index
  std::function<std::string(std::string)> edit_file;        // the safetensors file's bytes (the last shard's)
  std::function<void(nlohmann::json&)> edit_index;          // weight_map
  std::function<void(const std::filesystem::path&)> after;  // when all files are there
};

using Breaking = std::function<void(BrokenModel&)>;
struct BrokenCase {
  const char* name;
  const char* base;  // below tests/data/models
  Breaking breaking;
  std::vector<std::string> says;  // parts of the error
};

// config.json: `path` is a field, or "quantization_config.FIELD".
Breaking Config(const std::string& path, nlohmann::json value);
Breaking ConfigWithout(const std::string& path);
Breaking ConfigText(std::string text);
Breaking Without(const std::string& tensor);
Breaking Form(const std::string& tensor, const std::string& dtype, std::vector<int64_t> shape);
// Overwrites the tensor's bytes from `at` on; from the end when it is negative.
Breaking Bytes(const std::string& tensor, int64_t at, std::string bytes);
Breaking Fill(const std::string& tensor, char byte);
Breaking File(std::function<std::string(std::string)> edit);
// The safetensors header, as JSON or as a text.
Breaking Header(std::function<void(nlohmann::json&)> edit);
Breaking HeaderText(std::function<std::string(std::string)> edit);
Breaking Index(std::function<void(nlohmann::json&)> edit);
Breaking After(std::function<void(const std::filesystem::path&)> act);

extern const std::vector<BrokenCase> kBrokenFiles;    // safetensors files and indexes
extern const std::vector<BrokenCase> kBrokenConfigs;  // config.json
extern const std::vector<BrokenCase> kBrokenTensors;  // of the BitNet family and dense models
extern const std::vector<BrokenCase> kBrokenGptq;

}  // namespace ternion
