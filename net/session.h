#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"
#include "net/connection.h"
#include "net/generation.h"
#include "net/http_response.h"
#include "net/openai_response.h"
#include "net/router.h"
#include "net/server_state.h"

namespace ternion {

// The conversation on one connection: reads a request, answers it, reads the next. One coroutine per
// connection; a coroutine that answers returns whether the connection may go on.
class Session {
 public:
  // Serves the client on the socket's strand until either side ends. Above the cap on connections the client
  // gets a 503 and is sent away.
  static void Start(boost::asio::ip::tcp::socket socket, std::shared_ptr<ServerState> state);

 private:
  using Answering = boost::asio::awaitable<bool>;

  Session(std::shared_ptr<Connection> connection, std::shared_ptr<ServerState> state)
      : connection_(std::move(connection)), state_(std::move(state)) {}
  static boost::asio::awaitable<void> Run(std::shared_ptr<Connection> connection,
                                          std::shared_ptr<ServerState> state);

  // One request and its answer.
  Answering Exchange();
  Answering Answer(HttpResponse response);
  Answering AnswerAndClose(const HttpError& error);
  Answering TellOfTls();
  Answering AnswerRoute(Route route);
  Answering Generate(Endpoint endpoint);
  Answering Collect(const OpenAiResponse& response, Generation& generation);
  Answering Stream(OpenAiResponse& response, Generation& generation);
  Answering FailStream(HttpError error, bool begun);
  // `begun`: the head was sent; sends it first when it was not.
  Answering WriteEvents(std::string_view events, bool* begun, bool last);

  struct Started {
    OpenAiResponse response;
    std::unique_ptr<Generation> generation;
    bool stream;
  };
  // Parses, checks and submits the request whose body was read.
  absl::StatusOr<Started> Begin(Endpoint endpoint);

  void Frame();
  std::optional<HttpError> CheckMessage(Connection::Reading reading) const;
  std::variant<Route, HttpResponse> CheckHead() const;
  bool expects_continue() const;
  HttpResponse Tokenization(Route route);
  HttpResponse Models() const;
  HttpResponse Version() const;
  HttpResponse Health() const;
  HttpResponse Metrics() const;
  HttpResponse Status() const;
  HttpResponse Drain() const;
  // What a stream's queue of events may do with this connection.
  EventReader MakeReader() const;

  std::shared_ptr<Connection> connection_;
  std::shared_ptr<ServerState> state_;
  Framing framing_;  // of the request being answered
};

}  // namespace ternion
