// A JSON Schema, and a text that its automaton reads: the input's end behind a line "====", or what stands here. An automaton
// that goes on with a text never stands where no text ends.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/constraint/automaton.h"
#include "runtime/constraint/json_schema.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view schema = ternion::AsText(data, size);
  std::string_view text = R"({"a": [1, -2.5e3, "x\n", null], "b": {"c": true}})";
  constexpr std::string_view kCut = "\n====\n";
  if (const size_t cut = schema.find(kCut); cut != schema.npos) {
    text = schema.substr(cut + kCut.size());
    schema = schema.substr(0, cut);
  }
  const auto document = nlohmann::ordered_json::parse(schema, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return 0;
  std::string where;
  const auto grammar = ternion::JsonSchemaGrammar(document, &where);
  if (!grammar.ok()) return 0;
  ternion::Automaton automaton(*grammar);
  int32_t state = automaton.start();
  for (const char byte : text.substr(0, 4096)) {
    state = automaton.Next(state, static_cast<uint8_t>(byte));
    if (state == ternion::Automaton::kDead) return 0;
    (void)automaton.LocalOf(state);
  }
  return 0;
}
