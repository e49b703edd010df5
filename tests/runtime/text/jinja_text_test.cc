#include "runtime/text/jinja/text.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "runtime/text/jinja/json.h"
#include "runtime/text/jinja/template.h"

namespace ternion::jinja {
namespace {

// Foreign bytes in brackets.
std::string Marked(const Text& text) {
  std::string out;
  size_t at = 0;
  for (const TextRange& range : text.foreign()) {
    out += text.bytes().substr(at, range.begin - at) + "[" +
           text.bytes().substr(range.begin, range.end - range.begin) + "]";
    at = range.end;
  }
  return out + text.bytes().substr(at);
}

// `m` is text of a message, "<a>b</a> "; `d` a dict that came with it.
std::string Render(const std::string& source) {
  const auto parsed = Template::Parse(source);
  if (!parsed.ok()) return std::string(parsed.status().message());
  const nlohmann::json dict = {{"k", "<a>"}, {"n", 12}};
  const Variables variables = {
      {"m", Value::String(Text::Foreign("<a>b</a> "))}, {"d", FromJson(dict)}, {"own", Value::Own("<own>")}};
  const auto text = (*parsed)->Render(variables, std::tm());
  return text.ok() ? Marked(*text) : std::string(text.status().message());
}

TEST(JinjaText, KeepsWhatIsForeignThroughCutsAndJoins) {
  Text text = Text::Own("ab");
  text.Append(Text::Foreign("cd"));
  text.Append(Text::Foreign("ef"));
  text.AppendOwn("gh");
  EXPECT_EQ(Marked(text), "ab[cdef]gh");
  EXPECT_EQ(Marked(text.Substr(1, 3)), "b[c]");
  EXPECT_EQ(Marked(text.Substr(3, 7)), "[def]g");
  EXPECT_EQ(Marked(text.Substr(4, 4)), "");
  EXPECT_EQ(Marked(text.Substr(6, 8)), "gh");
  EXPECT_EQ(Marked(Text::MadeOf("XY", text)), "[XY]");
  EXPECT_EQ(Marked(Text::MadeOf("XY", text.Substr(0, 2))), "XY");
}

TEST(JinjaText, TellsMessagesFromTheTemplate) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"<a>{{ m }}</a>", "<a>[<a>b</a> ]</a>"},
      {"{{ own }}{{ '<a>' }}", "<own><a>"},
      {"{{ '<a>' + m|trim + own }}", "<a>[<a>b</a>]<own>"},
      {"{{ '<' ~ m ~ '>' }}", "<[<a>b</a> ]>"},
      {"{{ m[:3] }}{{ m[3] }}{{ m[::-1] }}", "[<a>b >a/<b>a<]"},
      {"{{ m.split('b') }}", "[['<a>', '</a> ']]"},
      {"{{ m.split('b')|join('<b>') }}", "[<a>]<b>[</a> ]"},
      {"{{ m.replace('b', '<x>') }}", "[<a>]<x>[</a> ]"},
      {"{{ '1b2'.replace('b', m) }}", "1[<a>b</a> ]2"},
      {"{{ m.strip().removeprefix('<a>') }}", "[b</a>]"},
      {"{{ (m + '<x>')|upper }}", "[<A>B</A> <X>]"},
      {"{{ '<x>'|upper ~ m|upper }}", "<X>[<A>B</A> ]"},
      {"{{ m|title }}{{ m|capitalize }}", "[<A>b</a> <a>b</a> ]"},
      {"{{ m * 2 }}{{ '<a>' * 2 }}", "[<a>b</a> <a>b</a> ]<a><a>"},
      {"{{ '%s<x>%s' % (m, own) }}", "[<a>b</a> ]<x><own>"},
      {"{{ '{}<x>{}'.format(own, m) }}", "<own><x>[<a>b</a> ]"},
      {"{{ m.format() }}", "[<a>b</a> ]"},
      {"{{ d.k }}{{ d['n'] }}{{ d|tojson }}", "[<a>]12[{\"k\": \"<a>\", \"n\": 12}]"},
      {"{{ d }}{{ [own] }}", "[{'k': '<a>', 'n': 12}['<own>']]"},
      {"{% for k in d %}{{ k }}{% endfor %}", "[kn]"},
      {"{% for c in '<' ~ m[:2] %}{{ c }}{% endfor %}", "<[<a]"},
      {"{% set x %}<x>{{ m }}<y>{% endset %}{{ x }}", "<x>[<a>b</a> ]<y>"},
      {"{% macro f(a) %}<f>{{ a }}{{ caller() }}{% endmacro %}{% call f(m) %}<c>{{ m }}{% endcall %}",
       "<f>[<a>b</a> ]<c>[<a>b</a> ]"},
      {"{% filter replace('<', '(') %}<{{ m }}{% endfilter %}", "(([a>b]([/a> ]"},
      {"{{ m|indent }}{{ '<x>'|indent(first=true) }}", "[<a>b</a> ]    <x>"},
      {"{{ m|truncate(5, true, '<x>', 0) }}", "[<a]<x>"},
      {"{{ m.partition('b')[0] }}{{ m.splitlines()[0] }}{{ m|first }}{{ m|reverse|last }}",
       "[<a><a>b</a> <<]"},
      {"{{ m.center(11, '*') }}", "*[<a>b</a> ]*"},
      {"{{ [m, own]|sort|join }}{{ [m, own]|map('upper')|join }}", "[<a>b</a> ]<own>[<A>B</A> ]<OWN>"},
      {"{{ m|string }}{{ m|safe }}{{ m|default('x') }}{{ (m,)|first }}",
       "[<a>b</a> <a>b</a> <a>b</a> <a>b</a> ]"},
      {"{{ m if m else own }}{{ m or own }}{{ own or m }}", "[<a>b</a> <a>b</a> ]<own>"},
      {"{{ dict(a=m).a }}{{ namespace(a=m).a }}", "[<a>b</a> <a>b</a> ]"},
      {"{{ m|length }}{{ m|wordcount }}{{ '7'|int }}", "937"},
      {"{{ strftime_now('%%<x>') }}{{ strftime_now(m|trim) }}", "%<x>[<a>b</a>]"},
  };
  for (const auto& [source, expected] : cases) EXPECT_EQ(Render(source), expected) << source;
}

}  // namespace
}  // namespace ternion::jinja
