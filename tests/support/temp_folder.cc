#include "tests/support/temp_folder.h"

#include <stdlib.h>

#include <fstream>

#include "kernels/check.h"

namespace ternion {

TempFolder::TempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "ternion-test-XXXXXX").string();
  CHECK(mkdtemp(pattern.data()) != nullptr, "cannot make a temporary folder");
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path TempFolder::Write(std::string_view name, std::string_view content) const {
  const std::filesystem::path file = path_ / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

}  // namespace ternion
