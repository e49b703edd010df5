#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ternion {

// A file that appears whole or not at all: written under a temporary name beside its own, then renamed. It is
// opened before a long run, so that a wrong path is told at once. What was there before stays until Commit. What is there and
// no file, as /dev/stdout, is written itself.
class OutputFile {
 public:
  // kInvalidArgument names `option`.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Open(std::string_view option, const std::string& path);
  // Removes the temporary file of what was not committed.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // kResourceExhausted, kUnknown: the disk is full, say.
  absl::Status Append(std::string_view content);
  // Appends, then gives the file its name.
  absl::Status Commit(std::string_view content);

 private:
  OutputFile(std::string path, std::string temporary, int file)
      : path_(std::move(path)), temporary_(std::move(temporary)), file_(file) {}
  absl::Status Fail(std::string_view doing) const;

  const std::string path_;
  const std::string temporary_;  // empty: path_ itself is written
  int file_;
};

}  // namespace ternion
