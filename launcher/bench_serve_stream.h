#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// The answer to one request of `ternion bench serve`: from the bytes of a stream to times and counts.
namespace ternion {

// Takes server-sent events apart (WHATWG HTML, section 9.2): any line ends, comments, data over several
// lines. Bytes may come cut anywhere.
class SseReader {
 public:
  // Called with the data of each event that has any.
  using OnData = std::function<void(std::string_view data)>;

  // False once an event is longer than kMostEventBytes; then nothing more is taken.
  bool Push(std::string_view bytes, const OnData& on_data);

  static constexpr size_t kMostEventBytes = size_t{16} << 20;

 private:
  void TakeLine(const OnData& on_data);

  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool skip_line_feed_ = false;  // the last byte was a carriage return
  bool first_line_ = true;
};

// What came of a request. Times are seconds; latencies count from when the request was due, so that a
// generator that is late flatters no server.
struct RequestRecord {
  enum class End : uint8_t { kPending, kDone, kRefused, kFailed };

  End end = End::kPending;
  int64_t output_len = 0;         // as asked for
  int64_t prompt_tokens = 0;      // the server's count, or ours where it gives none
  int64_t completion_tokens = 0;  // the server's count, or that of the chunks
  bool counted_by_server = false;
  double due = 0;   // since the run's begin
  double sent = 0;  // since the run's begin; the connection is opened after it
  double ttft = 0;  // first token
  double e2el = 0;  // last token; where it failed, the failure
  std::vector<double>
      itls;  // gaps between chunks, as vLLM's benchmark counts them: a chunk may hold several tokens
  std::string error;

  // Seconds a token after the first; 0 where there is no second.
  double tpot() const;
};

// The events of a completion's stream, put into a record.
class CompletionReader {
 public:
  explicit CompletionReader(RequestRecord& record) : record_(record) {}

  // An event's data, which came `now` seconds after the request was due.
  void Take(std::string_view data, double now);
  // [DONE] or an error came: nothing more counts.
  bool ended() const { return done_ || failed_; }
  // The stream has ended; `how` tells what ended it. Decides about the record.
  void Finish(double now, std::string_view how);

 private:
  void TakeToken(double now);
  void Fail(double now, std::string_view error);

  RequestRecord& record_;
  int64_t chunks_ = 0;
  bool finish_reason_ = false;
  bool done_ = false;
  bool failed_ = false;
};

// What an error's body says: OpenAI's or a plain "message" or "detail", else its first bytes on one line.
std::string ErrorText(std::string_view body);

}  // namespace ternion
