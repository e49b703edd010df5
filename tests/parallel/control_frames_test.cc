#include "parallel/control_frames.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/escaping.h"
#include "parallel/control_proof.h"

namespace ternion {
namespace {

// Every way to cut the same stream gives the same frames.
TEST(ControlFrames, AStreamMayComeInAnyPieces) {
  const std::string stream =
      *EncodeFrame({1, "one"}) + *EncodeFrame({2, ""}) + *EncodeFrame({0x01020304, "three"});
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameParser parser;
    std::vector<Frame> frames;
    for (size_t at = 0; at < stream.size(); at += piece) {
      const std::string_view bytes = std::string_view(stream).substr(at, piece);
      ASSERT_TRUE(parser.Feed(bytes, [&](Frame frame) { frames.push_back(std::move(frame)); }).ok());
    }
    ASSERT_EQ(frames.size(), 3u);
    EXPECT_EQ(frames[0].payload, "one");
    EXPECT_EQ(frames[1].kind, 2u);
    EXPECT_EQ(frames[1].payload, "");
    EXPECT_EQ(frames[2].kind, 0x01020304u);
    EXPECT_EQ(frames[2].payload, "three");
  }
}

TEST(ControlFrames, LayoutIsLittleEndianLengthKindPayload) {
  EXPECT_EQ(*EncodeFrame({0x01020304, "ab"}), std::string("\2\0\0\0\4\3\2\1ab", 10));
}

TEST(ControlFrames, AnOversizedFrameIsRefusedByItsLength) {
  FrameParser parser;
  std::string header;
  AppendUint32(static_cast<uint32_t>(kMostFrameBytes) + 1, header);
  AppendUint32(1, header);
  EXPECT_EQ(parser.Feed(header, [](Frame) { FAIL() << "no frame"; }).code(),
            absl::StatusCode::kInvalidArgument);
}

// Digests from Python's hmac and hashlib over the texts that the header names.
TEST(ControlProof, IsAnHmacSha256) {
  const std::string secret(32, 'k');
  const std::string server_nonce(32, 's');
  const std::string client_nonce(32, 'c');
  EXPECT_EQ(absl::BytesToHexString(ClientProof(secret, server_nonce, client_nonce, 7)),
            "93bb077cc5e4aa072195d916abf49cc0ce141f8bc101b704aff429aead069d3a");
  EXPECT_EQ(absl::BytesToHexString(ServerProof(secret, client_nonce, server_nonce)),
            "c95524ea7b88f77879e40357a02c07c6f4c23e0a21d0c424708dc189d6a698a0");
}

TEST(ControlProof, DependsOnEveryPart) {
  const std::string a(32, 'a');
  const std::string b(32, 'b');
  const std::string proof = ClientProof(a, a, a, 1);
  EXPECT_EQ(proof.size(), kProofBytes);
  EXPECT_TRUE(SameProof(proof, ClientProof(a, a, a, 1)));
  for (const std::string& other : {ClientProof(b, a, a, 1), ClientProof(a, b, a, 1), ClientProof(a, a, b, 1),
                                   ClientProof(a, a, a, 2), ServerProof(a, a, a), std::string("short")}) {
    EXPECT_FALSE(SameProof(proof, other));
  }
}

TEST(ControlProof, SecretsDiffer) {
  const std::string a = *MakeControlSecret();
  EXPECT_EQ(a.size(), 32u);
  EXPECT_NE(a, *MakeControlSecret());
}

}  // namespace
}  // namespace ternion
