#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "parallel/tensor_parallel.h"

namespace ternion {

// One rank of a tensor-parallel group.
struct ExchangeRank {
  ExchangeRank(Communicator& ranks, int64_t one_shot_tokens);  // on the CPU
  // On the backend whose memory the group moves; it must outlive this.
  ExchangeRank(Communicator& ranks, int64_t one_shot_tokens, Backend& on);

  Communicator& group;
  std::unique_ptr<Backend> own_backend;  // null when it is another's
  Backend& backend;
  WireBytes bytes;
  std::unique_ptr<TensorParallel> exchange;
};

// Numbers of tokens where sharing rows among `tp` ranks could go wrong: 1 to 2 * tp + 1, and 17, 40, 100.
std::vector<int64_t> StepSizes(int tp);

// Each checks one operation for a step of `tokens`, bit by bit against the plain computation of it from all
// ranks' inputs. Every rank of the group calls them, in the same order.
void CheckReduceExact(ExchangeRank& rank, int64_t tokens);
void CheckReduceFloats(ExchangeRank& rank, int64_t tokens);  // of two ranks at least
void CheckReduceLossy(ExchangeRank& rank, WireFormat format, bool with_extra, int64_t tokens);
void CheckGatherCodes(ExchangeRank& rank, bool int4, int64_t tokens);
void CheckGatherFloats(ExchangeRank& rank, int64_t tokens);
void CheckGatherColumns(ExchangeRank& rank, int64_t tokens, int64_t widest);
void CheckMaxOverRanks(ExchangeRank& rank, int64_t tokens);
void CheckKthMagnitude(ExchangeRank& rank, int64_t tokens, int64_t widest);
void CheckEmbedRows(ExchangeRank& rank, int64_t tokens);
void CheckGatherRows(ExchangeRank& rank, int64_t tokens);
// All of the above.
void CheckExchanges(ExchangeRank& rank, int64_t tokens);

// The residual of a step goes through every stage; stage s holds what s encodings left of it.
void CheckPipeline(ExchangeRank& rank, Communicator& column, WireFormat format);

}  // namespace ternion
