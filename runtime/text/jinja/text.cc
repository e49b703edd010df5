#include "runtime/text/jinja/text.h"

#include <algorithm>

namespace ternion::jinja {

Text Text::Own(std::string bytes) { return Text(std::move(bytes)); }

Text Text::Foreign(std::string bytes) {
  Text text(std::move(bytes));
  text.MarkForeign(0, text.size());
  return text;
}

Text Text::MadeOf(std::string bytes, const Text& source) {
  return source.all_own() ? Own(std::move(bytes)) : Foreign(std::move(bytes));
}

Text Text::Substr(size_t begin, size_t end) const {
  Text part;
  part.Append(*this, begin, end);
  return part;
}

void Text::Append(const Text& text, size_t begin, size_t end) {
  const size_t shift = bytes_.size();
  bytes_.append(text.bytes_, begin, end - begin);
  const auto behind = [](size_t at, const TextRange& range) { return at < range.end; };
  auto range = std::upper_bound(text.foreign_.begin(), text.foreign_.end(), begin, behind);
  for (; range != text.foreign_.end() && range->begin < end; ++range) {
    MarkForeign(std::max(range->begin, begin) - begin + shift, std::min(range->end, end) - begin + shift);
  }
}

// Behind what is marked already.
void Text::MarkForeign(size_t begin, size_t end) {
  if (begin == end) return;
  if (!foreign_.empty() && foreign_.back().end == begin) {
    foreign_.back().end = end;
  } else {
    foreign_.push_back({begin, end});
  }
}

}  // namespace ternion::jinja
