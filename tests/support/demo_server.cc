#include "tests/support/demo_server.h"

#include <chrono>
#include <string>

#include "kernels/check.h"
#include "tests/support/program.h"

namespace ternion {
namespace {

using nlohmann::json;
constexpr std::chrono::seconds kStartLimit{60};

}  // namespace

DemoServer::DemoServer(int tp, int pp, const std::vector<std::string>& more,
                       const std::vector<std::string>& environment, const std::vector<std::string>& mpirun)
    : ranks_(tp * pp) {
  std::vector<std::string> arguments = {"serve",
                                        DemoModel(),
                                        "--tp=" + std::to_string(tp),
                                        "--pp=" + std::to_string(pp),
                                        "--threads=1",
                                        "--host=127.0.0.1",
                                        "--port=0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  process_ = StartProgram(ranks_, arguments, environment, mpirun);
  CHECK(process_->WaitForErr("serving ", kStartLimit), "the server starts");
  const std::string log = process_->Err(), address = "://127.0.0.1:";
  const size_t place = log.find(address);
  CHECK(place != std::string::npos, "the server tells its port");
  port_ = static_cast<uint16_t>(std::stoi(log.substr(place + address.size())));
}

pid_t DemoServer::Rank(int rank) const {
  CHECK(ranks_ > 1, "mpirun numbers the ranks");
  const std::vector<pid_t> pids = process_->Members("OMPI_COMM_WORLD_RANK=" + std::to_string(rank));
  CHECK(pids.size() == 1, "each rank is one process");
  return pids[0];
}

json Body(const HttpReply& reply) { return json::parse(reply.body, nullptr, /*allow_exceptions=*/false); }

json CompletionRequest(const std::string& prompt, int max_tokens) {
  return {{"model", "demo"},
          {"prompt", prompt},
          {"max_tokens", max_tokens},
          {"temperature", 0},
          {"ignore_eos", true}};
}

HttpReply Post(uint16_t port, const std::string& body, const std::string& target) {
  HttpClient client(port);
  return client.Post(target, body);
}

bool StreamResult::operator==(const StreamResult& other) const {
  return text == other.text && finish_reason == other.finish_reason &&
         completion_tokens == other.completion_tokens && done == other.done;
}

std::ostream& operator<<(std::ostream& out, const StreamResult& result) {
  return out << result.completion_tokens << " tokens, " << result.finish_reason
             << (result.done ? "" : ", cut off") << ": " << result.text;
}

void TakeEvent(const std::string& event, StreamResult& result) {
  if (event == "[DONE]") result.done = true;
  const json chunk = json::parse(event, nullptr, /*allow_exceptions=*/false);
  if (!chunk.is_object()) return;
  if (chunk.contains("usage") && chunk["usage"].is_object()) {
    result.completion_tokens = chunk["usage"].value("completion_tokens", -1);
  }
  for (const json& choice : chunk.value("choices", json::array())) {
    result.text += choice.value("text", "");
    if (choice["finish_reason"].is_string()) result.finish_reason = choice["finish_reason"];
  }
}

bool BeginStream(HttpClient& client, json request) {
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  return client.Send(PostRequest("/v1/completions", request.dump())) && client.ReadHead().status == 200;
}

void ReadToEnd(HttpClient& client, StreamResult& result) {
  for (auto event = client.ReadEvent(); event; event = client.ReadEvent()) TakeEvent(*event, result);
}

StreamResult Stream(uint16_t port, const json& request) {
  HttpClient client(port);
  StreamResult result;
  if (BeginStream(client, request)) ReadToEnd(client, result);
  return result;
}

std::vector<json> EightRequests() {
  const std::string long_prompt =
      "A condition variable lets one thread wait until another has changed a shared state. The waiting "
      "thread holds "
      "a lock, releases it while it sleeps, and holds it again when it wakes. ";
  const std::vector<std::string> prompts = {
      "The std::vector class", "A mutex",    long_prompt + "Therefore", "Templates are",
      "int main() {",          "The driver", "Memory that is",          long_prompt + long_prompt};
  std::vector<json> requests;
  for (size_t i = 0; i < prompts.size(); ++i) {
    requests.push_back(CompletionRequest(prompts[i], 12 + static_cast<int>(i) * 9));
    if (i % 2 == 0) continue;
    requests[i]["temperature"] = 0.8;
    requests[i]["top_p"] = 0.95;
    requests[i]["seed"] = 100 + i;
  }
  return requests;
}

}  // namespace ternion
