// Both gated units. Of few tokens one kernel reads the gate's and the up matrix's weights of the same outputs, so that
// the sums never leave the chip; of many the gate waits in y.
#include "kernels/cuda/ternary_rows.h"

namespace ternion::cuda {
namespace {

void RunGated(CudaBackend& backend, const PackedTernary& gate, const PackedTernary& up,
              const QuantizedRows& x, TensorView<const float> gate_scale, TensorView<const float> up_scale,
              Epilogue epilogue, TensorView<float> y) {
  CHECK(gate.layout == TernaryLayout::kByOutput && up.layout == TernaryLayout::kByOutput,
        "gate and up are packed by output");
  CHECK(gate.outputs == up.outputs && gate.inputs == up.inputs, "gate and up have the same shape");
  CHECK(x.codes.cols() == gate.inputs && x.scales.size() == x.codes.rows(),
        "codes [T, inputs], scales [1, T]");
  CHECK(gate_scale.size() == gate.outputs && up_scale.size() == gate.outputs, "a scale for every channel");
  CHECK(y.rows() == x.codes.rows() && y.cols() == gate.outputs, "y is [T, channels]");
  if (y.rows() == 0) return;
  RowsWork work;
  work.matmul.weights = static_cast<const uint8_t*>(gate.data.data());
  work.matmul.outputs = gate.outputs;
  work.matmul.inputs = gate.inputs;
  work.matmul.codes = x.codes.data();
  work.matmul.tokens = x.codes.rows();
  work.matmul.y = y.data();
  work.matmul.row_scale = x.scales.data();
  work.matmul.weight_scale = gate_scale.data();
  work.up_weights = static_cast<const uint8_t*>(up.data.data());
  work.up_scale = up_scale.data();
  RunTernary(backend, work, epilogue);
}

}  // namespace

void CudaBackend::GatedRelu2(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                             TensorView<const float> gate_scale, TensorView<const float> up_scale,
                             TensorView<float> y) {
  RunGated(*this, gate, up, x, gate_scale, up_scale, Epilogue::kGateRelu2, y);
}

void CudaBackend::GatedSilu(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                            TensorView<const float> gate_scale, TensorView<const float> up_scale,
                            TensorView<float> y) {
  RunGated(*this, gate, up, x, gate_scale, up_scale, Epilogue::kGateSilu, y);
}

}  // namespace ternion::cuda
