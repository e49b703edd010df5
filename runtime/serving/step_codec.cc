#include <cstring>
#include <type_traits>

#include "runtime/serving/step_plan.h"

namespace ternion {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little-endian");

// The same Visit functions read and write: an archive is one of these two.
class Writer {
 public:
  // `expected` bytes, about.
  explicit Writer(size_t expected) { bytes_.reserve(expected); }

  template <typename T>
  void Value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  template <typename T, typename Each>
  void Vector(const std::vector<T>& values, Each each) {
    Value(static_cast<uint32_t>(values.size()));
    for (const T& value : values) each(value);
  }
  // A vector of plain values, at once: block tables of long contexts are most of a plan.
  template <typename T>
  void Plain(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    Value(static_cast<uint32_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  template <typename T, typename Each>
  void Optional(const std::optional<T>& value, Each each) {
    Value(value.has_value());
    if (value.has_value()) each(*value);
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  void Value(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (rest_.size() < sizeof(T)) return Fail();
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
  }
  void Value(bool& value) {
    uint8_t byte = 0;
    Value(byte);
    if (byte > 1) Fail();
    value = byte == 1;
  }
  template <typename T, typename Each>
  void Vector(std::vector<T>& values, Each each) {
    uint32_t count = 0;
    Value(count);
    // Every element takes at least one byte, so a count over the rest lies.
    if (count > rest_.size()) return Fail();
    values.resize(count);
    for (T& value : values) each(value);
  }
  template <typename T>
  void Plain(std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    uint32_t count = 0;
    Value(count);
    if (count > rest_.size() / sizeof(T)) return Fail();
    values.resize(count);
    if (count == 0) return;
    std::memcpy(values.data(), rest_.data(), count * sizeof(T));
    rest_.remove_prefix(count * sizeof(T));
  }
  template <typename T, typename Each>
  void Optional(std::optional<T>& value, Each each) {
    bool present = false;
    Value(present);
    if (present) each(value.emplace());
  }
  bool AtEnd() const { return ok_ && rest_.empty(); }

 private:
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

  std::string_view rest_;
  bool ok_ = true;
};

template <typename Archive, typename Sampling>
void VisitSampling(Archive& archive, Sampling& s) {
  archive.Value(s.temperature);
  archive.Value(s.top_k);
  archive.Value(s.top_p);
  archive.Value(s.seed);
  archive.Value(s.min_p);
}

template <typename Archive, typename Logprobs>
void VisitLogprobs(Archive& archive, Logprobs& logprobs) {
  archive.Value(logprobs.logprob);
  archive.Vector(logprobs.top, [&](auto& entry) {
    archive.Value(entry.first);
    archive.Value(entry.second);
  });
}

template <typename Archive, typename Sequence>
void VisitSequence(Archive& archive, Sequence& s) {
  archive.Value(s.id);
  archive.Value(s.position);
  archive.Plain(s.tokens);
  archive.Plain(s.block_table);
  archive.Value(s.sample);
  archive.Value(s.hash_logits);
  archive.Value(s.sample_index);
  VisitSampling(archive, s.sampling);
  archive.Plain(s.changes);
  archive.Plain(s.mask);
  archive.Value(s.logprobs);
  archive.Plain(s.targets);
  archive.Value(s.prompt_logprobs);
}

template <typename Archive, typename Plan>
void VisitPlan(Archive& archive, Plan& plan) {
  archive.Value(plan.step);
  archive.Vector(plan.sequences, [&](auto& s) { VisitSequence(archive, s); });
  archive.Vector(plan.copies, [&](auto& copy) {
    archive.Value(copy.from);
    archive.Value(copy.to);
  });
  archive.Plain(plan.released);
}

template <typename Archive, typename Result>
void VisitResult(Archive& archive, Result& result) {
  archive.Value(result.step);
  archive.Vector(result.sequences, [&](auto& s) {
    archive.Value(s.id);
    archive.Value(s.token);
    archive.Value(s.logits_hash);
    archive.Value(s.negative_log_likelihood);
    archive.Optional(s.logprobs, [&](auto& logprobs) { VisitLogprobs(archive, logprobs); });
    archive.Vector(s.prompt_logprobs, [&](auto& logprobs) { VisitLogprobs(archive, logprobs); });
  });
}

// Of a sequence's share but its vectors' elements; no more than this.
constexpr size_t kSequenceBytes = sizeof(StepSequence);

}  // namespace

std::string EncodePlan(const StepPlan& plan) {
  size_t numbers = 2 * plan.copies.size() + 2 * plan.released.size();
  for (const StepSequence& s : plan.sequences) {
    numbers += kSequenceBytes / sizeof(int32_t) + s.tokens.size() + s.block_table.size() + s.targets.size();
    numbers += s.mask.size();
  }
  Writer writer(sizeof(StepPlan) + numbers * sizeof(int32_t));
  VisitPlan(writer, plan);
  return writer.Take();
}

absl::StatusOr<StepPlan> DecodePlan(std::string_view bytes) {
  StepPlan plan;
  Reader reader(bytes);
  VisitPlan(reader, plan);
  if (!reader.AtEnd()) return absl::DataLossError("a step plan's frame is malformed");
  return plan;
}

std::string EncodeResult(const StepResult& result) {
  Writer writer(sizeof(StepResult) + result.sequences.size() * sizeof(SequenceResult));
  VisitResult(writer, result);
  return writer.Take();
}

absl::StatusOr<StepResult> DecodeResult(std::string_view bytes) {
  StepResult result;
  Reader reader(bytes);
  VisitResult(reader, result);
  if (!reader.AtEnd()) return absl::DataLossError("a step result's frame is malformed");
  return result;
}

}  // namespace ternion
