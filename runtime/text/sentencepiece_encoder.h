#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ternion {

// libsentencepiece, whose header cannot stand beside Abseil's. Immutable and thread-safe after Load.
class SentencePieceEncoder {
 public:
  SentencePieceEncoder();
  ~SentencePieceEncoder();

  // A model that SentencePieceModel has checked and written. False, and why, when the library refuses it.
  bool Load(const std::string& model, std::string* error);
  // Appends the ids of a text, which is UTF-8.
  bool Encode(std::string_view text, std::vector<int>* ids, std::string* error) const;

 private:
  class Library;
  std::unique_ptr<Library> library_;
};

}  // namespace ternion
