#pragma once

#include <filesystem>
#include <string>

namespace ternion {

// A self-signed certificate for localhost and 127.0.0.1 with a key of its own, as two PEM files. `name` is its subject.
struct Certificate {
  // `rsa`: with a key of RSA, not of an elliptic curve.
  Certificate(const std::filesystem::path& folder, const std::string& name, bool rsa = false);

  std::string cert;  // the files
  std::string key;
};

}  // namespace ternion
