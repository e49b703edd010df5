#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/http_client.h"
#include "tests/support/process.h"

// The demo model behind HTTP, as clients see it.
namespace ternion {

// `ternion serve` on tp * pp ranks of one thread, on a free port; it serves when the constructor returns.
class DemoServer {
 public:
  // `more`: arguments; `environment` as StartProgram's, `mpirun`: options of mpirun.
  DemoServer(int tp, int pp, const std::vector<std::string>& more = {},
             const std::vector<std::string>& environment = {}, const std::vector<std::string>& mpirun = {});

  uint16_t port() const { return port_; }
  Process& process() { return *process_; }
  pid_t Rank(int rank) const;

 private:
  int ranks_;
  std::unique_ptr<Process> process_;
  uint16_t port_ = 0;
};

// The reply's JSON; discarded when it is none.
nlohmann::json Body(const HttpReply& reply);

// Greedy, `max_tokens` long whatever comes.
nlohmann::json CompletionRequest(const std::string& prompt, int max_tokens);

HttpReply Post(uint16_t port, const std::string& body, const std::string& target = "/v1/completions");

struct StreamResult {
  std::string text;
  std::string finish_reason;
  int completion_tokens = -1;
  bool done = false;  // [DONE] came

  bool operator==(const StreamResult& other) const;
};
std::ostream& operator<<(std::ostream& out, const StreamResult& result);

// A completion as a stream: BeginStream sends the request and is false unless the answer is a stream; TakeEvent adds an
// event to the result; ReadToEnd takes those that are left.
bool BeginStream(HttpClient& client, nlohmann::json request);
void TakeEvent(const std::string& event, StreamResult& result);
void ReadToEnd(HttpClient& client, StreamResult& result);
// All of it.
StreamResult Stream(uint16_t port, const nlohmann::json& request);

// Eight requests of different prompts and lengths; every other one draws, by its own seed.
std::vector<nlohmann::json> EightRequests();

}  // namespace ternion
