#pragma once

#include "net/field_reader.h"
#include "net/openai_request.h"

namespace ternion {

// The input of a request: a string, an array of strings, an array of ids, or an array of arrays of ids.
void ReadPrompts(FieldReader& reader, std::vector<PromptInput>* prompts);
// [{role, content}], the content a string or an array of {type: "text", text}.
void ReadMessages(FieldReader& reader, std::vector<ChatMessage>* messages);
// chat_template_kwargs: an object without `messages`, of at most 64 members.
void ReadTemplateVariables(FieldReader& reader, nlohmann::json* variables);

}  // namespace ternion
