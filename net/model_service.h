#pragma once

#include "runtime/serving/request.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// A loaded model, as the server sees it. Borrows; all three outlive the server.
struct ModelService {
  Generator* generator = nullptr;
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat = nullptr;  // null: the model cannot chat
};

}  // namespace ternion
