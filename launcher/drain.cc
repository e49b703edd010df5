#include "launcher/drain.h"

#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "launcher/options.h"
#include "launcher/told_status.h"

namespace ternion {
namespace {

constexpr int kCutSeconds = 5;  // for the steps that are under way

}  // namespace

Drain::~Drain() {
  if (thread_.joinable()) thread_.join();
}

void Drain::Begin() {
  const std::lock_guard lock(mutex_);
  if (thread_.joinable() || coordinator_.failed()) return;
  spdlog::info("draining: {} requests are running or waiting", coordinator_.active_requests());
  thread_ = std::thread([this] { Run(); });
}

void Drain::Run() {
  const auto begun = std::chrono::steady_clock::now();
  const absl::Status drained = server_.Drain(limits_.finish);
  if (!drained.ok()) spdlog::warn("{}", std::string(drained.message()));
  std::this_thread::sleep_until(begun + limits_.least);
  drained.ok() ? coordinator_.Drain() : coordinator_.Stop();
}

void Drain::Cut() {
  coordinator_.Stop();
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::seconds(kCutSeconds));
    std::fprintf(stderr, "ternion: a step did not end within %d s of the second signal\n", kCutSeconds);
    TellStatusAndExit(kFailed);
  }).detach();
}

}  // namespace ternion
