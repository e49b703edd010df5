#include "net/session.h"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <ctime>
#include <exception>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "net/openai_request.h"
#include "net/prepared_prompt.h"
#include "net/request_id.h"
#include "net/sse.h"
#include "net/status_json.h"
#include "net/status_page.h"
#include "net/tokenization.h"
#include "nlohmann/json.hpp"

namespace ternion {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Reading = Connection::Reading;

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

HttpError ReadingError(const Connection& connection, Reading reading, const ServerOptions& options) {
  switch (reading) {
    case Reading::kRefused:
      return connection.refusal();
    case Reading::kTooSlow:
      return MakeHttpError(
          408, absl::StrCat("the request did not arrive within ", options.request_timeout.count(), " ms"));
    case Reading::kBodyTooLarge:
      return MakeHttpError(413, absl::StrCat("the body is larger than ", options.max_body_bytes, " bytes"));
    default:
      return MakeHttpError(400, "the request is not HTTP/1.0 or HTTP/1.1");
  }
}

// Nothing where it says in one way alone what it is for, how long it is and how to go on.
std::optional<HttpError> CheckFraming(const Connection::Request& request) {
  const size_t hosts = request.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && request.version() >= 11)) {
    return MakeHttpError(400, "the request must have one Host header");
  }
  if (View(request[http::field::host]).find_first_of(" \t/\\?#@,\"<>") != std::string_view::npos) {
    return MakeHttpError(400, "the Host header must be HOST or HOST:PORT");
  }
  for (const http::field once : {http::field::content_length, http::field::transfer_encoding,
                                 http::field::authorization, http::field::expect}) {
    if (request.count(once) > 1) {
      return MakeHttpError(400,
                           absl::StrCat("the request has several ", ToAbsl(View(http::to_string(once)))));
    }
  }
  if (View(request[http::field::content_length]).find_first_not_of("0123456789") != std::string_view::npos) {
    return MakeHttpError(400, "the Content-Length must be one number");
  }
  const std::string_view coding = View(request[http::field::transfer_encoding]);
  if (!coding.empty() && request.version() < 11) {
    return MakeHttpError(400, "HTTP/1.0 has no Transfer-Encoding; use a Content-Length");
  }
  if (!coding.empty() && !absl::EqualsIgnoreCase(ToAbsl(coding), "chunked")) {
    return MakeHttpError(501, "the transfer encoding is not known; use chunked or a Content-Length");
  }
  const std::string_view expected = View(request[http::field::expect]);
  if (!expected.empty() && request.version() >= 11 &&
      !absl::EqualsIgnoreCase(ToAbsl(expected), "100-continue")) {
    return MakeHttpError(417, "the only expectation that is met is 100-continue");
  }
  return std::nullopt;
}

// The connection above the cap: one answer, whatever was asked.
asio::awaitable<void> TurnAway(std::shared_ptr<Connection> connection) {
  if (co_await connection->Handshake() != Connection::Handshaking::kDone) co_return;
  Framing framing;
  framing.request_id = MakeRequestId();
  const std::string bytes =
      Serialize(ErrorResponse(MakeHttpError(503, "the server has no room for another connection")), framing);
  if (co_await connection->Write(bytes)) co_await connection->Close();
}

}  // namespace

void Session::Start(asio::ip::tcp::socket socket, std::shared_ptr<ServerState> state) {
  const auto executor = socket.get_executor();
  auto connection = std::make_shared<Connection>(std::move(socket), state->options(),
                                                 state->tls() != nullptr ? state->tls()->current() : nullptr);
  const ServerState::Admission admission = state->Add(connection);
  if (admission != ServerState::Admission::kServed && state->TellsOfTheCap()) {
    spdlog::warn("{} connections are open, as many as --max-connections allows: others are turned away",
                 state->options().max_connections);
  }
  if (admission == ServerState::Admission::kRefused) return connection->Shut();
  const auto ended = [state, connection](const std::exception_ptr& failure) {
    connection->Shut();
    state->Remove(connection);
    if (failure) spdlog::error("a connection was dropped: out of memory or a fault of the server");
  };
  const bool served = admission == ServerState::Admission::kServed;
  asio::co_spawn(executor, served ? Run(connection, state) : TurnAway(connection), ended);
}

asio::awaitable<void> Session::Run(std::shared_ptr<Connection> connection,
                                   std::shared_ptr<ServerState> state) {
  Session session(connection, std::move(state));
  const Connection::Handshaking handshaking = co_await connection->Handshake();
  if (handshaking == Connection::Handshaking::kFailed) co_return;
  bool goes_on = handshaking == Connection::Handshaking::kDone;
  if (!goes_on) co_await session.TellOfTls();
  while (goes_on) goes_on = co_await session.Exchange();
  co_await connection->Close();
}

Session::Answering Session::Exchange() {
  Reading reading = co_await connection_->ReadHeader();
  if (reading == Reading::kClosed) co_return false;
  Frame();
  if (const auto fault = CheckMessage(reading)) co_return co_await AnswerAndClose(*fault);
  const std::variant<Route, HttpResponse> head = CheckHead();
  if (const auto* refusal = std::get_if<HttpResponse>(&head)) co_return co_await Answer(*refusal);
  if (expects_continue() && !co_await connection_->Write("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
  reading = co_await connection_->ReadBody();
  if (reading == Reading::kClosed) co_return false;
  if (const auto fault = CheckMessage(reading)) co_return co_await AnswerAndClose(*fault);
  co_return co_await AnswerRoute(std::get<Route>(head));
}

void Session::Frame() {
  const Connection::Request& request = connection_->request();
  framing_.keep_alive = request.keep_alive() && !state_->draining();
  framing_.head_only = request.method() == http::verb::head;
  framing_.chunked = request.version() >= 11;
  framing_.request_id = RequestIdFrom(View(request["X-Request-Id"]));
  framing_.cors = state_->cors().HeaderLines(View(request[http::field::origin]));
}

bool Session::expects_continue() const {
  return framing_.chunked && !connection_->request_complete() &&
         absl::EqualsIgnoreCase(ToAbsl(View(connection_->request()[http::field::expect])), "100-continue");
}

// Where the message itself is at fault, nobody knows what its next bytes mean: the connection ends.
std::optional<HttpError> Session::CheckMessage(Reading reading) const {
  if (reading != Reading::kDone) return ReadingError(*connection_, reading, state_->options());
  return CheckFraming(connection_->request());
}

// What else can be said before the body is read.
std::variant<Route, HttpResponse> Session::CheckHead() const {
  const Connection::Request& request = connection_->request();
  const std::string_view origin = View(request[http::field::origin]);
  if (request.method() == http::verb::options && !origin.empty() &&
      request.count(http::field::access_control_request_method) > 0) {
    auto answer =
        state_->cors().Preflight(origin, View(request[http::field::access_control_request_headers]));
    if (answer.has_value()) return *std::move(answer);
  }
  std::variant<Route, HttpResponse> found = FindRoute(View(request.method_string()), View(request.target()));
  const Route* route = std::get_if<Route>(&found);
  const bool open = route != nullptr && (*route == Route::kHealth || *route == Route::kPage ||
                                         (*route == Route::kMetrics && state_->options().metrics_open));
  if (!open && !state_->keys().Allow(View(request[http::field::authorization]))) {
    return ErrorResponse(
        MakeHttpError(401, "this server needs an API key: Authorization: Bearer KEY", "", "invalid_api_key"));
  }
  const std::string_view coding = View(request[http::field::content_encoding]);
  if (!coding.empty() && !absl::EqualsIgnoreCase(ToAbsl(coding), "identity")) {
    return ErrorResponse(MakeHttpError(415, "bodies are taken without a Content-Encoding"));
  }
  return found;
}

Session::Answering Session::Answer(HttpResponse response) {
  // What is left of the request would be taken for the next one.
  if (framing_.keep_alive && !connection_->request_complete()) framing_.keep_alive = false;
  spdlog::debug("{} {}", response.status, framing_.request_id);
  const std::string bytes = Serialize(response, framing_);
  const bool written = co_await connection_->Write(bytes);
  if (!written) co_return false;
  co_return framing_.keep_alive;
}

Session::Answering Session::AnswerAndClose(const HttpError& error) {
  framing_.keep_alive = false;
  co_return co_await Answer(ErrorResponse(error));
}

Session::Answering Session::TellOfTls() {
  framing_.request_id = MakeRequestId();
  const HttpError error = MakeHttpError(400, "this port speaks TLS: use https://");
  co_return co_await AnswerAndClose(error);
}

Session::Answering Session::AnswerRoute(Route route) {
  switch (route) {
    case Route::kCompletions:
      co_return co_await Generate(Endpoint::kCompletions);
    case Route::kChatCompletions:
      co_return co_await Generate(Endpoint::kChat);
    case Route::kTokenize:
    case Route::kDetokenize:
      co_return co_await Answer(Tokenization(route));
    case Route::kModels:
      co_return co_await Answer(Models());
    case Route::kHealth:
      co_return co_await Answer(Health());
    case Route::kVersion:
      co_return co_await Answer(Version());
    case Route::kMetrics:
      co_return co_await Answer(Metrics());
    case Route::kStatus:
      co_return co_await Answer(Status());
    case Route::kPage:
      co_return co_await Answer(StatusPage());
    case Route::kDrain:
      co_return co_await Answer(Drain());
  }
  co_return false;
}

HttpResponse Session::Tokenization(Route route) {
  const std::optional<ModelService> model = state_->model();
  if (!model.has_value()) return ErrorResponse(MakeHttpError(503, "the model is being loaded"));
  const ServerOptions& options = state_->options();
  const std::string body = connection_->TakeBody();
  const auto json = route == Route::kTokenize
                        ? TokenizeJson(body, *model, options.served_model_name)
                        : DetokenizeJson(body, *model, options.served_model_name, options.max_body_bytes);
  if (!json.ok()) return ErrorResponse(ToHttpError(json.status()));
  return {200, *json, {}};
}

HttpResponse Session::Models() const {
  const std::optional<ModelService> model = state_->model();
  if (!model.has_value()) return ErrorResponse(MakeHttpError(503, "the model is being loaded"));
  return {200,
          ModelListJson(state_->options().served_model_name, state_->started_at(),
                        model->generator->max_model_len()),
          {}};
}

HttpResponse Session::Version() const {
  return {200, nlohmann::json{{"version", state_->options().version}}.dump(), {}};
}

HttpResponse Session::Health() const {
  const absl::Status ready = state_->Ready();
  if (ready.ok()) return {200, R"({"status":"ok"})", {}};
  return ErrorResponse(ToHttpError(ready));
}

HttpResponse Session::Metrics() const {
  const std::optional<ModelService> model = state_->model();
  if (!model.has_value()) return ErrorResponse(MakeHttpError(503, "the model is being loaded"));
  if (!model->metrics) return ErrorResponse(MakeHttpError(404, "this server has no metrics"));
  return {200, model->metrics(), {}, "text/plain; version=0.0.4; charset=utf-8"};
}

HttpResponse Session::Status() const { return {200, StatusJson(*state_), {{"Cache-Control", "no-store"}}}; }

// Any page may have a browser send a request without a body or a key; Origin tells which.
HttpResponse Session::Drain() const {
  const std::string_view origin = View(connection_->request()[http::field::origin]);
  if (!origin.empty() && !state_->cors().Allows(origin)) {
    return ErrorResponse(
        MakeHttpError(403, "a page of another origin may not drain this server (--cors-origin)"));
  }
  const std::optional<ModelService> model = state_->model();
  if (!model.has_value()) return ErrorResponse(MakeHttpError(503, "the model is being loaded"));
  if (!model->drain) return ErrorResponse(MakeHttpError(404, "this server cannot be drained"));
  model->drain();
  return {200, R"({"status":"draining"})", {}};
}

EventReader Session::MakeReader() const {
  std::string why =
      absl::StrCat("request ", framing_.request_id, ": its client reads too slowly and was dropped");
  return {connection_->Waker(), connection_->Dropper(std::move(why)), state_->options().max_buffered_bytes};
}

Session::Answering Session::Generate(Endpoint endpoint) {
  const std::shared_ptr<void> running = state_->EnterGeneration();
  auto started = Begin(endpoint);
  if (!started.ok()) co_return co_await Answer(ErrorResponse(ToHttpError(started.status())));
  connection_->StartWatching();
  bool goes_on = false;
  if (started->stream) {
    goes_on = co_await Stream(started->response, *started->generation);
  } else {
    goes_on = co_await Collect(started->response, *started->generation);
  }
  co_await connection_->StopWatching();
  co_return goes_on && !connection_->disconnected();
}

// Of the request only what the answer needs is kept, so that long prompts do not live as long as their
// generation.
absl::StatusOr<Session::Started> Session::Begin(Endpoint endpoint) {
  TERNION_RETURN_IF_ERROR(state_->Ready());
  const ModelService model = *state_->model();
  const std::string& served = state_->options().served_model_name;
  TERNION_ASSIGN_OR_RETURN(const OpenAiRequest request,
                           ParseOpenAiRequest(endpoint, connection_->TakeBody()));
  if (!request.model.empty() && request.model != served) return ModelNotFound(request.model, served);
  TERNION_ASSIGN_OR_RETURN(std::vector<PreparedPrompt> prompts, PreparePrompts(request, model));
  auto generation = Generation::Start(model, request.stop, std::move(prompts), state_->mail(), MakeReader());
  // The other parameters were checked on the way; what the engine refuses is the prompt.
  if (absl::IsInvalidArgument(generation.status())) {
    return BlameParam(endpoint == Endpoint::kChat ? "messages" : "prompt", generation.status());
  }
  if (!generation.ok()) return generation.status();
  return Started{OpenAiResponse(request, served, MakeRequestId(), std::time(nullptr)), *std::move(generation),
                 request.stream};
}

Session::Answering Session::Collect(const OpenAiResponse& response, Generation& generation) {
  std::vector<WholeChoice> choices(static_cast<size_t>(generation.choices()));
  while (!generation.finished()) {
    if (connection_->disconnected()) co_return false;
    const absl::StatusOr<std::vector<ChoiceDelta>> deltas = generation.Take();
    if (!deltas.ok()) co_return co_await Answer(ErrorResponse(ToHttpError(deltas.status())));
    for (const ChoiceDelta& delta : *deltas) {
      WholeChoice& choice = choices[static_cast<size_t>(delta.choice)];
      choice.text += delta.text;
      choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
      if (delta.finish.has_value()) choice.finish = *delta.finish;
    }
    if (deltas->empty()) co_await connection_->WaitForWake(state_->options().keep_alive);
  }
  // Named: g++ 12 destroys a braced temporary in a co_await's argument twice.
  HttpResponse whole{200, response.Whole(choices, generation.usage()), {}};
  co_return co_await Answer(std::move(whole));
}

Session::Answering Session::Stream(OpenAiResponse& response, Generation& generation) {
  bool begun = false;
  if (!framing_.chunked) framing_.keep_alive = false;
  while (!generation.finished()) {
    if (connection_->disconnected()) co_return false;
    const absl::StatusOr<std::vector<ChoiceDelta>> deltas = generation.Take();
    if (!deltas.ok()) co_return co_await FailStream(ToHttpError(deltas.status()), begun);
    std::string events;
    for (const ChoiceDelta& delta : *deltas) response.AppendDelta(&events, delta, generation.usage());
    if (generation.finished()) response.AppendEnd(&events, generation.usage());
    if (deltas->empty()) {
      const bool woken = co_await connection_->WaitForWake(state_->options().keep_alive);
      if (!woken) events = kSseKeepAlive;
    }
    if (!co_await WriteEvents(events, &begun, generation.finished())) co_return false;
  }
  co_return framing_.keep_alive;
}

// Before the first byte a failure is an ordinary error; later it is an event, and the stream ends as streams
// do.
Session::Answering Session::FailStream(HttpError error, bool begun) {
  if (!begun) co_return co_await Answer(ErrorResponse(error));
  std::string events;
  AppendSseEvent(&events, ErrorJson(error));
  events += kSseDone;
  co_return co_await WriteEvents(events, &begun, /*last=*/true) && framing_.keep_alive;
}

Session::Answering Session::WriteEvents(std::string_view events, bool* begun, bool last) {
  if (events.empty() && !last) co_return true;
  std::string bytes;
  if (!*begun) bytes = SerializeStreamHead(framing_);
  *begun = true;
  AppendStreamBytes(&bytes, events, framing_);
  if (last) AppendStreamEnd(&bytes, framing_);
  co_return co_await connection_->Write(bytes);
}

}  // namespace ternion
