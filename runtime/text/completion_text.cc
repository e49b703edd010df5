#include "runtime/text/completion_text.h"

#include <algorithm>
#include <utility>

#include "runtime/text/utf8.h"

namespace ternion {

StopMatcher::StopMatcher(std::string stop) : stop_(std::move(stop)), shorter_(stop_.size() + 1, 0) {
  size_t border = 0;
  for (size_t i = 1; i < stop_.size(); ++i) {
    while (border > 0 && stop_[i] != stop_[border]) border = shorter_[border];
    if (stop_[i] == stop_[border]) ++border;
    shorter_[i + 1] = border;
  }
}

bool StopMatcher::Feed(char byte) {
  while (matched_ > 0 && stop_[matched_] != byte) matched_ = shorter_[matched_];
  if (stop_[matched_] == byte) ++matched_;
  return matched_ == stop_.size();
}

CompletionText::CompletionText(const Tokenizer& tokenizer, std::vector<std::string> stop_strings)
    : tokenizer_(&tokenizer) {
  for (std::string& stop : stop_strings) {
    if (!stop.empty()) stops_.emplace_back(std::move(stop));
  }
}

std::string CompletionText::Push(int32_t id) {
  if (stopped_ || tokenizer_->IsSpecial(id)) return {};
  pending_bytes_ += tokenizer_->TokenBytes(id);
  TakeCharacters(/*at_end=*/false);
  return Show(/*at_end=*/false);
}

std::string CompletionText::Finish() {
  if (stopped_) return {};
  TakeCharacters(/*at_end=*/true);
  return Show(/*at_end=*/true);
}

void CompletionText::TakeCharacters(bool at_end) {
  size_t at = 0;
  while (at < pending_bytes_.size() && !stopped_) {
    const std::string_view rest = std::string_view(pending_bytes_).substr(at);
    const Utf8Piece piece = FirstUtf8(rest);
    if (piece.kind == Utf8Kind::kCut && !at_end) break;
    Hold(piece.kind == Utf8Kind::kWhole ? rest.substr(0, piece.bytes) : kReplacementCharacter);
    at += piece.bytes;
  }
  pending_bytes_.erase(0, at);
}

void CompletionText::Hold(std::string_view character) {
  held_text_ += character;
  ++characters_;
  size_t longest = 0;
  for (StopMatcher& stop : stops_) {
    bool found = false;
    for (const char byte : character) found = stop.Feed(byte);
    if (found) longest = std::max(longest, stop.matched());
  }
  if (longest == 0) return;
  stopped_ = true;
  held_text_.resize(held_text_.size() - longest);
}

std::string CompletionText::Show(bool at_end) {
  size_t keep = 0;
  for (const StopMatcher& stop : stops_) keep = std::max(keep, stop.matched());
  if (at_end || stopped_) keep = 0;
  std::string shown = held_text_.substr(0, held_text_.size() - keep);
  held_text_.erase(0, shown.size());
  shown_ += CountCharacters(shown);
  return shown;
}

}  // namespace ternion
