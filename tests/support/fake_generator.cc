#include "tests/support/fake_generator.h"

#include <algorithm>
#include <utility>

#include "tests/support/fake_tokenizer.h"

namespace ternion {
namespace {

constexpr std::chrono::seconds kPatience{10};

std::vector<int32_t> OrdinaryIds(const std::vector<int32_t>& ids) {
  std::vector<int32_t> ordinary;
  for (const int32_t id : ids) {
    if (id < FakeTokenizer::kBos) ordinary.push_back(id);
  }
  if (ordinary.empty()) ordinary.push_back('.');
  return ordinary;
}

}  // namespace

TokenLogprobs FakeLogprobs(int32_t id, int32_t likeliest) {
  TokenLogprobs logprobs{-0.5f * static_cast<float>(id % 7 + 1), {}};
  for (int32_t i = 0; i < likeliest; ++i) {
    logprobs.top.emplace_back((id + i) % FakeTokenizer::kVocabulary,
                              logprobs.logprob - static_cast<float>(i));
  }
  return logprobs;
}

FakeGenerator::FakeGenerator(Behaviour behaviour)
    : behaviour_(std::move(behaviour)), thread_([this] { Run(); }) {}

FakeGenerator::~FakeGenerator() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

absl::StatusOr<uint64_t> FakeGenerator::Submit(GenerateRequest request, TokenSink sink) {
  const std::lock_guard lock(mutex_);
  if (!ready_.ok()) return ready_;
  if (running_.size() >= behaviour_.queue) return absl::ResourceExhaustedError("the queue is full");
  for (const int32_t id : request.prompt) {
    if (id >= FakeTokenizer::kVocabulary)
      return absl::InvalidArgumentError("a token id is outside the vocabulary");
  }
  requests_.push_back(request);
  std::vector<int32_t> reply = behaviour_.reply ? behaviour_.reply(request) : std::vector<int32_t>();
  const uint64_t id = next_id_++;
  running_.emplace(id, Running{std::move(request), std::move(sink), std::move(reply)});
  changed_.notify_all();
  return id;
}

void FakeGenerator::Cancel(uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto it = running_.find(id);
  if (it == running_.end() || it->second.cancelled) return;
  it->second.cancelled = true;
  ++cancelled_;
  changed_.notify_all();
}

absl::Status FakeGenerator::Ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

void FakeGenerator::SetReady(absl::Status ready) {
  const std::lock_guard lock(mutex_);
  ready_ = std::move(ready);
}

int64_t FakeGenerator::active_requests() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(running_.size());
}

void FakeGenerator::Hold() {
  const std::lock_guard lock(mutex_);
  held_ = true;
}

void FakeGenerator::Release() {
  const std::lock_guard lock(mutex_);
  held_ = false;
  changed_.notify_all();
}

std::vector<GenerateRequest> FakeGenerator::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

size_t FakeGenerator::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

bool FakeGenerator::WaitForCancelled(size_t count) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return cancelled_ >= count; });
}

bool FakeGenerator::WaitForRequests(size_t count) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return requests_.size() >= count; });
}

void FakeGenerator::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const bool has_work = std::any_of(running_.begin(), running_.end(), [this](const auto& entry) {
      return entry.second.CanStep(held_, behaviour_.hold_after_tokens);
    });
    if (!has_work) {
      changed_.wait(lock);
      continue;
    }
    Step(lock);
    if (behaviour_.step.count() == 0) continue;
    changed_.wait_for(lock, behaviour_.step, [this] { return stopping_; });
  }
}

// Sinks are called without the lock, as an engine would, and by this thread alone, so events stay in order.
void FakeGenerator::Step(std::unique_lock<std::mutex>& lock) {
  std::vector<std::pair<TokenSink, TokenEvent>> events;
  for (auto it = running_.begin(); it != running_.end();) {
    if (!it->second.CanStep(held_, behaviour_.hold_after_tokens)) {
      ++it;
      continue;
    }
    const TokenEvent event = NextEvent(it->second);
    events.emplace_back(it->second.sink, event);
    it = event.finish.has_value() || !event.status.ok() ? running_.erase(it) : std::next(it);
  }
  lock.unlock();
  for (const auto& [sink, event] : events) sink(event);
  lock.lock();
}

TokenEvent FakeGenerator::NextEvent(Running& running) const {
  TokenEvent event;
  if (running.cancelled) {
    event.finish = FinishReason::kCancelled;
    return event;
  }
  if (running.given == behaviour_.fail_after_tokens) {
    event.status = absl::InternalError("the fake engine failed");
    return event;
  }
  const std::vector<int32_t> ids = behaviour_.reply ? running.reply : OrdinaryIds(running.request.prompt);
  const auto at = static_cast<size_t>(running.given++);
  const bool ended = behaviour_.reply && at >= ids.size();
  event.token = ended ? FakeTokenizer::kEndOfTurn : ids[at % ids.size()];
  TellLogprobs(running.request, at == 0, event);
  const auto& stops = running.request.stop_ids;
  if (ended || std::find(stops.begin(), stops.end(), event.token) != stops.end()) {
    event.finish = FinishReason::kStop;
  } else if (running.given == running.request.max_tokens) {
    event.finish = FinishReason::kLength;
  }
  return event;
}

void FakeGenerator::TellLogprobs(const GenerateRequest& request, bool first, TokenEvent& event) const {
  if (request.logprobs >= 0) event.logprobs = FakeLogprobs(event.token, request.logprobs);
  if (!first) return;
  event.cached_tokens = behaviour_.cached_tokens;
  if (request.prompt_logprobs < 0) return;
  for (size_t i = 1; i < request.prompt.size(); ++i) {
    event.prompt_logprobs.push_back(FakeLogprobs(request.prompt[i], request.prompt_logprobs));
  }
}

}  // namespace ternion
