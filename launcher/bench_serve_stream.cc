#include "launcher/bench_serve_stream.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr size_t kMostErrorBytes = 300;

std::string StringAt(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// An error is an object with a message, or a text.
std::string MessageOf(const json& body) {
  if (body.is_string()) return body.get<std::string>();
  if (!body.is_object()) return "";
  if (const auto error = body.find("error"); error != body.end()) return MessageOf(*error);
  const std::string message = StringAt(body, "message");
  return message.empty() ? StringAt(body, "detail") : message;
}

int64_t CountAt(const json& usage, const char* key) {
  const auto found = usage.find(key);
  return found != usage.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

}  // namespace

bool SseReader::Push(std::string_view bytes, const OnData& on_data) {
  for (const char c : bytes) {
    if (line_.size() + data_.size() > kMostEventBytes) return false;
    const bool after_return = skip_line_feed_;
    skip_line_feed_ = c == '\r';
    if (c == '\n' && after_return) continue;
    if (c == '\n' || c == '\r') {
      TakeLine(on_data);
    } else {
      line_ += c;
    }
  }
  return true;
}

void SseReader::TakeLine(const OnData& on_data) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string_view line = line_;
  if (first_line_ && line.substr(0, kByteOrderMark.size()) == kByteOrderMark)
    line.remove_prefix(kByteOrderMark.size());
  first_line_ = false;
  if (line.empty()) {
    if (has_data_) on_data(data_);
    data_.clear();
    has_data_ = false;
  } else if (line == "data" || line.substr(0, 5) == "data:") {
    line.remove_prefix(line.size() > 4 ? 5 : 4);
    if (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += line;
    has_data_ = true;
  }
  line_.clear();
}

double RequestRecord::tpot() const {
  return completion_tokens > 1 ? (e2el - ttft) / static_cast<double>(completion_tokens - 1) : 0;
}

void CompletionReader::Take(std::string_view data, double now) {
  if (ended()) return;
  if (data == "[DONE]") {
    done_ = true;
    return;
  }
  const json chunk = json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!chunk.is_object()) return Fail(now, absl::StrCat("an event is no JSON object: ", ErrorText(data)));
  if (const auto error = chunk.find("error"); error != chunk.end() && !error->is_null()) {
    return Fail(now, absl::StrCat("the stream broke off: ", ErrorText(data)));
  }
  if (const auto usage = chunk.find("usage"); usage != chunk.end() && usage->is_object()) {
    record_.counted_by_server = true;
    record_.prompt_tokens = CountAt(*usage, "prompt_tokens");
    record_.completion_tokens = CountAt(*usage, "completion_tokens");
  }
  const auto choices = chunk.find("choices");
  if (choices == chunk.end() || !choices->is_array() || choices->empty()) return;
  const json& choice = choices->front();
  if (!choice.is_object()) return Fail(now, "a choice is no JSON object");
  const bool finishes = !StringAt(choice, "finish_reason").empty();
  finish_reason_ = finish_reason_ || finishes;
  // Some servers tell the reason in a chunk of its own, which brings no token.
  if (!finishes || chunks_ == 0 || !StringAt(choice, "text").empty()) TakeToken(now);
}

void CompletionReader::TakeToken(double now) {
  if (chunks_ == 0) {
    record_.ttft = now;
  } else {
    record_.itls.push_back(now - record_.e2el);
  }
  record_.e2el = now;
  ++chunks_;
}

void CompletionReader::Fail(double now, std::string_view error) {
  failed_ = true;
  record_.end = RequestRecord::End::kFailed;
  record_.e2el = now;
  record_.error = error;
}

void CompletionReader::Finish(double now, std::string_view how) {
  if (failed_) return;
  if (!done_ && !finish_reason_) {
    return Fail(now, chunks_ == 0 ? absl::StrCat("no token came: ", ToAbsl(how))
                                  : absl::StrCat("the stream broke off: ", ToAbsl(how)));
  }
  if (chunks_ == 0) return Fail(now, "the stream ended without a token");
  record_.end = RequestRecord::End::kDone;
  if (!record_.counted_by_server) record_.completion_tokens = chunks_;
}

std::string ErrorText(std::string_view body) {
  std::string text = MessageOf(json::parse(body, nullptr, /*allow_exceptions=*/false));
  if (text.empty()) text = std::string(body);
  if (text.size() > kMostErrorBytes) text = text.substr(0, kMostErrorBytes) + "...";
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return text.empty() ? "nothing is said" : text;
}

}  // namespace ternion
