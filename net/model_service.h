#pragma once

#include <functional>
#include <string>

#include "runtime/constraint/constraints.h"
#include "runtime/serving/job_status.h"
#include "runtime/serving/request.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// A loaded model, as the server sees it. Borrows; what it points to outlives the server.
struct ModelService {
  Generator* generator = nullptr;
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat = nullptr;              // null: the model cannot chat
  std::string chat_refusal = {};                   // why not
  std::function<std::string()> metrics = nullptr;  // Prometheus' text format; empty: there are none
  const JobStatusBoard* job = nullptr;             // null: nobody knows of ranks
  Constraints* constraints = nullptr;              // null: texts cannot be constrained
  std::function<void()> drain = nullptr;           // begins a drain, and returns; empty: clients cannot
};

}  // namespace ternion
