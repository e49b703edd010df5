#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/template.h"

namespace ternion::jinja {
namespace {

using nlohmann::json;

std::string Times(int64_t count, std::string_view text) {
  std::string out;
  for (int64_t i = 0; i < count; ++i) out += text;
  return out;
}

// The message of a template that cannot be parsed, or fails when it runs.
std::string Error(std::string_view source, const json& variables = json::object(),
                  const Limits& limits = {}) {
  const auto text = RenderOnce(source, variables, limits);
  if (text.ok()) return "no error";
  EXPECT_TRUE(absl::IsInvalidArgument(text.status()) || absl::IsFailedPrecondition(text.status()));
  return std::string(text.status().message());
}

Limits Small() {
  Limits limits;
  limits.steps = 20'000;
  limits.work_bytes = 4 << 20;
  limits.output_bytes = 1 << 20;
  return limits;
}

TEST(JinjaLimits, TellsWhereATemplateIsBroken) {
  EXPECT_EQ(Error("a\n{% if x %}\n  {{ x + }}{% endif %}"),
            "line 3, column 10: expected an expression, found }}");
  EXPECT_EQ(Error("\u00e9\u00e9{{ 'a }}"), "line 1, column 6: the string does not end");
  EXPECT_EQ(Error("{% for x in y %}"), "line 1, column 17: the template ends before 'endfor'");
  EXPECT_EQ(Error("{% endif %}"), "line 1, column 4: 'endif' has no tag that it belongs to");
  EXPECT_EQ(Error("{{ x|nope }}"), "line 1, column 6: there is no filter 'nope'");
  EXPECT_EQ(Error("{{ x is nope }}"), "line 1, column 9: there is no test 'nope'");
  EXPECT_EQ(Error("{{ \"\\N{BULLET}\" }}"),
            "line 1, column 5: \\N{...} is not supported; write the character itself");
  EXPECT_EQ(Error("{{ '\\ud800' }}"), "line 1, column 5: the escape stands for no character");
  EXPECT_EQ(Error("a\r\nb{{ (1] }}"), "line 2, column 7: unexpected ']', expected ')'");
  EXPECT_EQ(Error("\xFF"), "line 1, column 1: the template is not UTF-8");
  EXPECT_EQ(Error("{{ 99999999999999999999 }}"), "line 1, column 4: the integer has more than 64 bits");
}

TEST(JinjaLimits, RefusesWhatLoadsOtherTemplates) {
  for (const char* tag : {"extends 'a'", "include 'a'", "import 'a' as b", "from 'a' import b", "block b"}) {
    EXPECT_NE(Error(absl::StrCat("{% ", tag, " %}")).find("a chat template stands alone"), std::string::npos)
        << tag;
  }
}

TEST(JinjaLimits, TellsTheLineThatFails) {
  EXPECT_EQ(Error("a\n\n{{ 1 / 0 }}"), "line 3: division by zero");
  EXPECT_EQ(Error("{{ x.y }}"), "line 1: 'x' is undefined");
  EXPECT_EQ(Error("{{ x.y.z }}", {{"x", json::object()}}), "line 1: 'dict object' has no attribute 'y'");
  EXPECT_EQ(Error("a\n{{ raise_exception('roles\nmust alternate') }}"), "roles\nmust alternate");
}

TEST(JinjaLimits, NestsOnlySoDeepInTheSource) {
  constexpr int64_t kDeep = 100'000;
  const std::vector<std::string> sources = {
      "{{ " + Times(kDeep, "(") + "1" + Times(kDeep, ")") + " }}",
      "{{ " + Times(kDeep, "[") + Times(kDeep, "]") + " }}",
      "{{ " + Times(kDeep, "{1:") + "1" + Times(kDeep, "}") + " }}",
      "{{ " + Times(kDeep, "not ") + "1 }}",
      "{{ " + Times(kDeep, "- ") + "1 }}",
      "{{ 1" + Times(kDeep, " + 1") + " }}",
      "{{ 1" + Times(kDeep, " ~ 1") + " }}",
      "{{ 1" + Times(kDeep, " ** 1") + " }}",
      "{{ 1" + Times(kDeep, " and 1") + " }}",
      "{{ 1" + Times(kDeep, " if 1 else 1") + " }}",
      "{{ 1" + Times(kDeep, " if 1") + " }}",
      "{{ x" + Times(kDeep, ".x") + " }}",
      "{{ x" + Times(kDeep, "[0]") + " }}",
      "{{ x" + Times(kDeep, "()") + " }}",
      "{{ " + Times(kDeep, "f(") + Times(kDeep, ")") + " }}",
      "{{ x" + Times(kDeep, "|upper") + " }}",
      "{{ x" + Times(kDeep, "|join(") + Times(kDeep, ")") + " }}",
      "{{ x" + Times(kDeep, " is in x") + " }}",
      Times(kDeep, "{% if x %}") + Times(kDeep, "{% endif %}"),
      Times(kDeep, "{% for x in y %}"),
      Times(kDeep, "{% macro m() %}"),
      Times(kDeep, "{% set x %}"),
      "{% for " + Times(kDeep, "(") + "x" + Times(kDeep, ")") + " in y %}{% endfor %}",
      "{% set x" + Times(kDeep, "|upper") + " %}{% endset %}",
  };
  for (const std::string& source : sources) EXPECT_NE(Error(source), "no error") << source.substr(0, 40);
}

TEST(JinjaLimits, ChainsAsLongAsATemplateMayNeed) {
  EXPECT_EQ(RenderOnce("{{ 1" + Times(150, " + 1") + " }}", json::object()).value(), "151");
  EXPECT_EQ(RenderOnce("{{ " + Times(90, "(") + "1" + Times(90, ")") + " }}", json::object()).value(), "1");
  EXPECT_EQ(RenderOnce(Times(90, "{% if 1 %}") + "x" + Times(90, "{% endif %}"), json::object()).value(),
            "x");
  EXPECT_EQ(RenderOnce("{% if 0 %}" + Times(5000, "{% elif 0 %}") + "{% else %}x{% endif %}", json::object())
                .value(),
            "x");
}

TEST(JinjaLimits, EndsWhatDoesNotEnd) {
  const std::vector<std::string> sources = {
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}",
      "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
      "{% macro m() %}{% call m() %}{% endcall %}{{ caller() }}{% endmacro %}{{ m() }}",
      "{% macro m(x=m()) %}{% endmacro %}{{ m() }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{% set x %}{{ m() }}{% endset %}",
      "{% for i in range(100000) %}{% macro m() %}{% endmacro %}{{ m() }}{% endfor %}",
      "{{ range(100000)|map('string')|map('length')|list }}",
  };
  for (const std::string& source : sources) {
    EXPECT_NE(Error(source, json::object(), Small()).find("takes more than"), std::string::npos) << source;
    EXPECT_NE(Error(source.substr(0, source.size() / 2) + source), "no error") << source;
  }
}

TEST(JinjaLimits, MakesNoMoreThanItMay) {
  const std::vector<std::string> sources = {
      "{{ 'x' * 1000000000000 }}",
      "{{ [1] * 1000000000000 }}",
      "{{ (1, 2) * 9223372036854775807 }}",
      "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
      "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
      "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
      "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x == "
      "[n.x] }}",
      "{% set n = namespace(x={}) %}{% for i in range(60) %}{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor "
      "%}{{ n.x|tojson }}",
      "{% set n = namespace(x=(1, 1)) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ "
      "{n.x: 1} }}",
      "{% for i in range(100000) %}0123456789012345678901234567890123456789{% endfor %}",
      "{{ 'x'.center(1000000000000) }}{{ 'x'|center(1000000000) }}",
      "{{ 'x'.zfill(1000000000000) }}",
      "{{ 'x'.ljust(1000000000000) }}",
      "{{ 'x'|indent(1000000000000) }}",
      "{{ ('x\n' * 1000)|indent(100000) }}",
      "{{ ('a' * 2000).replace('a', 'b' * 5000) }}",
      "{{ ('a' * 2000).replace('', 'b' * 5000) }}",
      "{{ ('b' * 5000).join('a' * 2000) }}",
      "{{ ('a' * 2000)|join('b' * 5000) }}",
      "{{ [1]|batch(1000000000000, 0)|list }}",
      "{{ []|slice(1000000000000)|list }}",
      "{{ [[[1]]]|tojson(indent=1000000000000) }}",
      "{{ ([[1]] * 9000)|tojson(indent=90000) }}",
      "{{ ('a' * 400000).count('a' * 200000 ~ 'b') }}",
      "{{ ('a' * 400000).split('a' * 200000 ~ 'b') }}",
      "{{ ('a' * 200000 ~ 'b') in ('a' * 400000) }}",
      "{{ ('a' * 400000)|list }}",
      "{% for c in 'a' * 400000 %}{% endfor %}",
      "{{ '%s' % ('x' * 5000000) }}",
      "{% set l = range(3000)|list %}{% for x in l %}{% if [l] == [l + [x]] %}{% endif %}{% endfor %}",
      "{% set l = range(9000)|list %}{% for x in l %}{{ l|sort|first }}{% endfor %}",
  };
  for (const std::string& source : sources) {
    const auto start = std::chrono::steady_clock::now();
    const std::string error = Error(source, json::object(), Small());
    EXPECT_NE(error.find("more than"), std::string::npos) << source << "\n" << error.substr(0, 200);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << source;
  }
}

TEST(JinjaLimits, CountsNoMoreNumbersThanJinjasSandbox) {
  EXPECT_EQ(Error("{{ range(100001) }}"), "line 1: range() gives more than 100000 numbers");
  EXPECT_EQ(Error("{{ range(0, 9223372036854775807) }}"), "line 1: range() gives more than 100000 numbers");
  EXPECT_EQ(
      RenderOnce("{{ range(9223372036854775806, 9223372036854775807, 5)|list }}", json::object()).value(),
      "[9223372036854775806]");
}

TEST(JinjaLimits, KeepsIntegersWithinTheirBits) {
  for (const char* source :
       {"{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 9223372036854775807 * 2 }}",
        "{{ 2 ** 63 }}", "{{ -(-9223372036854775807 - 1) }}", "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ (-9223372036854775807 - 1)|abs }}"}) {
    EXPECT_NE(Error(source).find("64 bits"), std::string::npos) << source;
  }
  EXPECT_EQ(RenderOnce("{{ (-9223372036854775807 - 1) % -1 }}{{ 'a'[9223372036854775807:] }}"
                       "{{ 'ab'[::-9223372036854775807 - 1] }}{{ 'ab'[-9223372036854775807 - 1:1] }}",
                       json::object())
                .value(),
            "0ba");
}

// Chains of containers, which destructors follow, stay short whatever they are made of.
TEST(JinjaLimits, BuildsNoChainThatIsTooLong) {
  const std::vector<std::string> links = {"[n.x]",
                                          "(n.x,)",
                                          "{'a': n.x}",
                                          "dict(a=n.x)",
                                          "[n.x].count",
                                          "[n.x]|batch(1)",
                                          "[n.x]|map('default')",
                                          "[n.x]|reverse",
                                          "{'a': n.x}.get",
                                          "{'a': n.x}.items()",
                                          "[n.x]|groupby(0)",
                                          "[[n.x]]|slice(1)"};
  for (const std::string& link : links) {
    const std::string source = absl::StrCat(
        "{% set n = namespace(x=1) %}{% for i in range(50000) %}{% set n.x = ", link, " %}{% endfor %}");
    EXPECT_NE(Error(source), "no error") << link;
  }
  // Namespaces and loops may hold one another in any number.
  EXPECT_EQ(RenderOnce("{% set n = namespace(x=1) %}{% set n.self = n %}{% for i in range(50000) %}"
                       "{% set m = namespace(x=n.x) %}{% set n.x = m %}{% endfor %}ok",
                       json::object())
                .value(),
            "ok");
  EXPECT_EQ(
      RenderOnce(
          "{% set n = namespace(x=1) %}{% for i in range(50000) %}{% for j in [n.x] %}{% set n.x = loop %}"
          "{{ '' if loop.changed(n.x, [loop]) }}{% endfor %}{% endfor %}ok",
          json::object())
          .value(),
      "ok");
  EXPECT_EQ(RenderOnce("{% set n = namespace() %}{% for i in range(9) %}{% macro m() %}{{ i }}{% endmacro %}"
                       "{% set n.m = m %}{% endfor %}{{ n.m() }}",
                       json::object())
                .value(),
            "8");
}

TEST(JinjaLimits, ReachesNothingButTheData) {
  const json variables = {{"s", "a"}, {"l", {1}}, {"d", {{"k", 1}}}, {"n", 5}};
  const std::vector<std::string> objects = {"s",         "l",
                                            "d",         "n",
                                            "none",      "range",
                                            "s.upper",   "namespace()",
                                            "loop",      "(l|map('string'))",
                                            "d.items()", "raise_exception",
                                            "true",      "1.5"};
  const std::vector<std::string> names = {
      "__class__", "__init__", "__globals__", "__mro__", "__subclasses__", "__dict__", "mro", "func_globals",
      "gi_frame",  "append",   "update",      "pop",     "clear",          "_x"};
  for (const std::string& object : objects) {
    for (const std::string& name : names) {
      for (const std::string& access :
           {absl::StrCat("(", object, ").", name), absl::StrCat("(", object, ")['", name, "']"),
            absl::StrCat("(", object, ")|attr('", name, "')")}) {
        const std::string source =
            absl::StrCat("{% for i in l %}{{ (", access, ") is defined }}{% endfor %}");
        EXPECT_EQ(RenderOnce(source, variables).value(), "False") << source;
      }
    }
  }
}

TEST(JinjaLimits, KeepsAClientsLongConversation) {
  json messages = json::array();
  for (int i = 0; i < 20'000; ++i)
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", Times(30, "long text ")}});
  const auto text = RenderOnce(
      "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] | trim + '<|end|>\n' }}{% endfor "
      "%}",
      {{"messages", messages}});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_GT(text->size(), 20'000u * 300);
}

}  // namespace
}  // namespace ternion::jinja
