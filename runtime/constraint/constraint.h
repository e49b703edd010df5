#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/constraint/automaton.h"
#include "runtime/constraint/grammar.h"
#include "runtime/constraint/vocabulary_trie.h"

namespace ternion {

// A bit for each id that the next token may be, as Backend::MaskLogits has them.
using TokenMask = std::vector<uint32_t>;

// What the texts of some requests must be: a grammar over a tokenizer's vocabulary, and what was found out about it, which its
// requests share. Thread-safe.
class Constraint {
 public:
  // `grammar` is finished.
  Constraint(Grammar grammar, std::shared_ptr<const VocabularyTrie> vocabulary);

  // A text in the making.
  class Text {
   public:
    explicit Text(std::shared_ptr<Constraint> constraint) : constraint_(std::move(constraint)) {}

    // kInvalidArgument: with the token the text is no beginning of an allowed one.
    absl::Status Add(int32_t token);
    // Which tokens may come next: those that go on with the text, and `end_ids` where it may end. Ids are below `vocab`.
    // kInvalidArgument: none may, or the grammar is too ambiguous.
    absl::StatusOr<TokenMask> Next(absl::Span<const int32_t> end_ids, int64_t vocab);
    // Whether the text so far is an allowed one.
    bool complete();

   private:
    // The automaton's state. With the constraint's mutex held.
    int32_t State();
    absl::Status Failure(std::string_view what) const;

    std::shared_ptr<Constraint> constraint_;
    std::string bytes_;
    int32_t state_ = 0;
    uint64_t generation_ = 0;  // of the automaton that state_ is of; 0: none
  };

 private:
  // What is forgotten where there is more: states of 1 KiB, masks of up to 16 KiB for 128k ids.
  static constexpr size_t kMostStates = 8192, kMostMasks = 1024;

  // Of a local state (Automaton::LocalOf), and the tokens of one tree.
  struct LocalMask {
    TokenMask allowed;          // whatever stands below
    std::vector<int32_t> open;  // tokens that go on with what stands below
  };
  void Trim();
  const LocalMask& MaskOf(int32_t local_state, size_t tree);
  LocalMask Walk(int32_t local_state, const VocabularyTrie::Tree& tree);
  int32_t Run(int32_t state, std::string_view bytes);

  const Grammar grammar_;
  const std::shared_ptr<const VocabularyTrie> vocabulary_;
  std::mutex mutex_;
  std::unique_ptr<Automaton> automaton_;
  uint64_t generation_ = 1;
  absl::flat_hash_map<std::pair<int32_t, size_t>, LocalMask> masks_;  // of a state, by the number of the tree
};

}  // namespace ternion
