#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "parallel/tensor_parallel.h"

namespace ternion {

// Float rows to and from their wire format, each row by itself.
//                                                            x [rows, n], wire [rows, WireRowBytes(format, n)]
void EncodeRows(Backend& backend, WireFormat format, TensorView<const float> x, uint8_t* wire);
// x (+)= the decoded rows: added when `add` (lossy formats alone), else stored.
void DecodeRows(Backend& backend, WireFormat format, const uint8_t* wire, bool add, TensorView<float> x);

// What one rank sends another of some rows: the encoded rows, then a float for each. Blocks lie one behind the other, so
// each takes a multiple of 16 bytes: kernels read and write the rows of any of them in wide words.
struct WireBlock {
  int64_t row_bytes = 0;    // of an encoded row
  bool with_floats = true;  // else the rows alone

  // Where the floats begin.
  int64_t FloatsAt(int64_t rows) const { return RoundUp(rows * row_bytes, sizeof(float)); }
  int64_t Bytes(int64_t rows) const {
    const int64_t floats = with_floats ? rows * static_cast<int64_t>(sizeof(float)) : 0;
    return RoundUp(FloatsAt(rows) + floats, 16);
  }
  // The floats of the block that begins at `block`.
  TensorView<float> Floats(uint8_t* block, int64_t rows) const {
    return {reinterpret_cast<float*>(block + FloatsAt(rows)), 1, rows};
  }

 private:
  static int64_t RoundUp(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }
};

}  // namespace ternion
