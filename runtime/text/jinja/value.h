#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "runtime/text/jinja/text.h"

namespace ternion::jinja {

class Callable;
class Dict;
struct Iterator;
struct Loop;
struct Namespace;
struct Sequence;

// A value of a template: data as Python has it, which is immutable but for namespaces, loops and iterators. Integers
// have 64 bits.
class Value {
 public:
  Value() = default;                           // undefined
  static Value Undefined(std::string reason);  // "'x' is undefined"
  static Value None() { return Value(Nothing{}); }
  static Value Bool(bool value) { return Value(value); }
  static Value Int(int64_t value) { return Value(value); }
  static Value Float(double value) { return Value(value); }
  static Value String(Text text);
  static Value Own(std::string_view bytes) { return String(Text::Own(std::string(bytes))); }
  static Value List(std::vector<Value> items);
  static Value Tuple(std::vector<Value> items);
  static Value Of(std::shared_ptr<const Sequence> sequence) { return Value(std::move(sequence)); }
  static Value Of(std::shared_ptr<const Dict> dict) { return Value(std::move(dict)); }
  static Value Of(std::shared_ptr<Namespace> space) { return Value(std::move(space)); }
  static Value Of(std::shared_ptr<Iterator> iterator) { return Value(std::move(iterator)); }
  static Value Of(std::shared_ptr<Loop> loop) { return Value(std::move(loop)); }
  static Value Of(std::shared_ptr<const Callable> callable) { return Value(std::move(callable)); }

  bool is_undefined() const { return std::holds_alternative<Missing>(data_); }
  bool is_none() const { return std::holds_alternative<Nothing>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_true() const { return is_bool() && std::get<bool>(data_); }  // the constant

  // Null when the value is of another kind.
  const Text* text() const { return Pointer<const Text>(); }
  const Sequence* sequence() const { return Pointer<const Sequence>(); }
  const Dict* dict() const { return Pointer<const Dict>(); }
  Namespace* space() const { return Pointer<Namespace>(); }
  Iterator* iterator() const { return Pointer<Iterator>(); }
  Loop* loop() const { return Pointer<Loop>(); }
  const Callable* callable() const { return Pointer<const Callable>(); }
  std::shared_ptr<const Sequence> shared_sequence() const;  // of a sequence
  std::shared_ptr<Loop> shared_loop() const;                // of a loop

  // As Python counts: a bool is an integer, an integer is a number.
  std::optional<int64_t> AsInt() const;
  std::optional<double> AsNumber() const;

  bool Truth() const;
  // Python's name of the type, for messages.
  std::string_view type_name() const;
  // Why an undefined value is one.
  std::string reason() const;

  // Levels of containers; what is mutable counts none. Bounds every walk's recursion.
  int nesting() const;
  // Bytes that a walk through all of the value sees, shared parts counted each time. Saturates.
  int64_t weight() const;
  // Where the value itself lies; null for what is no object.
  const void* identity() const;

 private:
  struct Missing {
    std::shared_ptr<const std::string> reason;
  };
  struct Nothing {};
  using Data =
      std::variant<Missing, Nothing, bool, int64_t, double, std::shared_ptr<const Text>,
                   std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                   std::shared_ptr<Iterator>, std::shared_ptr<Loop>, std::shared_ptr<const Callable>>;
  explicit Value(Data data) : data_(std::move(data)) {}
  template <typename T>
  T* Pointer() const {
    const auto* held = std::get_if<std::shared_ptr<T>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }

  Data data_;
};

// Levels and bytes of a container, kept up while it is filled.
struct Extent {
  int nesting = 1;
  int64_t weight = 32;

  void Add(const Value& value);
};

struct Sequence {
  enum class Kind : uint8_t {
    kList,
    kTuple,
    kGroup,  // groupby's tuple: [0] is also .grouper, [1] .list
    kRange,
    kKeys,  // views of a dict
    kValues,
    kEntries,
  };

  Sequence(Kind of, std::vector<Value> values);
  // Python's tuple, or a view of a dict, which has no indices.
  bool is_tuple() const { return kind == Kind::kTuple || kind == Kind::kGroup; }
  bool is_view() const { return kind == Kind::kKeys || kind == Kind::kValues || kind == Kind::kEntries; }

  Kind kind;
  std::vector<Value> items;
  Extent extent;
};

// What filters such as map give: true whatever it holds, without a length, and walked through once.
struct Iterator {
  explicit Iterator(std::vector<Value> values);

  std::vector<Value> items;
  Extent extent;
  size_t next = 0;
};

// A dict in the order of its insertions.
class Dict {
 public:
  struct Entry {
    std::string id;  // KeyId(key)
    Value key;
    Value value;
  };

  // False when `key` is of a kind that cannot be one: a list, a dict.
  bool Set(const Value& key, Value value);
  void Set(std::string_view name, Value value) { Set(Value::Own(name), std::move(value)); }
  // Null when it is not there.
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view name) const;

  absl::Span<const Entry> entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  const Extent& extent() const { return extent_; }

 private:
  const Value* FindId(std::string_view id) const;
  size_t PlaceOf(std::string_view id) const;

  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string, size_t> places_;  // of a large dict
  Extent extent_;
};

// The same for keys that are equal, as 1, 1.0 and true are; nothing for what cannot be a key.
std::optional<std::string> KeyId(const Value& key);

// `{% set ns.name = value %}` changes it.
struct Namespace {
  Dict values;
};

}  // namespace ternion::jinja
