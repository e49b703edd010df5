#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "runtime/checkpoint/converted.h"
#include "runtime/checkpoint/stage_walk.h"

namespace ternion {

// The bytes of every buffer that a walk shows.
class BufferBytes final : public WeightVisitor {
 public:
  absl::Status Floats(const std::string& name, int64_t, Buffer& values) override {
    return Keep(name, values);
  }
  absl::Status Table(const std::string& name, int64_t, int64_t, Buffer& values) override {
    return Keep(name, values);
  }
  absl::Status Ternary(const std::string& name, TernaryLayout, MatrixForm form,
                       PackedTernary& matrix) override {
    EXPECT_EQ(matrix.outputs, form.outputs) << name;
    EXPECT_EQ(matrix.inputs, form.inputs) << name;
    return Keep(name, matrix.data);
  }
  absl::Status Uniform(const std::string& name, const UniformFormat& format, MatrixForm,
                       PackedUniform& matrix) override {
    EXPECT_TRUE(matrix.format == format) << name;
    return Keep(name, matrix.data);
  }
  absl::Status Dense(const std::string& name, DenseType type, MatrixForm, DenseMatrix& matrix) override {
    EXPECT_TRUE(matrix.type == type) << name;
    return Keep(name, matrix.data);
  }

  const std::map<std::string, std::string>& buffers() const { return buffers_; }

 private:
  absl::Status Keep(const std::string& name, const Buffer& buffer) {
    EXPECT_FALSE(buffer.empty()) << name;
    buffers_[name].assign(static_cast<const char*>(buffer.data()), buffer.bytes());
    return absl::OkStatus();
  }

  std::map<std::string, std::string> buffers_;
};

// What a rank holds on the CPU, by name.
inline std::map<std::string, std::string> BuffersOf(WeightSource& source, const ProcessGrid& grid) {
  const auto backend = MakeCpuBackend(1);
  auto stage = source.Load(grid, *backend, [](double) {});
  EXPECT_TRUE(stage.ok()) << stage.status();
  if (!stage.ok()) return {};
  BufferBytes bytes;
  StageWalk walk(source.config(), grid, bytes);
  EXPECT_EQ(stage->embedding.empty(), !walk.has_embedding());
  EXPECT_EQ(stage->head.empty(), !walk.has_head());
  absl::Status walked;
  if (walk.has_embedding()) walked.Update(walk.Embedding(stage->embedding));
  int64_t index = walk.layers().begin;
  for (LayerWeights& layer : stage->layers) walked.Update(walk.Layer(index++, layer));
  for (FloatLayerWeights& layer : stage->float_layers) walked.Update(walk.Layer(index++, layer));
  EXPECT_EQ(index, walk.layers().end);
  if (walk.has_final_norm()) walked.Update(walk.FinalNorm(stage->final_norm));
  if (walk.has_head()) walked.Update(walk.Head(stage->head));
  EXPECT_TRUE(walked.ok()) << walked;
  return bytes.buffers();
}

// Of tests/data: a config.json to make weights up for, or a folder.
inline std::unique_ptr<WeightSource> TinySource(const std::string& name) {
  const std::filesystem::path path = std::string(TERNION_SOURCE_DIR) + "/tests/data/" + name;
  auto source = path.extension() == ".json" ? OpenSynthetic(path) : OpenCheckpoint(path);
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

inline ConvertOptions OptionsFor(const WeightSource& source, const std::filesystem::path& destination, int tp,
                                 int pp) {
  ConvertOptions options;
  options.destination = destination;
  options.name = "tiny";
  options.tp = tp;
  options.pp = pp;
  options.files = {{"config.json", source.config().text}};
  return options;
}

inline std::string FileText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void WriteText(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

}  // namespace ternion
