#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ternion {

// The handshake's bytes (control_channel.h has the protocol). Nonces, secrets and proofs are 32 bytes.
inline constexpr size_t kNonceBytes = 32;
inline constexpr size_t kProofBytes = 32;
// A client's answer: rank, nonce, proof.
inline constexpr size_t kClientHelloBytes = sizeof(uint32_t) + kNonceBytes + kProofBytes;

// 32 bytes from the operating system's random source; kUnavailable when it gives none.
absl::StatusOr<std::string> MakeNonce();

std::string ClientProof(std::string_view secret, std::string_view server_nonce, std::string_view client_nonce,
                        uint32_t rank);
std::string ServerProof(std::string_view secret, std::string_view client_nonce,
                        std::string_view server_nonce);
// In a time that does not depend on where they differ.
bool SameProof(std::string_view a, std::string_view b);

std::string ClientHello(std::string_view secret, std::string_view server_nonce, std::string_view client_nonce,
                        uint32_t rank);

// Little-endian, as all integers of the control plane.
void AppendUint32(uint32_t value, std::string& out);
uint32_t ReadUint32(const char* bytes);

}  // namespace ternion
