#pragma once

#include "net/field_reader.h"
#include "net/openai_request.h"

namespace ternion {

// How tokens are drawn, and which: temperature, top_p, top_k, min_p, penalties, logit_bias, seed, min_tokens,
// stop_token_ids, ignore_eos.
void ReadSampling(FieldReader& reader, OpenAiRequest* request);

// completions: logprobs, a number; chat: logprobs, true or false, and top_logprobs.
void ReadLogprobs(FieldReader& reader, OpenAiRequest* request);

}  // namespace ternion
