#include "kernels/cuda/vendor_matmul.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/graph_timer.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

constexpr int kAlgorithms = 8;
constexpr int kRepetitions = 5;
constexpr size_t kWorkspaceBytes = size_t{64} << 20;
constexpr size_t kDrawnBytes = size_t{4} << 20;

// What we call of libcublasLt. It is loaded when it is first asked for and stays.
struct Library {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmul) matmul;
};

absl::StatusOr<Library> LoadLibrary() {
  const std::string name = absl::StrCat("libcublasLt.so.", CUBLAS_VER_MAJOR);
  void* const handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return absl::UnavailableError(absl::StrCat("cannot load ", name, ": ", dlerror()));
  Library library = {};
  std::string missing;
  const auto find = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, symbol));
    if (function == nullptr) missing = symbol;
  };
  find(library.create, "cublasLtCreate");
  find(library.destroy, "cublasLtDestroy");
  find(library.desc_create, "cublasLtMatmulDescCreate");
  find(library.desc_destroy, "cublasLtMatmulDescDestroy");
  find(library.desc_set, "cublasLtMatmulDescSetAttribute");
  find(library.layout_create, "cublasLtMatrixLayoutCreate");
  find(library.layout_destroy, "cublasLtMatrixLayoutDestroy");
  find(library.preference_create, "cublasLtMatmulPreferenceCreate");
  find(library.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  find(library.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  find(library.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(library.matmul, "cublasLtMatmul");
  if (!missing.empty()) return absl::UnavailableError(absl::StrCat(name, " has no ", missing));
  return library;
}

absl::Status Checked(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(call, " failed with cuBLAS status ", static_cast<int>(status)));
}

// Owns a handle of the library's.
template <typename T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

template <typename T, typename Create, typename... Arguments>
absl::StatusOr<Owned<T>> Make(const char* call, Create create, cublasStatus_t (*destroy)(T),
                              Arguments... arguments) {
  T handle = nullptr;
  TERNION_RETURN_IF_ERROR(Checked(create(&handle, arguments...), call));
  return Owned<T>(handle, destroy);
}

struct Shape {
  VendorType type;
  int64_t outputs;
  int64_t inputs;
  int64_t tokens;

  bool is_int8() const { return type == VendorType::kInt8; }
  int64_t element_bytes() const { return is_int8() ? 1 : 2; }
  int64_t weight_bytes() const { return outputs * inputs * element_bytes(); }
  int64_t code_bytes() const { return tokens * inputs * element_bytes(); }
  int64_t result_bytes() const { return tokens * outputs * (is_int8() ? 4 : 2); }
};

// One matmul, prepared. cuBLAS counts columns first: its result [outputs x tokens] is our [tokens, outputs].
class Matmul {
 public:
  static absl::StatusOr<Matmul> Create(const Library& library, const Shape& shape) {
    Matmul matmul(library, shape);
    TERNION_RETURN_IF_ERROR(matmul.Prepare());
    TERNION_RETURN_IF_ERROR(matmul.Choose());
    return matmul;
  }

  int algorithms() const { return static_cast<int>(found_.size()); }

  cublasStatus_t Run(int algorithm, const void* weights, const void* codes, void* result, void* workspace,
                     cudaStream_t stream) const {
    const int32_t int_one = 1, int_zero = 0;
    const float one = 1, zero = 0;
    const bool int8 = shape_.is_int8();
    const void* const alpha = int8 ? static_cast<const void*>(&int_one) : &one;
    const void* const beta = int8 ? static_cast<const void*>(&int_zero) : &zero;
    return library_->matmul(handle_.get(), operation_.get(), alpha, weights, weights_.get(), codes,
                            codes_.get(), beta, result, result_.get(), result, result_.get(),
                            &found_[algorithm].algo, workspace, kWorkspaceBytes, stream);
  }

 private:
  Matmul(const Library& library, const Shape& shape)
      : library_(&library),
        shape_(shape),
        handle_(nullptr, library.destroy),
        operation_(nullptr, library.desc_destroy),
        weights_(nullptr, library.layout_destroy),
        codes_(nullptr, library.layout_destroy),
        result_(nullptr, library.layout_destroy) {}

  absl::Status Prepare() {
    const bool int8 = shape_.is_int8();
    const cudaDataType_t in = int8 ? CUDA_R_8I : CUDA_R_16F, out = int8 ? CUDA_R_32I : CUDA_R_16F;
    const cudaDataType_t scale = int8 ? CUDA_R_32I : CUDA_R_32F;
    const cublasComputeType_t compute = int8 ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F;
    const uint64_t outputs = shape_.outputs, inputs = shape_.inputs, tokens = shape_.tokens;
    TERNION_ASSIGN_OR_RETURN(handle_, Make("cublasLtCreate", library_->create, library_->destroy));
    TERNION_ASSIGN_OR_RETURN(operation_, Make("cublasLtMatmulDescCreate", library_->desc_create,
                                              library_->desc_destroy, compute, scale));
    TERNION_ASSIGN_OR_RETURN(weights_, MakeLayout(in, inputs, outputs));
    TERNION_ASSIGN_OR_RETURN(codes_, MakeLayout(in, inputs, tokens));
    TERNION_ASSIGN_OR_RETURN(result_, MakeLayout(out, outputs, tokens));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    return Checked(
        library_->desc_set(operation_.get(), CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)),
        "cublasLtMatmulDescSetAttribute");
  }

  absl::StatusOr<Owned<cublasLtMatrixLayout_t>> MakeLayout(cudaDataType_t type, uint64_t rows,
                                                           uint64_t columns) {
    return Make("cublasLtMatrixLayoutCreate", library_->layout_create, library_->layout_destroy, type, rows,
                columns, static_cast<int64_t>(rows));
  }

  absl::Status Choose() {
    TERNION_ASSIGN_OR_RETURN(
        const auto preference,
        Make("cublasLtMatmulPreferenceCreate", library_->preference_create, library_->preference_destroy));
    TERNION_RETURN_IF_ERROR(
        Checked(library_->preference_set(preference.get(), CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &kWorkspaceBytes, sizeof(kWorkspaceBytes)),
                "cublasLtMatmulPreferenceSetAttribute"));
    found_.resize(kAlgorithms);
    int found = 0;
    const cublasStatus_t status =
        library_->heuristic(handle_.get(), operation_.get(), weights_.get(), codes_.get(), result_.get(),
                            result_.get(), preference.get(), kAlgorithms, found_.data(), &found);
    if (status != CUBLAS_STATUS_SUCCESS || found == 0) {
      return absl::UnavailableError(absl::StrCat("cuBLASLt has no algorithm for ", shape_.outputs, " x ",
                                                 shape_.inputs, " with ", shape_.tokens, " tokens"));
    }
    found_.resize(static_cast<size_t>(found));
    return absl::OkStatus();
  }

  const Library* library_;
  Shape shape_;
  Owned<cublasLtHandle_t> handle_;
  Owned<cublasLtMatmulDesc_t> operation_;
  Owned<cublasLtMatrixLayout_t> weights_;
  Owned<cublasLtMatrixLayout_t> codes_;
  Owned<cublasLtMatrixLayout_t> result_;
  std::vector<cublasLtMatmulHeuristicResult_t> found_;
};

// The model's own numbers, since zeros would let the clock rise: trits, or codes of eight bits.
std::vector<uint8_t> Draw(VendorType type, bool trits) {
  std::minstd_rand random(1);
  std::vector<uint8_t> bytes(kDrawnBytes);
  for (size_t i = 0; i < bytes.size(); i += type == VendorType::kInt8 ? 1 : 2) {
    const int value = trits ? static_cast<int>(random() % 3) - 1 : static_cast<int>(random() % 255) - 127;
    if (type == VendorType::kInt8) {
      bytes[i] = static_cast<uint8_t>(value);
      continue;
    }
    // +-1 and 0 exactly; of codes the sign, an exponent of 1 to 64 and a drawn mantissa.
    const unsigned exponent = trits ? (value == 0 ? 0u : 15u) : 15 + random() % 7;
    const unsigned mantissa = trits ? 0 : random() % 1024;
    const unsigned half = (value < 0 ? 0x8000u : 0) | exponent << 10 | mantissa;
    bytes[i] = static_cast<uint8_t>(half);
    bytes[i + 1] = static_cast<uint8_t>(half >> 8);
  }
  return bytes;
}

absl::StatusOr<Buffer> Filled(CudaBackend& backend, int64_t bytes, const std::vector<uint8_t>& drawn) {
  TERNION_ASSIGN_OR_RETURN(Buffer buffer, backend.Allocate(static_cast<size_t>(bytes)));
  for (int64_t done = 0; done < bytes; done += static_cast<int64_t>(drawn.size())) {
    backend.CopyFromHost(static_cast<uint8_t*>(buffer.data()) + done, drawn.data(),
                         std::min(drawn.size(), static_cast<size_t>(bytes - done)));
  }
  backend.Synchronize();
  return buffer;
}

}  // namespace

absl::StatusOr<double> VendorMatmulSeconds(CudaBackend& backend, VendorType type, int64_t outputs,
                                           int64_t inputs, int64_t tokens) {
  static const absl::StatusOr<Library>* const library = new absl::StatusOr<Library>(LoadLibrary());
  if (!library->ok()) return library->status();
  const Shape shape{type, outputs, inputs, tokens};
  TERNION_ASSIGN_OR_RETURN(const Matmul matmul, Matmul::Create(**library, shape));
  const int64_t copies = RotatedCopies(shape.weight_bytes());
  TERNION_ASSIGN_OR_RETURN(const Buffer weights,
                           Filled(backend, copies * shape.weight_bytes(), Draw(type, true)));
  TERNION_ASSIGN_OR_RETURN(const Buffer codes, Filled(backend, shape.code_bytes(), Draw(type, false)));
  TERNION_ASSIGN_OR_RETURN(const Buffer result, backend.Allocate(static_cast<size_t>(shape.result_bytes())));
  TERNION_ASSIGN_OR_RETURN(const Buffer workspace, backend.Allocate(kWorkspaceBytes));
  const cudaStream_t stream = backend.launch_stream().handle;
  const double operations = 2.0 * static_cast<double>(outputs * inputs * tokens);
  const int launches =
      RotatedLaunches(copies, static_cast<double>(shape.weight_bytes()) / 4e12 + operations / 1e15);
  double best = 0;
  for (int algorithm = 0; algorithm < matmul.algorithms(); ++algorithm) {
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    const auto run = [&](int i) {
      const uint8_t* const copy =
          static_cast<const uint8_t*>(weights.data()) + i % copies * shape.weight_bytes();
      if (status == CUBLAS_STATUS_SUCCESS) {
        status = matmul.Run(algorithm, copy, codes.data(), result.data(), workspace.data(), stream);
      }
    };
    run(0);
    if (status != CUBLAS_STATUS_SUCCESS) continue;
    const double seconds = MedianSeconds(backend, launches, kRepetitions, run);
    if (status == CUBLAS_STATUS_SUCCESS && (best == 0 || seconds < best)) best = seconds;
  }
  if (best == 0) return absl::UnavailableError("none of cuBLASLt's algorithms ran");
  return best;
}

}  // namespace ternion::cuda
