#include "runtime/serving/logit_rules.h"

#include <limits>

namespace ternion {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

bool IsNeutral(const LogitChange& change) {
  return change.add == 0 && change.repetition == 1 && change.subtract == 0;
}

}  // namespace

LogitRules::LogitRules(const GenerateRequest& request, absl::Span<const int32_t> eos_ids)
    : repetition_(request.sampling.repetition_penalty),
      presence_(request.sampling.presence_penalty),
      frequency_(request.sampling.frequency_penalty),
      min_tokens_(request.min_tokens) {
  for (const auto& [id, bias] : request.logit_bias) EntryOf(id).change.add = bias;
  if (min_tokens_ > 0) {
    for (const int32_t id : eos_ids) EntryOf(id).ends = true;
    for (const int32_t id : request.stop_ids) EntryOf(id).ends = true;
  }
  if (repetition_ == 1) return;
  for (const int32_t id : request.prompt) EntryOf(id).change.repetition = repetition_;
}

void LogitRules::Add(int32_t token) {
  if (!depends_on_tokens()) return;
  Entry& entry = EntryOf(token);
  ++entry.generated;
  entry.change.repetition = repetition_;
  entry.change.subtract = presence_ + frequency_ * static_cast<float>(entry.generated);
}

std::vector<LogitChange> LogitRules::ChangesOf(int64_t index) const {
  std::vector<LogitChange> changes;
  changes.reserve(entries_.size());
  for (const Entry& entry : entries_) {
    const bool banned = entry.ends && index < min_tokens_;
    if (!banned && IsNeutral(entry.change)) continue;
    changes.push_back(entry.change);
    if (banned) changes.back().add = kForbidden;
  }
  return changes;
}

LogitRules::Entry& LogitRules::EntryOf(int32_t column) {
  const auto [place, is_new] = places_.try_emplace(column, entries_.size());
  if (is_new) entries_.emplace_back().change.column = column;
  return entries_[place->second];
}

}  // namespace ternion
