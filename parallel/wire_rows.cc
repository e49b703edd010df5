#include "parallel/wire_rows.h"

#include "kernels/check.h"

namespace ternion {

void EncodeRows(Backend& backend, WireFormat format, TensorView<const float> x, uint8_t* wire) {
  const TensorView<uint8_t> rows(wire, x.rows(), WireRowBytes(format, x.cols()));
  switch (format) {
    case WireFormat::kExact:
      return backend.Copy(wire, x.data(), x.bytes());
    case WireFormat::kInt8:
      return backend.EncodeInt8(x, rows);
    case WireFormat::kInt4:
      return backend.EncodeInt4(x, rows);
  }
}

void DecodeRows(Backend& backend, WireFormat format, const uint8_t* wire, bool add, TensorView<float> x) {
  const TensorView<const uint8_t> rows(wire, x.rows(), WireRowBytes(format, x.cols()));
  switch (format) {
    case WireFormat::kExact:
      CHECK(!add, "exact rows are not summed as floats");
      return backend.Copy(x.data(), wire, x.bytes());
    case WireFormat::kInt8:
      return backend.DecodeInt8(rows, add, x);
    case WireFormat::kInt4:
      return backend.DecodeInt4(rows, add, x);
  }
}

}  // namespace ternion
