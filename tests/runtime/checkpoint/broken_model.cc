#include "tests/runtime/checkpoint/broken_model.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "kernels/check.h"

namespace ternion {
namespace {

using nlohmann::json;

std::string Content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  CHECK(file.good(), "cannot read a model of tests/data/models");
  return content.str();
}

size_t HeaderBytes(const std::string& file) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  return static_cast<size_t>(length);
}

void AddTensors(const std::string& file, TestTensors& tensors) {
  const size_t length = HeaderBytes(file);
  const json header = json::parse(file.substr(8, length));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto begin = entry["data_offsets"][0].get<size_t>();
    const auto end = entry["data_offsets"][1].get<size_t>();
    tensors[name] = {entry["dtype"], entry["shape"], file.substr(8 + length + begin, end - begin)};
  }
}

// The object and the field of a path.
std::pair<json*, std::string> Place(json& config, const std::string& path) {
  const size_t dot = path.find('.');
  if (dot == path.npos) return {&config, path};
  return {&config[path.substr(0, dot)], path.substr(dot + 1)};
}

std::string FullName(const TestTensors& tensors, const std::string& name) {
  if (name.rfind("model.", 0) == 0 || name.rfind("lm_head", 0) == 0) return name;
  CHECK(tensors.count("model.layers.1.input_layernorm.weight") == 1, "the models have two layers");
  return "model.layers.1." + name;
}

}  // namespace

BrokenModel BrokenModel::Of(const std::string& name) {
  const auto folder = std::filesystem::path(TERNION_SOURCE_DIR) / "tests/data/models" / name;
  BrokenModel model;
  model.config = json::parse(Content(folder / "config.json"));
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string file = entry.path().filename();
    if (file.rfind("model", 0) == 0 && entry.path().extension() == ".safetensors") {
      AddTensors(Content(entry.path()), model.tensors);
    }
  }
  return model;
}

void BrokenModel::Write(const TempFolder& folder) const {
  const auto edited = [&](std::string bytes) { return edit_file ? edit_file(std::move(bytes)) : bytes; };
  folder.Write("config.json", config_text ? *config_text : config.dump());
  if (split) {
    TestTensors parts[2];
    json weight_map = json::object();
    for (const auto& [name, tensor] : tensors) {
      const int part = parts[0].size() < tensors.size() / 2 ? 0 : 1;
      parts[part][name] = tensor;
      weight_map[name] = part == 0 ? "a.safetensors" : "b.safetensors";
    }
    if (edit_index) edit_index(weight_map);
    folder.Write("a.safetensors", SafetensorsBytes(parts[0]));
    folder.Write("b.safetensors", edited(SafetensorsBytes(parts[1])));
    folder.Write("model.safetensors.index.json", json{{"weight_map", weight_map}}.dump());
  } else {
    folder.Write("model.safetensors", edited(SafetensorsBytes(tensors)));
  }
  if (after) after(folder.path());
}

TestTensor& BrokenModel::Tensor(const std::string& name) {
  const auto found = tensors.find(FullName(tensors, name));
  CHECK(found != tensors.end(), "the sound model has no such tensor");
  return found->second;
}

void BrokenModel::Reform(const std::string& name, const std::string& dtype,
                         const std::vector<int64_t>& shape) {
  static const std::map<std::string, size_t> kWidths = {{"U8", 1},  {"I8", 1},  {"F16", 2}, {"BF16", 2},
                                                        {"I32", 4}, {"F32", 4}, {"I64", 8}};
  TestTensor& tensor = Tensor(name);
  size_t bytes = kWidths.at(dtype);
  for (const int64_t side : shape) bytes *= static_cast<size_t>(side);
  tensor.dtype = dtype;
  tensor.shape = shape;
  tensor.bytes.resize(bytes, '\x11');
}

Breaking Config(const std::string& path, json value) {
  return [=](BrokenModel& model) {
    const auto [object, field] = Place(model.config, path);
    (*object)[field] = value;
  };
}

Breaking ConfigWithout(const std::string& path) {
  return [=](BrokenModel& model) {
    const auto [object, field] = Place(model.config, path);
    CHECK(object->erase(field) == 1, "the sound config has no such field");
  };
}

Breaking ConfigText(std::string text) {
  return [=](BrokenModel& model) { model.config_text = text; };
}

Breaking Without(const std::string& tensor) {
  return [=](BrokenModel& model) {
    model.Tensor(tensor);
    model.tensors.erase(FullName(model.tensors, tensor));
  };
}

Breaking Form(const std::string& tensor, const std::string& dtype, std::vector<int64_t> shape) {
  return [=](BrokenModel& model) { model.Reform(tensor, dtype, shape); };
}

Breaking Bytes(const std::string& tensor, int64_t at, std::string bytes) {
  return [=](BrokenModel& model) {
    std::string& all = model.Tensor(tensor).bytes;
    all.replace(static_cast<size_t>(at < 0 ? at + static_cast<int64_t>(all.size()) : at), bytes.size(),
                bytes);
  };
}

Breaking Fill(const std::string& tensor, char byte) {
  return [=](BrokenModel& model) {
    std::string& all = model.Tensor(tensor).bytes;
    all.assign(all.size(), byte);
  };
}

Breaking File(std::function<std::string(std::string)> edit) {
  return [=](BrokenModel& model) { model.edit_file = edit; };
}

Breaking HeaderText(std::function<std::string(std::string)> edit) {
  return File([=](const std::string& file) {
    const size_t length = HeaderBytes(file);
    return WithHeader(edit(file.substr(8, length)), file.substr(8 + length));
  });
}

Breaking Header(std::function<void(json&)> edit) {
  return HeaderText([=](const std::string& text) {
    json header = json::parse(text);
    edit(header);
    return header.dump();
  });
}

Breaking Index(std::function<void(json&)> edit) {
  return [=](BrokenModel& model) {
    model.split = true;
    model.edit_index = edit;
  };
}

Breaking After(std::function<void(const std::filesystem::path&)> act) {
  return [=](BrokenModel& model) { model.after = act; };
}

}  // namespace ternion
