#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ternion {

// The server's side of TLS 1.2 and 1.3: a certificate with its key, which can be read again while clients are served.
// Thread-safe.
class TlsContext {
 public:
  // `certificate`: a PEM file with the server's certificate and those that lead to its authority; `key`: a PEM file.
  // kInvalidArgument names the file and says what is wrong with it.
  static absl::StatusOr<std::unique_ptr<TlsContext>> Load(std::string certificate, std::string key);

  // Reads both files again. On an error what was there goes on to be shown.
  absl::Status Reload();

  // What new connections are to use; those that began earlier keep theirs.
  std::shared_ptr<boost::asio::ssl::context> current() const;

 private:
  TlsContext(std::string certificate, std::string key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}

  const std::string certificate_, key_;
  mutable std::mutex mutex_;
  std::shared_ptr<boost::asio::ssl::context> current_;
};

}  // namespace ternion
