#pragma once

#include <string>
#include <string_view>

#include "tests/support/temp_folder.h"

namespace ternion {

// A copy of the demo model in a folder of its own, to be damaged and written.
class DamagedModel {
 public:
  DamagedModel();

  // The whole model.safetensors: 8 bytes of header length, header, data.
  std::string bytes;

  // Replaces text of the header by as many bytes.
  void ReplaceInHeader(std::string_view from, std::string_view to);
  // A tensor's bytes within `bytes`.
  struct Place {
    size_t begin = 0;
    size_t size = 0;
  };
  Place Find(std::string_view tensor) const;

  // Writes the files; returns the folder.
  std::string Write() const;

 private:
  std::string Header() const;

  TempFolder folder_;
};

}  // namespace ternion
