#include "tests/support/attention_case.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ternion {

AttentionCase::AttentionCase(HeadShard heads, KvFormat format, std::vector<int64_t> lengths, int query_bits)
    : heads_(heads), format_(format), query_bits_(query_bits) {
  for (int64_t tokens : lengths) blocks_ += (tokens + kKvBlockTokens - 1) / kKvBlockTokens;
  blocks_ += 2;  // nobody's
  std::vector<int32_t> free(blocks_);
  std::iota(free.begin(), free.end(), 0);
  std::shuffle(free.begin(), free.end(), std::mt19937(7));
  for (int64_t tokens : lengths) {
    const auto seed = static_cast<uint32_t>(sequences_.size() + 1);
    TestSequence sequence{tokens, RandomFloats(tokens * width(), seed), {}};
    for (int64_t begin = 0; begin < tokens; begin += kKvBlockTokens) {
      sequence.blocks.push_back(free.back());
      free.pop_back();
    }
    sequences_.push_back(std::move(sequence));
  }
}

void AttentionCase::Scale(const std::function<float(int64_t)>& factor) {
  for (TestSequence& sequence : sequences_) {
    for (size_t i = 0; i < sequence.qkv.size(); ++i)
      sequence.qkv[i] *= factor(static_cast<int64_t>(i) / width());
  }
}

void AttentionCase::Change(const std::function<void(int64_t, float*, float*, float*)>& change) {
  const int64_t keys = int64_t{heads_.query_heads} * heads_.head_dim;
  const int64_t values = keys + int64_t{heads_.kv_heads} * heads_.head_dim;
  for (TestSequence& sequence : sequences_) {
    for (int64_t position = 0; position < sequence.tokens; ++position) {
      float* const row = &sequence.qkv[position * width()];
      change(position, row, row + keys, row + values);
    }
  }
}

std::vector<std::vector<StepPart>> AttentionCase::OneStep() const {
  std::vector<StepPart> step;
  for (size_t s = 0; s < sequences_.size(); ++s)
    step.push_back({static_cast<int>(s), 0, sequences_[s].tokens});
  return {step};
}

std::vector<float> AttentionCase::RowsOf(const std::vector<StepPart>& step) const {
  std::vector<float> rows;
  for (const StepPart& part : step) {
    const auto begin = sequences_[part.sequence].qkv.begin() + part.position * width();
    rows.insert(rows.end(), begin, begin + part.rows * width());
  }
  return rows;
}

std::vector<KvSlice> AttentionCase::SlicesOf(const std::vector<StepPart>& step) const {
  std::vector<KvSlice> slices;
  int64_t row = 0;
  for (const StepPart& part : step) {
    slices.push_back({row, part.rows, part.position, sequences_[part.sequence].blocks});
    row += part.rows;
  }
  return slices;
}

size_t AttentionCase::cache_bytes() const {
  return blocks_ * heads_.kv_heads * KvHeadBytes(format_, heads_.head_dim);
}

KvLayer AttentionCase::Cache(const DeviceMatrix<uint8_t>& memory) const {
  return {memory.view().data(), format_, blocks_, heads_.kv_heads, heads_.head_dim, query_bits_};
}

DeviceMatrix<float> AttentionCase::Angles(Backend& backend) const {
  int64_t positions = 0;
  for (const TestSequence& sequence : sequences_) positions = std::max(positions, sequence.tokens);
  return {backend, positions, heads_.head_dim, RandomFloats(positions * heads_.head_dim, 77)};
}

void AttentionCase::Operate(Backend& backend, StepMeans means, const Operands& on) const {
  if (means == StepMeans::kAtOnce) {
    return backend.RopeAttention(on.qkv, heads_, on.angles, on.slices, on.cache, on.result);
  }
  if (means == StepMeans::kTurnWriteAttend) {
    backend.Rope(on.qkv, 0, heads_.query_heads + heads_.kv_heads, heads_.head_dim, on.angles, on.slices);
  }
  backend.WriteKv(on.qkv, heads_, on.slices, on.cache);
  backend.Attention(on.qkv, heads_, on.slices, on.cache, on.result);
}

void AttentionCase::RunStep(Backend& backend, const KvLayer& cache, const std::vector<StepPart>& step,
                            StepMeans means, std::vector<std::vector<float>>* out) const {
  const std::vector<float> rows = RowsOf(step);
  const std::vector<KvSlice> slices = SlicesOf(step);
  const KvSlices uploaded = backend.UploadSlices(slices);
  const int64_t tokens = rows.size() / width();
  const DeviceMatrix<float> qkv(backend, tokens, width(), rows);
  const DeviceMatrix<float> result(backend, tokens, out_width()), angles = Angles(backend);
  Operate(backend, means, {qkv, angles, uploaded, cache, result});
  const std::vector<float> values = result.Read();
  for (size_t i = 0; i < step.size(); ++i) {
    const auto begin = values.begin() + slices[i].row_begin * out_width();
    std::copy(begin, begin + step[i].rows * out_width(),
              (*out)[step[i].sequence].begin() + step[i].position * out_width());
  }
}

std::vector<std::vector<float>> AttentionCase::Run(Backend& backend,
                                                   const std::vector<std::vector<StepPart>>& steps,
                                                   StepMeans means, std::vector<uint8_t>* cache_after) const {
  const DeviceMatrix<uint8_t> memory(backend, 1, cache_bytes(), std::vector<uint8_t>(cache_bytes(), 0xff));
  const KvLayer cache = Cache(memory);
  std::vector<std::vector<float>> out;
  for (const TestSequence& sequence : sequences_) out.emplace_back(sequence.tokens * out_width(), NAN);
  for (const std::vector<StepPart>& step : steps) RunStep(backend, cache, step, means, &out);
  if (cache_after != nullptr) *cache_after = memory.Read();
  return out;
}

std::vector<std::vector<float>> AttentionCase::RunReplayed(Backend& backend, int64_t prompt,
                                                           StepMeans means) const {
  const DeviceMatrix<uint8_t> memory(backend, 1, cache_bytes(), std::vector<uint8_t>(cache_bytes(), 0xff));
  const KvLayer cache = Cache(memory);
  const auto sequences = static_cast<int64_t>(sequences_.size());
  int64_t tokens = sequences_[0].tokens;
  for (const TestSequence& sequence : sequences_) tokens = std::min(tokens, sequence.tokens);
  std::vector<std::vector<float>> out(sequences, std::vector<float>(tokens * out_width()));
  std::vector<StepPart> step;
  for (int64_t s = 0; s < sequences; ++s) step.push_back({static_cast<int>(s), 0, prompt});
  RunStep(backend, cache, step, means, &out);
  const DeviceMatrix<float> qkv(backend, sequences, width()), result(backend, sequences, out_width()),
      angles = Angles(backend);
  for (int64_t position = prompt; position < tokens; ++position) {
    for (StepPart& part : step) part = {part.sequence, position, 1};
    const std::vector<float> rows = RowsOf(step);
    const std::vector<KvSlice> slices = SlicesOf(step);
    const KvSlices uploaded = backend.UploadSlices(slices);
    backend.CopyFromHost(qkv.view().data(), rows.data(), rows.size() * sizeof(float));
    // This case's own.
    const uint64_t key =
        (uploaded.shape * 1000 + static_cast<uint64_t>(heads_.head_dim)) * 4 + static_cast<uint64_t>(means);
    const auto ran = backend.Replay(key, [&] {
      Operate(backend, means, {qkv, angles, uploaded, cache, result});
      return absl::OkStatus();
    });
    CHECK(ran.ok(), "a step can be recorded");
    const std::vector<float> values = result.Read();
    for (int64_t s = 0; s < sequences; ++s) {
      std::copy_n(values.begin() + s * out_width(), out_width(), out[s].begin() + position * out_width());
    }
  }
  return out;
}

std::vector<uint8_t> AttentionCase::CacheAfter(Backend& backend,
                                               const std::vector<std::vector<StepPart>>& steps) const {
  std::vector<uint8_t> cache;
  Run(backend, steps, StepMeans::kWriteAttend, &cache);
  return cache;
}

}  // namespace ternion
