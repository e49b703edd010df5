#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "net/http_server.h"
#include "nlohmann/json.hpp"
#include "tests/support/fake_generator.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/support/http_client.h"
#include "tests/support/temp_folder.h"

namespace ternion {

inline constexpr std::string_view kCompletions = "/v1/completions";
inline constexpr std::string_view kChat = "/v1/chat/completions";

// A server on a free port of the loopback interface, with an engine and a tokenizer that are fakes.
struct TestServer {
  // `chat_template`: the model's own; "": it has none.
  explicit TestServer(FakeGenerator::Behaviour behaviour = {}, ServerOptions options = {},
                      bool can_chat = true, std::string_view chat_template = "")
      : tokenizer(can_chat), generator(std::move(behaviour)) {
    const TempFolder folder;
    if (!chat_template.empty()) folder.Write("chat_template.jinja", chat_template);
    auto made = ChatTemplate::Open(folder.path(), tokenizer);
    if (made.ok()) chat = *std::move(made);
    options.host = "127.0.0.1";
    options.port = 0;
    options.served_model_name = "demo";
    options.version = "1.2.3";
    auto bound = HttpServer::Bind(std::move(options));
    CHECK(bound.ok(), "cannot bind a free port");
    server = *std::move(bound);
    ModelService service{&generator, &tokenizer, chat.get(), std::string(made.status().message())};
    service.metrics = [] { return std::string("one 1\n"); };
    service.constraints = &constraints;
    server->Serve(service);
  }

  uint16_t port() const { return server->port(); }

  FakeTokenizer tokenizer;
  Constraints constraints{tokenizer};
  FakeGenerator generator;
  std::unique_ptr<ChatTemplate> chat;
  std::unique_ptr<HttpServer> server;
};

inline nlohmann::json Json(const HttpReply& reply) {
  return nlohmann::json::parse(reply.body, nullptr, false);
}

// The ids of an ASCII text for the fake tokenizer.
inline std::vector<int32_t> Ids(std::string_view text) { return {text.begin(), text.end()}; }

// An engine that answers every request with this text, then ends the turn.
inline FakeGenerator::Behaviour Replies(std::string_view text) {
  FakeGenerator::Behaviour behaviour;
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  behaviour.reply = [ids](const GenerateRequest&) { return ids; };
  return behaviour;
}

// All events of a stream whose head was read, [DONE] included.
inline std::vector<std::string> ReadEvents(HttpClient& client) {
  std::vector<std::string> events;
  for (auto event = client.ReadEvent(); event.has_value(); event = client.ReadEvent())
    events.push_back(*event);
  return events;
}

// The text of a stream's choice, from completions' or chat's chunks.
inline std::string StreamText(const std::vector<std::string>& events, int choice = 0) {
  std::string text;
  for (const std::string& event : events) {
    const nlohmann::json chunk = nlohmann::json::parse(event, nullptr, false);
    if (!chunk.is_object() || !chunk.contains("choices")) continue;
    for (const nlohmann::json& entry : chunk["choices"]) {
      if (entry["index"] != choice) continue;
      text += entry.contains("text") ? entry["text"].get<std::string>() : entry["delta"].value("content", "");
    }
  }
  return text;
}

}  // namespace ternion
