#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

namespace ternion {

// A backend that a test's body runs on.
struct BackendCase {
  std::string name;
  std::function<std::unique_ptr<Backend>()> make;
  // Backends of one family give the same bits: they are compared with the family's first.
  std::string family;
  // How far results may lie from a float reference that adds in the contract's order, relative; 0: the same
  // bits.
  float tolerance = 0;
  // Attention takes a cache of KvFormat::kF32, and the values of other formats as float32. Else these are rounded to
  // float16.
  bool f32_kv = true;
};
void PrintTo(const BackendCase& backend, std::ostream* out);

// Every backend this machine runs, the CPU's first.
const std::vector<BackendCase>& Backends();
// The first of the same family.
const BackendCase& FamilyReference(const BackendCase& backend);
// The CPU's instruction sets that this machine runs.
std::vector<cpu::Isa> RunnableIsas();

// A test of an operation, run on every backend: INSTANTIATE_BACKEND_TEST(NameOfSuite).
class BackendTest : public testing::TestWithParam<BackendCase> {
 protected:
  BackendTest() : backend_(GetParam().make()), reference_(FamilyReference(GetParam()).make()) {}
  Backend& backend() { return *backend_; }
  Backend& reference() { return *reference_; }
  float tolerance() const { return GetParam().tolerance; }
  // A row's segment sums, added in the backend's order (Backend::RmsNorm).
  float SumOfSegments(const std::vector<float>& sums) const;

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> reference_;
};
std::string BackendName(const testing::TestParamInfo<BackendCase>& info);
#define INSTANTIATE_BACKEND_TEST(suite) \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(Backends()), BackendName)

// A matrix in a backend's memory.
template <typename T>
class DeviceMatrix {
 public:
  DeviceMatrix(Backend& backend, int64_t rows, int64_t cols) : backend_(&backend), rows_(rows), cols_(cols) {
    auto buffer = backend.Allocate(rows * cols * sizeof(T));
    CHECK(buffer.ok(), "a test's matrix does not fit");
    buffer_ = *std::move(buffer);
  }
  DeviceMatrix(Backend& backend, int64_t rows, int64_t cols, const std::vector<T>& values)
      : DeviceMatrix(backend, rows, cols) {
    CHECK(static_cast<int64_t>(values.size()) == rows * cols, "as many values as elements");
    Write(values);
  }

  TensorView<T> view() const { return buffer_.As<T>(rows_, cols_); }
  operator TensorView<T>() const { return view(); }        // NOLINT
  operator TensorView<const T>() const { return view(); }  // NOLINT
  void Write(const std::vector<T>& values) const {
    backend_->CopyFromHost(buffer_.data(), values.data(), values.size() * sizeof(T));
    backend_->Synchronize();
  }
  std::vector<T> Read() const {
    std::vector<T> values(rows_ * cols_);
    backend_->CopyToHost(values.data(), buffer_.data(), values.size() * sizeof(T));
    backend_->Synchronize();
    return values;
  }

 private:
  Backend* backend_;
  Buffer buffer_;
  int64_t rows_;
  int64_t cols_;
};

// Standard normal numbers times `size`.
std::vector<float> RandomFloats(int64_t n, uint32_t seed, float size = 1);
std::vector<BFloat16> RandomBf16(int64_t n, uint32_t seed);
float Widen(BFloat16 x);

// The same bits, or (tolerance > 0) |got - want| <= tolerance * max(1, |want|).
void ExpectClose(const std::vector<float>& got, const std::vector<float>& want, float tolerance);
template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// The tree that halves n = a power of two numbers.
float HalvingSum(std::vector<float> x);

}  // namespace ternion
