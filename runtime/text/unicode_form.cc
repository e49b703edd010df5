#include "runtime/text/unicode_form.h"

#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

absl::Status IcuError(UErrorCode code) {
  return absl::ResourceExhaustedError(
      absl::StrCat("Unicode normalization fails on this text: ", u_errorName(code)));
}

class UnicodeForm : public NormalizerStep {
 public:
  // Both live for ever.
  UnicodeForm(const icu::Normalizer2& form, const icu::UnicodeSet& characters) : form_(form, characters) {}

  absl::StatusOr<std::string> Apply(std::string_view text, std::vector<TextEdit>* edits) const override {
    if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
      return IcuError(U_INDEX_OUTOFBOUNDS_ERROR);
    }
    std::string result;
    result.reserve(text.size());
    icu::StringByteSink<std::string> sink(&result);
    icu::Edits changes;
    UErrorCode error = U_ZERO_ERROR;
    form_.normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink,
                        edits == nullptr ? nullptr : &changes, error);
    if (U_FAILURE(error)) return IcuError(error);
    if (edits == nullptr) return result;
    for (auto change = changes.getFineChangesIterator(); change.next(error);) {
      edits->push_back({static_cast<size_t>(change.sourceIndex()), static_cast<size_t>(change.oldLength()),
                        static_cast<size_t>(change.newLength())});
    }
    if (U_FAILURE(error)) return IcuError(error);
    return result;
  }

 private:
  icu::FilteredNormalizer2 form_;
};

const icu::UnicodeSet* MakeKnownCharacters() {
  UErrorCode error = U_ZERO_ERROR;
  auto* set = new icu::UnicodeSet(UNICODE_STRING_SIMPLE("[:age=9.0:]"), error);
  if (U_FAILURE(error)) return nullptr;
  return static_cast<const icu::UnicodeSet*>(set->freeze());
}

using GetForm = const icu::Normalizer2* (*)(UErrorCode&);

GetForm FormOf(std::string_view name) {
  if (name == "NFC") return &icu::Normalizer2::getNFCInstance;
  if (name == "NFD") return &icu::Normalizer2::getNFDInstance;
  if (name == "NFKC") return &icu::Normalizer2::getNFKCInstance;
  if (name == "NFKD") return &icu::Normalizer2::getNFKDInstance;
  return nullptr;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const NormalizerStep>> MakeUnicodeForm(std::string_view name) {
  const GetForm get = FormOf(name);
  if (get == nullptr)
    return absl::NotFoundError(absl::StrCat("\"", ToAbsl(name), "\" is no normalization form"));
  static const icu::UnicodeSet* const characters = MakeKnownCharacters();
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = get(error);
  if (U_FAILURE(error) || characters == nullptr) {
    return absl::InternalError(absl::StrCat("ICU's data cannot be loaded: ", u_errorName(error)));
  }
  return std::make_shared<UnicodeForm>(*form, *characters);
}

}  // namespace ternion
