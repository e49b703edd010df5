#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/serving/request.h"

namespace ternion {

// What the fake engine tells of any token: log-probabilities that are halves, first of the token itself, of the ids that
// follow it less and less.
TokenLogprobs FakeLogprobs(int32_t id, int32_t likeliest);

// An engine without a model: a thread of its own gives every running request one token per step. A request's
// tokens are what `reply` says, then an end-of-turn id; max_tokens and stop_ids end it as they end a real
// one.
class FakeGenerator final : public Generator {
 public:
  struct Behaviour {
    // The tokens of a request; by default its prompt's ordinary ids, over and over without an end.
    std::function<std::vector<int32_t>(const GenerateRequest&)> reply;
    std::chrono::microseconds step{0};
    int64_t max_model_len = 4096;
    size_t queue = 100000;  // more requests get kResourceExhausted
    int64_t hold_after_tokens = 0;
    int64_t fail_after_tokens = -1;  // a request that has so many fails with kInternal
    int64_t cached_tokens = 0;       // that are found of every prompt
  };

  explicit FakeGenerator(Behaviour behaviour);
  FakeGenerator() : FakeGenerator(Behaviour{}) {}
  ~FakeGenerator() override;

  absl::StatusOr<uint64_t> Submit(GenerateRequest request, TokenSink sink) override;
  void Cancel(uint64_t id) override;
  absl::Status Ready() const override;
  int64_t max_model_len() const override { return behaviour_.max_model_len; }
  int64_t active_requests() const override;

  void SetReady(absl::Status ready);
  // While held, requests are taken but none gets more than hold_after_tokens.
  void Hold();
  void Release();

  std::vector<GenerateRequest> requests() const;
  size_t cancelled() const;  // calls of Cancel that ended a request
  // False when `count` cancellations have not come within ten seconds.
  bool WaitForCancelled(size_t count) const;
  // The same for submitted requests.
  bool WaitForRequests(size_t count) const;

 private:
  struct Running {
    bool CanStep(bool held, int64_t hold_after) const { return cancelled || !held || given < hold_after; }

    GenerateRequest request;
    TokenSink sink;
    std::vector<int32_t> reply;  // empty: the prompt, over and over
    int64_t given = 0;
    bool cancelled = false;
  };

  void Run();
  void Step(std::unique_lock<std::mutex>& lock);
  TokenEvent NextEvent(Running& running) const;
  void TellLogprobs(const GenerateRequest& request, bool first, TokenEvent& event) const;

  const Behaviour behaviour_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<uint64_t, Running> running_;
  std::vector<GenerateRequest> requests_;
  uint64_t next_id_ = 1;
  size_t cancelled_ = 0;
  bool held_ = false;
  bool stopping_ = false;
  absl::Status ready_;
  std::thread thread_;
};

}  // namespace ternion
