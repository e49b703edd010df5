#include "net/generation.h"

#include <utility>

#include "kernels/status.h"

namespace ternion {
namespace {

constexpr size_t kMostPerTake = 256;

// The events that the engine may send: for each choice its tokens and one last event without a token.
size_t MostEvents(const std::vector<PreparedPrompt>& prompts) {
  size_t events = 0;
  for (const PreparedPrompt& prompt : prompts) events += static_cast<size_t>(prompt.request.max_tokens) + 1;
  return events;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Generation>> Generation::Start(const ModelService& model,
                                                              const std::vector<std::string>& stop,
                                                              std::vector<PreparedPrompt> prompts,
                                                              TokenMail& mail, EventReader reader) {
  auto queue = std::make_shared<EventQueue>(MostEvents(prompts), std::move(reader));
  const std::shared_ptr<const TokenMail::Address> address = mail.AddressOf(queue);
  std::unique_ptr<Generation> generation(new Generation(*model.generator, std::move(queue)));
  for (PreparedPrompt& prompt : prompts) {
    const int choice = generation->choices();
    if (prompt.counts_prompt)
      generation->prompt_tokens_ += static_cast<int64_t>(prompt.request.prompt.size());
    TERNION_ASSIGN_OR_RETURN(
        const uint64_t id,
        model.generator->Submit(std::move(prompt.request),
                                [address, choice](const TokenEvent& e) { address->Send(choice, e); }));
    generation->choices_.push_back(
        {id, CompletionStream(choice, *model.tokenizer, stop, std::move(prompt.echo)), prompt.counts_prompt});
    ++generation->unfinished_;
  }
  return generation;
}

Generation::~Generation() {
  queue_->Close();
  for (const Choice& choice : choices_) {
    if (!choice.stream.finished()) generator_->Cancel(choice.id);
  }
}

absl::StatusOr<std::vector<ChoiceDelta>> Generation::Take() {
  std::vector<ChoiceDelta> deltas;
  for (const ChoiceEvent& event : queue_->Take(kMostPerTake)) {
    Choice& choice = choices_[static_cast<size_t>(event.choice)];
    if (choice.stream.finished()) continue;
    if (!event.event.status.ok()) return event.event.status;
    if (choice.counts_prompt) cached_tokens_ += event.event.cached_tokens;
    deltas.push_back(choice.stream.Push(event.event));
    if (!choice.stream.finished()) continue;
    --unfinished_;
    if (choice.stream.stopped_by_text()) generator_->Cancel(choice.id);
  }
  return deltas;
}

Usage Generation::usage() const {
  Usage usage{prompt_tokens_, 0, cached_tokens_};
  for (const Choice& choice : choices_) usage.completion_tokens += choice.stream.tokens();
  return usage;
}

}  // namespace ternion
