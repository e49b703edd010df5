#include "runtime/text/bpe.h"

#include <algorithm>
#include <array>
#include <functional>
#include <queue>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

// Up to here scanning all ranks for each merge is faster than a heap.
constexpr size_t kShortWord = 48;

bool IsUnset(const JsonNode& model, std::string_view field) {
  if (!model.Has(field)) return true;
  const nlohmann::json& value = *model.value().find(field);
  return value.is_string() && value.get_ref<const std::string&>().empty();
}

absl::Status CheckOptions(const JsonNode& model) {
  if (model.Has("dropout")) return model.Unimplemented("dropout is not supported");
  for (const std::string_view affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!IsUnset(model, affix)) return model.Unimplemented(absl::StrCat(ToAbsl(affix), " is not supported"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Bpe::CheckType(const JsonNode& model) {
  if (!model.Has("type")) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(const std::string type, model.String("type"));
  if (type == "BPE") return absl::OkStatus();
  return model.Unimplemented(absl::StrCat("type \"", type, "\" is not supported; BPE is"));
}

absl::StatusOr<Bpe> Bpe::FromJson(const JsonNode& model, const Vocabulary& vocabulary, bool byte_level) {
  TERNION_RETURN_IF_ERROR(CheckOptions(model));
  TERNION_ASSIGN_OR_RETURN(BpeAlphabet alphabet, BpeAlphabet::FromJson(model, vocabulary, byte_level));
  Bpe bpe(vocabulary, std::move(alphabet));
  TERNION_ASSIGN_OR_RETURN(bpe.ignore_merges_, model.BoolOr("ignore_merges", false));
  TERNION_ASSIGN_OR_RETURN(const JsonNode merges, model.Field("merges"));
  TERNION_RETURN_IF_ERROR(bpe.ReadMerges(merges));
  return bpe;
}

// A merge is ["a", "b"] or "a b".
absl::Status Bpe::ReadMerges(const JsonNode& merges) {
  TERNION_RETURN_IF_ERROR(merges.ExpectArray());
  merges_.reserve(merges.value().size());
  int32_t rank = 0;
  for (const nlohmann::json& merge : merges.value()) {
    absl::Status added = absl::InvalidArgumentError("is neither [\"a\", \"b\"] nor \"a b\"");
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      added = AddMerge(rank, merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
    } else if (merge.is_string()) {
      const std::string_view text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space != text.npos) added = AddMerge(rank, text.substr(0, space), text.substr(space + 1));
    }
    if (!added.ok()) return merges.Item(rank).Locate(added);
    ++rank;
  }
  return absl::OkStatus();
}

absl::Status Bpe::AddMerge(int32_t rank, std::string_view left, std::string_view right) {
  const std::string both = absl::StrCat(ToAbsl(left), ToAbsl(right));
  int32_t ids[3];
  int i = 0;
  for (const std::string_view part : {left, right, std::string_view(both)}) {
    const std::optional<int32_t> id = vocabulary_->FindSpelling(part);
    if (!id.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("\"", ToAbsl(part), "\" is not in the vocabulary"));
    }
    ids[i++] = *id;
  }
  if (!vocabulary_->IsSpecial(ids[2])) merges_[static_cast<uint64_t>(ids[0]) << 32 | ids[1]] = {rank, ids[2]};
  return absl::OkStatus();
}

int32_t Bpe::WholeWord(std::string_view word) const {
  if (!ignore_merges_) return -1;
  const int32_t id = vocabulary_->Find(word).value_or(-1);
  return word.size() > 1 && vocabulary_->IsSpecial(id) ? -1 : id;
}

void Bpe::Encode(std::string_view word, std::vector<int32_t>& ids) const {
  if (const int32_t whole = WholeWord(word); whole >= 0) {
    ids.push_back(whole);
    return;
  }
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  alphabet_.Append(word, symbols);
  symbols.size() <= kShortWord ? MergeShort(symbols) : MergeLong(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

Bpe::Merge Bpe::Lookup(int32_t left, int32_t right) const {
  const auto found = merges_.find(static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right));
  return found == merges_.end() ? kNoMerge : found->second;
}

void Bpe::MergeShort(std::vector<int32_t>& symbols) const {
  std::array<Merge, kShortWord> merges;  // of symbols i and i + 1
  size_t pairs = symbols.empty() ? 0 : symbols.size() - 1;
  for (size_t i = 0; i < pairs; ++i) merges[i] = Lookup(symbols[i], symbols[i + 1]);
  while (pairs > 0) {
    const auto best = std::min_element(merges.begin(), merges.begin() + pairs,
                                       [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (best->id < 0) break;
    const size_t i = best - merges.begin();
    symbols[i] = best->id;
    symbols.erase(symbols.begin() + i + 1);
    std::copy(best + 1, merges.begin() + pairs, best);
    --pairs;
    if (i > 0) merges[i - 1] = Lookup(symbols[i - 1], symbols[i]);
    if (i < pairs) merges[i] = Lookup(symbols[i], symbols[i + 1]);
  }
}

// Symbols as a list threaded through their first places, merges in a heap; a heap entry counts only while the
// pair at its place still has its rank.
void Bpe::MergeLong(std::vector<int32_t>& symbols) const {
  const auto size = static_cast<int32_t>(symbols.size());
  std::vector<int32_t> next(size);
  std::vector<int32_t> previous(size);
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> heap;  // rank << 32 | place
  const auto push = [&](int32_t i) {
    if (i < 0 || next[i] >= size) return;
    const Merge merge = Lookup(symbols[i], symbols[next[i]]);
    if (merge.id >= 0) heap.push(static_cast<uint64_t>(merge.rank) << 32 | static_cast<uint32_t>(i));
  };
  for (int32_t i = 0; i < size; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
    push(i);
  }
  while (!heap.empty()) {
    const auto i = static_cast<int32_t>(heap.top() & UINT32_MAX);
    const auto rank = static_cast<int32_t>(heap.top() >> 32);
    heap.pop();
    if (symbols[i] < 0 || next[i] >= size) continue;
    const int32_t right = next[i];
    const Merge merge = Lookup(symbols[i], symbols[right]);
    if (merge.rank != rank) continue;
    symbols[i] = merge.id;
    symbols[right] = -1;
    next[i] = next[right];
    if (next[i] < size) previous[next[i]] = i;
    push(previous[i]);
    push(i);
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), -1), symbols.end());
}

}  // namespace ternion
