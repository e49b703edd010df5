#include "net/status_json.h"

#include <chrono>
#include <ctime>

#include "nlohmann/json.hpp"

namespace ternion {
namespace {

using nlohmann::json;

json RankJson(int rank, const RankStatus& status) {
  const RankFacts& facts = status.facts;
  json object = {{"rank", rank},
                 {"host", facts.host},
                 {"device", facts.device},
                 {"first_layer", facts.first_layer},
                 {"layers", facts.layers},
                 {"weight_bytes", facts.weight_bytes},
                 {"kv_bytes", facts.kv_bytes},
                 {"resident_bytes", facts.resident_bytes},
                 {"up", status.up}};
  if (facts.threads > 0) object["threads"] = facts.threads;
  object["seconds_since_heard"] = status.up ? json(status.seconds_since_heard) : json();
  return object;
}

json JobJson(const JobStatus& job) {
  json ranks = json::array();
  for (size_t rank = 0; rank < job.ranks.size(); ++rank) {
    ranks.push_back(RankJson(static_cast<int>(rank), job.ranks[rank]));
  }
  const SchedulerStats& scheduler = job.scheduler;
  return {{"tp", job.grid.tp},
          {"pp", job.grid.pp},
          {"wire", job.wire},
          {"pipeline_wire", job.pipeline_wire},
          {"kv_cache", job.kv_cache},
          {"device", job.device},
          {"requests", {{"running", scheduler.running}, {"waiting", scheduler.waiting}}},
          {"kv",
           {{"blocks", scheduler.blocks},
            {"used_blocks", scheduler.used_blocks},
            {"block_tokens", job.block_tokens}}},
          {"tokens", {{"prompt", job.prompt_tokens}, {"generated", job.generated_tokens}}},
          {"ranks", std::move(ranks)}};
}

// For differences between two answers, which the clock of the day may not spoil.
double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string StatusJson(const ServerState& state) {
  const absl::Status ready = state.Ready();
  const std::optional<ModelService> model = state.model();
  json status = {{"model", state.options().served_model_name},
                 {"version", state.options().version},
                 {"ready", ready.ok()},
                 {"reason", ready.ok() ? json() : json(std::string(ready.message()))},
                 {"uptime_seconds", std::time(nullptr) - state.started_at()},
                 {"clock_seconds", SteadySeconds()}};
  if (model.has_value()) {
    status["can_chat"] = model->chat != nullptr;
    status["max_model_len"] = model->generator->max_model_len();
    const std::optional<JobStatus> job = model->job ? model->job->Read() : std::nullopt;
    if (job.has_value()) status.update(JobJson(*job));
  }
  // A file's name may be no UTF-8.
  return status.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace ternion
