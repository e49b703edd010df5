#!/usr/bin/env python3
"""What Python's jinja2 makes of the templates and expressions in tests/data/chat_templates.

    chat_templates.py --write          writes golden.json
    chat_templates.py FILE.jinja ...   prints, as JSON, what these templates make of the conversations (other models')

jinja2 (3.1.6) is set up as Hugging Face's transformers sets it up for chat templates.
"""

import argparse
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

DATA = pathlib.Path(__file__).resolve().parents[1] / "data/chat_templates"
NOW = datetime.datetime(2026, 2, 3, 14, 5, 9)
# In every conversation; transformers gives the last two where there are none.
ALWAYS = {"bos_token": "<s>", "eos_token": "</s>", "enable_thinking": False, "tools": None, "documents": None}


class Raised(jinja2.TemplateError):
    """raise_exception was called."""


class Generation(jinja2.ext.Extension):
    """{% generation %}, which transformers uses to find what a model is to be trained on."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(source, variables):
    """{"text"}, {"raised"}: the template's own message, or {"fails"}: "parse" or "render"."""
    try:
        template = environment().from_string(source)
    except (jinja2.TemplateError, SyntaxError, ValueError):
        return {"fails": "parse"}
    try:
        return {"text": template.render(**variables)}
    except Raised as error:
        return {"raised": str(error)}
    except Exception:  # whatever Python's own operations throw
        return {"fails": "render"}


def talk(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def conversations():
    yield "user", talk(("user", "Hello"))
    yield "user-spaces", talk(("user", "  Hello\n\n"), ("assistant", "\n Hi!  "), ("user", "\u3000\u4f60\u597d\x1c"))
    yield "system", talk(("system", "Be brief.\n"), ("user", "1 + 1 < 3 & \"so\"?"), ("assistant", "Yes."),
                         ("user", "\u00e9\u00e8\u0394\U0001f600"))
    yield "assistant-last", talk(("user", "a"), ("assistant", "b"))
    yield "two-users", talk(("user", "a"), ("user", "b"))
    yield "system-late", talk(("user", "a"), ("assistant", "b"), ("system", "c"), ("user", "d"))
    yield "system-alone", talk(("system", "only me"))
    yield "other-role", talk(("user", "a"), ("critic", "b"))
    yield "tokens", talk(("user", "</s><|eot_id|><|im_end|>[/INST] {{ messages }} {% raw %}"))
    yield "empty", talk(("user", ""))
    yield "none", []
    yield "think", talk(("user", "q"), ("assistant", "<think>\nhm\n</think>\n\nA."), ("user", "r"),
                        ("assistant", "<think>x</think>B."))
    yield "parts", [{"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image"},
                                                 {"type": "text", "text": "well?"}]},
                    {"role": "assistant", "content": "A cat."}]
    yield "bad-part", [{"role": "user", "content": [{"type": "sound"}]}]
    yield "tools", [{"role": "user", "content": "2 * 3?"},
                    {"role": "assistant", "content": "", "tool_calls": [
                        {"type": "function", "id": "abcdefghi", "function": {
                            "name": "multiply", "arguments": {"b": 3, "a": 2.0, "why": "\u00e9 <b> '\""}}}]},
                    {"role": "tool", "content": "6", "tool_call_id": "abcdefghi"},
                    {"role": "assistant", "content": "It is 6."}, {"role": "user", "content": "Thanks"}]
    yield "children", [{"role": "user", "content": "a", "children": talk(("user", "b"), ("assistant", "c"))},
                       {"role": "assistant", "content": "d"}]


def template_rows(files):
    for file in files:
        source = file.read_text()
        for name, messages in conversations():
            for prompt in (True, False):
                variables = {"messages": messages, "add_generation_prompt": prompt, **ALWAYS}
                yield {"template": file.name, "conversation": name, "prompt": prompt, **render(source, variables)}


VARIABLES = {
    "n": 7, "f": 2.5, "s": "Hello, World", "u": "\u00e9t\u00e9 \u00df\u01c6 \u0130", "e": "", "z": None, "t": True,
    "list": [3, 1, 2], "words": ["b", "A", "c", "a"], "pad": "  x y\t\n", "lines": "a\nb\r\n\nc\n",
    "d": {"a": 1, "b": [1, 2], "items": "mine", "c d": {"x": None}},
    "people": [{"name": "Zo\u00eb", "age": 30, "tags": ["x"]}, {"name": "al", "age": 5}, {"name": "Bob", "age": 30}],
    "nested": [[1, [2, 3]], {"k": {"l": [10, 20]}}], "quote": "it's \"so\" \\ \x07 \u00a0 \u200b \U0001f600",
    "numbers": [0, -1, 2.0, 1e16, 1e-5, 123456789.125, 0.1, 1e22, -0.0],
}

EXPRESSIONS = r"""
n + 1 | n - 10 | n * 3 | n / 2 | n // 2 | n % 4 | n ** 2 | -n | +n | - n ** 2 | -n // 2 | -n % 4 | n % -4 | -7 // -2 | 2 ** -1
2 ** 3 ** 2 | 7.5 // 2 | -7.5 % 2 | 7.5 % -2 | 1 / 3 | 10 / 5 | 1e3 | 1_000 | 0x1F | 0b101 | 0o17 | 1.5e-3 | 1_0.5 | 00 | 1e400
n // 0 | n % 0 | n / 0 | 0 ** -1 | t + t | t * 2.5 | true == 1 | 1 == 1.0 | 'a' * 3 | 3 * 'ab' | 'a' * -1 | [1] * 2 | (1, 2) * 2
'a' + 'b' | 'a' 'b' "c" | 'a' + 1 | 1 + 'a' | [1] + [2] | [1] + (2,) | (1,) + (2,) | 'a' ~ 1 ~ none ~ true ~ 2.0 ~ x | s - 1
1 < 2 | 1 < 2 < 3 | 1 < 3 < 2 | 'a' < 'b' | 'b' < 'B' | [1, 2] < [1, 3] | [1] < [1, 2] | (1,) < (0, 5) | 1 < 'a' | none < 1 | 1 == '1'
1 != 2 | s == 'Hello, World' | [1, 2] == [1, 2] | [1] == (1,) | {'a': 1} == {'a': 1.0} | {} == [] | none == none | none == false
2 <= 2 | 2 >= 3 | 2.5 > 2 | 'abc' >= 'abd' | not n | not e | not not s | not x | n and s | e or 'none' | e and s | x or z | z or e or 0
n in list | 1 in list | 'World' in s | '' in s | 'a' in d | 'q' in d | 1.0 in list | 'x' not in s | none in [none] | 1 in s | n in 5 | 'a' in x
n is defined | x is defined | x is not defined | x is undefined | d.q is defined | z is none | n is none | n is not none | s is string
n is string | n is number | t is number | f is float | n is float | n is integer | t is integer | t is boolean | n is boolean | d is mapping
list is mapping | list is sequence | s is sequence | d is sequence | n is sequence | list is iterable | s is iterable | n is iterable
d.items() is sequence | n is odd | n is even | n is divisibleby 7 | n is divisibleby(2) | 'abc' is lower | 'Abc' is lower | 'ABC' is upper
'1' is lower | n is eq 7 | n is ne 7 | n is gt 3 | n is ge(7) | n is lt 3 | n is le 6 | n is in [7] | n is not in [7] | s is in d
n is sameas 7 | z is sameas none | t is true | t is false | 1 is true | range is callable | s.upper is callable | n is callable | x is callable
'upper' is filter | 'nope' is filter | 'even' is test | x is sequence | x is iterable | x is mapping | x is string | n is equalto(7) and t is true
n if t else 0 | n if e else 0 | n if e | (n if e) is undefined | 1 if t else 2 if e else 3 | 1 if e else 2 if e else 3 | 'a' if n > 5 and f < 3
s[0] | s[-1] | s[100] | s[1:4] | s[:-3] | s[::2] | s[::-1] | s[5:1] | s[-4:] | s[1:100] | s[3:1:-1] | u[1:3] | u[::-1] | u[-2] | s[::0]
list[0] | list[-1] | list[9] | list[1:] | list[::-1] | list[:2] | list[-2:] | list[5:] | (1, 2, 3)[1:] | range(10)[2:5]|list | list | list[none:none]
list['a'] | list.0 | nested.0.1.0 | nested[1].k.l[1] | nested[1]['k']['l'][0] | d.a | d['a'] | d.b[1] | d['c d'].x | d.items is callable | d['items'] | d.q
d.q.r | x.y | z.y | z.y.w | n.y | s.nothing | s['upper'] is callable | d[[1]] | d[1] | {1: 'a'}[1.0] | {1: 'a'}[true] | {(1, 2): 'a'}[(1, 2)]
{'a': 1, 'b': 2} | {} | [] | () | (1,) | (1, 2) | [1, 'a', none, true, 2.5, [], {}, x] | {'a': {'b': [1]}} | {1: 2, none: 3} | {[1]: 2} | [1, 2,] | (1, 2,)
s.upper() | s.lower() | u.upper() | u.lower() | u.capitalize() | u.title() | s.title() | 'hELLO wORLD'.capitalize() | "they're bill's".title() | e.upper()
pad.strip() ~ '|' | pad.lstrip() ~ '|' | pad.rstrip() ~ '|' | 'xxaxx'.strip('x') | 'abcba'.strip('ab') | 'xxa'.lstrip('x') | 'axx'.rstrip('x')
'\u3000\x1ca\x85'.strip() | 'éaé'.strip('é') | ' a '.strip(none) | 'a'.strip(1) | s.split() | s.split(', ') | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1) | '  a b  c '.split() | ' a b c '.split(none, 1) | ' a b c '.rsplit(none, 1) | ''.split() | ''.split(',') | 'a'.split('')
'aXbXc'.split('X', maxsplit=1) | 'aXbXc'.split(sep='X') | 'aaa'.split('aa') | 'aaa'.rsplit('aa') | lines.splitlines() | lines.splitlines(true)
lines.splitlines(keepends=true) | s.startswith('Hell') | s.startswith(('x', 'He')) | s.startswith('') | s.endswith('ld') | s.endswith(('a', 'b')) | s.startswith('o', 4)
s.startswith('Hello', 0, 3) | s.endswith('o', 0, 5) | s.startswith(1) | s.replace('l', 'L') | s.replace('l', 'L', 1) | 'abc'.replace('', '-') | 'abc'.replace('', '-', 2)
'aaa'.replace('aa', 'b') | s.replace('q', 'x') | s.replace(1, 2) | s.find('o') | s.find('q') | s.rfind('o') | s.find('o', 5) | s.find('o', 0, 4) | u.find('t') | s.find('')
s.index('W') | s.index('q') | s.rindex('l') | s.count('l') | 'aaaa'.count('aa') | 'abc'.count('') | u.count('é') | ', '.join(['a', 'b']) | ', '.join([1]) | '-'.join('abc')
'-'.join([]) | 'abc'.isalpha() | 'ab1'.isalpha() | 'ab1'.isalnum() | '12'.isdigit() | '1.2'.isdigit() | ' \t'.isspace() | ''.isspace() | 'aB'.islower() | 'AB1'.isupper()
'é'.isalpha() | '١'.isdigit() | 'abc'.removeprefix('a') | 'abc'.removesuffix('bc') | 'abc'.removeprefix('x') | 'abc'.removesuffix('') | '42'.zfill(5) | '-42'.zfill(5)
'abc'.center(8) ~ '|' | 'abcd'.center(7, '*') | 'ab'.center(5, '*') | 'ab'.ljust(4) ~ '|' | 'ab'.rjust(4, '.') | 'ab'.center(1) | 'a-b-c'.partition('-') | 'a-b-c'.rpartition('-')
'abc'.partition('-') | 'abc'.rpartition('-') | '{} and {}'.format(1, 'b') | '{0} {1} {0}'.format(1, 2) | '{a}{{}}'.format(a=list) | '{}'.format() | '%s and %d' % ('a', 3) | '%s' % s
'%05.1f|%-5s|%5s|%x|%%' % (f, 'a', 'b', 255) | '%(a)s' % {'a': 1} | '%d' % 'a' | '%s %s' % 'a' | '%s' % (1, 2) | '%r' % 'a' | '%+d' % 5 | '%.3s' % 'abcdef' | '%s'
d.get('a') | d.get('q') | d.get('q', 5) | d.keys() | d.values() | d.items() | d.keys() is sequence | d.copy() == d | d.items() is iterable | d.keys()[0]
list.index(1) | list.index(9) | list.count(1) | list.copy() | list.append(4) | list.pop() | d.update({'q': 1}) | d.pop('a') | d.clear() | list.sort() | d.setdefault('a', 1)
s.__class__ | s.__class__.__mro__ | d.__init__ | list.__len__() | range.__globals__ | s.format_map is string | (1).__class__ | namespace.__init__.__globals__ | d['__class__']
s|upper | s|lower | n|upper | none|upper ~ x|upper | s|title | 'foo-bar (baz) [q] {x} <y>'|title | u|title | 'hELLO'|capitalize | pad|trim ~ '|' | 'xax'|trim('x') | n|trim
x|trim | x|default('d') | x|default | z|default('d') | z|default('d', true) | e|d('d', boolean=true) | 0|default(1) | s|default('d') | x.y|default('d') | d.q|default('d')
s|length | list|length | d|length | u|length | x|length | z|length | n|length | list|count | d.items()|length | range(5)|length | (list|map('string'))|length
list|first | list|last | []|first | []|last | s|first | s|last | d|first | d|last | x|first | (list|map('string'))|last | (list|map('string'))|first | []|first is undefined
list|join | list|join(', ') | list|join('-', attribute='q') | people|join(', ', attribute='name') | people|join(d='; ', attribute='age') | s|join('.') | d|join(',') | x|join | n|join
list|sort | words|sort | words|sort(case_sensitive=true) | list|sort(reverse=true) | list|sort(true) | people|sort(attribute='name')|map(attribute='name')|list | words|sort|join
people|sort(attribute='age,name')|map(attribute='name')|join(' ') | people|sort(reverse=true, attribute='age')|map(attribute='name')|join(' ') | [1, 'a']|sort | [[2], [1, 5]]|sort
words|unique|list | words|unique(true)|list | people|unique(attribute='age')|map(attribute='name')|list | [1, 1.0, true, 'a']|unique|list | [[1]]|unique|list | words|min | words|max
list|min | list|max | []|min | people|max(attribute='age') | people|min(attribute='age')|string | words|max(case_sensitive=true) | list|sum | people|sum(attribute='age') | list|sum(start=10)
[]|sum | ['a']|sum | [[1], [2]]|sum(start=[]) | list|reverse|list | s|reverse | list|reverse|join | d|reverse|list | n|reverse | s|list | d|list | x|list | n|list | list|list == list
list|map('string')|list | words|map('upper')|join(',') | people|map(attribute='name')|list | people|map(attribute='tags')|list | people|map(attribute='tags', default='-')|list | people|map(attribute='tags.0', default=0)|list
list|map('nope')|list | list|map|list | words|map('replace', 'a', 'x')|list | people|selectattr('age', 'equalto', 30)|map(attribute='name')|list | people|selectattr('tags')|list|length
people|selectattr('tags', 'defined')|list|length | people|rejectattr('tags', 'defined')|list|length | people|rejectattr('age', '>', 10)|map(attribute='name')|list | list|select('odd')|list | list|reject('odd')|list
[0, 1, '', 'a', none]|select|list | [0, 1, '']|reject|list | list|select('>', 1)|list | list|select('in', [1, 2])|list | list|select('nope')|list | x|select|list | 'yes' if list|select('>', 99) else 'no'
people|groupby('age')|length | people|groupby('age')|map(attribute='grouper')|list | people|groupby('age')|map('last')|map('length')|list | (people|groupby('age'))[0].grouper | (people|groupby('age'))[0].list[0].name | words|groupby(0)
people|groupby('tags', default=[])|length | [{'c': 'CA'}, {'c': 'ca'}, {'c': 'B'}]|groupby('c')|map('first')|list | [1, 2, 3, 4, 5]|batch(2)|list | [1, 2, 3]|batch(2, 0)|list | [1, 2, 3, 4, 5]|slice(3)|list
[1, 2, 3, 4, 5]|slice(3, 'x')|list | [1]|slice(3)|list | {'b': 1, 'a': 2}|dictsort | {'b': 1, 'a': 2, 'C': 0}|dictsort(true) | {'b': 1, 'a': 2}|dictsort(by='value') | {'b': 1, 'a': 2}|dictsort(reverse=true) | {'a': 1}|items|list
x|items|list | n|items|list | '42'|int | '4_2'|int | ' 42 '|int | '42.9'|int | 'x'|int | 'x'|int(7) | '0x1f'|int(base=16) | '1f'|int(0, 16) | '0b11'|int(base=0) | 2.9|int | -2.9|int | none|int | true|int | x|int | '-5'|int
'2.5'|float | 'x'|float | 'x'|float(1.5) | '1e3'|float | 2|float | none|float | 'inf'|float | '1_0.5'|float | -3|abs | 2.5|abs | 'a'|abs | 2.5|round | 3.5|round | 2.675|round(2) | 42.55|round(1, 'floor') | 42.55|round(1, 'ceil') | 5|round | 1234.5|round(-2) | 1.5|round(1, 'x')
s|replace('l', 'L') | s|replace('l', 'L', 2) | n|replace(7, 8) | s|string | list|string | none|string | x|string | s|safe | s|center(20) ~ '|' | 'ab'|indent | 'a\nb\n\nc'|indent | 'a\nb'|indent(2) | 'a\nb'|indent(2, true) | 'a\n\nb'|indent(2, first=true, blank=true)
'a\nb'|indent('> ') | 'a\nb\n'|indent | ''|indent | n|indent | 'foo bar baz qux'|truncate(9) | 'foo bar baz qux'|truncate(9, true) | 'foo bar baz qux'|truncate(11) | 'foo bar baz qux'|truncate(11, false, '..', 0) | s|wordcount | 'a b_c d-e é1'|wordcount
'%s-%s'|format('a', 1) | '%(x)s'|format(x=1) | s|attr('upper') is callable | d|attr('a') | d|attr('items') is callable | nested|attr('q')
d|tojson | list|tojson | s|tojson | u|tojson | u|tojson(ensure_ascii=true) | quote|tojson | none|tojson | true|tojson | f|tojson | numbers|tojson | {'b': 1, 'a': [true, none]}|tojson(sort_keys=true) | d|tojson(indent=2) | d|tojson(indent=0) | []|tojson(indent=2)
[{}, [], [[]]]|tojson(indent=1) | d|tojson(indent='..') | list|tojson(separators=(',', ':')) | d|tojson(separators=(',', ':'), indent=2) | {1: 2, none: 3, true: 4, 1.5: 5}|tojson | x|tojson | (1, 2)|tojson | range(3)|tojson | d.keys()|tojson | '\u0001\u007f\u2028'|tojson
{(1, 2): 3}|tojson | [x]|tojson | 'a/b<c>&\''|tojson | '\U0001f600'|tojson(true)
numbers | quote | [quote] | ["it's"] | ['"'] | ['a\nb\t\\'] | ['\u00e9\u200b\u00a0\U0001f600'] | u | [u] | -0.0 | 1e16 | 1e15 | 123456789012345680.0 | 1.0 | 1e-4 | 1e-5 | 0.1 + 0.2 | 1e300 * 1e10 | [1e308 * 10]
range(3)|list | range(1, 4)|list | range(5, 0, -2)|list | range(0)|list | range(3)|join(',') | 2 in range(3) | range(3)[1] | range(1, 2, 0) | range(100001) | range(100000)|length | range('a') | range()
dict(a=1, b=2) | dict({'a': 1}, b=2) | dict([['a', 1]]) | dict(1) | namespace(a=1).a | namespace({'a': 1}).a | namespace(a=1).b is defined | namespace() is defined | namespace(a=1)['a'] | strftime_now('%d %b %Y') | strftime_now('%A, %H:%M:%S %j %%') | strftime_now('')
raise_exception('no ' ~ n) | raise_exception(s|upper) | raise_exception() | s() | x() | n() | d.q() | 'a'.upper(1) | 'a'.replace('a') | 'a'.split(',', 1, 2) | 'a'.split(x=1) | s|upper(1) | s|replace('a') | s|nope | s is nope
loop | loop.index | messages[0] | x[0] | x['a'] | x[:1] | none[0] | z[:1] | n[0] | 5[0] | d[:1] | x + 1 | x ~ 1 | 'a' + x | -x | x < 1 | x == y | x == none | x in list | not x | x and n | [x] | x()|default(1)
'%s'|format | "\x41\u00e9\U0001F600\101\n\t\\\'\"\a\q" | 'a\
b' | '\xe9' | 'tab	here' | "single 'quotes'" | 'double "quotes"' | 'é' | '\u12' | 'a' is string and 'b' is string | not n is string
1 + 2 * 3 | (1 + 2) * 3 | 1 - 2 - 3 | 2 * 3 % 4 | 1 + 2 ~ 3 | 'a' ~ 1 + 2 | -1|abs | -(1)|abs | (-1)|abs | n|string|length + 1 | not 1 == 2 | 1 + 1 in [2] | 1 in [1] == true | 'a' in 'ab' ~ 'c' | 1 if true else 2 + 3 | n is odd and f > 2 or e
[1, 2][0] | 'abc'[1] | {'a': [5]}['a'][0] | 'a'.upper().lower() | 'a b'.split()[1].upper() | (s|upper)[0] | s|upper|lower|title | [1, 2, 3]|map('string')|map('replace', '2', 'x')|join | (1 if t else 2)|string ~ 'x' | 'a'|upper ~ 'b' | list[n - 7] | d[('a')]
1 , 2 | 1, | (1), | a, b | n,
""".replace("\\\nb", "\x00")

BROKEN = ["1 +", "(1", "1)", "[1", "{1", "{'a'}", "{'a': }", "a b", "a..b", "a.", "a[", "a|", "a|1", "a is", "a is is b", "1 if", "not",
          "a if b else", "'abc", '"abc', "a @ b", "a ! b", "a = b", "$", "f(a=1, 2)", "f(*a, *b)", "f(**a, b)", "0123", "1__0", "a is not", "%", "a(,)", "\\x"]

STATEMENTS = [
    "{% for i in list %}{{ i }}{% endfor %}", "{% for i in list %}{{ loop.index }}/{{ loop.length }}:{{ i }};{% endfor %}",
    "{% for i in words %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for i in list %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}", "{% for i in list %}{{ loop.previtem is defined }}{% endfor %}",
    "{% for i in list %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}", "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in list if i > 1 %}{{ loop.index }}{{ i }}{% endfor %}", "{% for i in list if i > 9 %}x{% else %}none{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }};{% endfor %}", "{% for k in d %}{{ k }};{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}", "{% for i in x %}a{% else %}b{% endfor %}",
    "{% for i in n %}a{% endfor %}", "{% for i in none %}a{% endfor %}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }};{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for i in list %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in list %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in list %}{% break %}{% else %}e{% endfor %}", "{% for i in list %}{% continue %}{% else %}e{% endfor %}",
    "{% for i in list %}{% for j in list %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{{ loop.index }}{% endfor %}", "{% break %}", "{% if t %}{% continue %}{% endif %}",
    "{% for i in list %}{% set q = i %}{% endfor %}{{ q }}", "{% set q = 0 %}{% for i in list %}{{ q }}{% set q = i %}{{ q }} {% endfor %}{{ q }}", "{% set ns = namespace(q=0) %}{% for i in list %}{% set ns.q = ns.q + i %}{% endfor %}{{ ns.q }}",
    "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}", "{% set d.q = 1 %}", "{% set x.q = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1] %}", "{% set (a, b) = 'xy' %}{{ b }}{{ a }}",
    "{% set a %}x{{ n }}y{% endset %}[{{ a }}]", "{% set a | upper %}x{{ s }}{% endset %}{{ a }}", "{% set a | replace('x', 'z') | upper %}x{% endset %}{{ a }}", "{% set a %}{% set b = 1 %}{% endset %}{{ b }}", "{% set a = 1, 2 %}{{ a }}",
    "{% set a = 1 if e else 2 %}{{ a }}", "{% set true = 1 %}", "{% set none = 1 %}", "{% set 1 = 2 %}", "{% set a.b.c = 1 %}", "{% set a = %}", "{% set %}", "{% for loop in list %}{% endfor %}", "{% for i in list %}{% set loop = 1 %}{% endfor %}",
    "{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}", "{% if n > 9 %}a{% elif n > 3 %}b{% else %}c{% endif %}", "{% if n > 9 %}a{% elif n > 8 %}b{% else %}c{% endif %}", "{% if x %}a{% endif %}", "{% if not x %}a{% endif %}", "{% if t %}{% set q = 1 %}{% endif %}{{ q }}",
    "{% if e %}{% set q = 1 %}{% endif %}{{ q is defined }}", "{% if n %}", "{% endif %}", "{% else %}", "{% if n %}{% endfor %}", "{% nope %}", "{% %}", "{% if %}{% endif %}", "{{ }}", "{{", "{%", "{# ", "{% raw %} ", "{{ 1 }", "{% if n }}{% endif %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(b=5, a=4) }}|{{ m(1, c=9) }}", "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a.b }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, q=2) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, q=3) }}", "{% macro m(a) %}{{ varargs|length }}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m() %}{{ q }}{% endmacro %}{% set q = 5 %}{{ m() }}", "{% macro m() %}{{ i }}{% endmacro %}{% for i in list %}{{ m() }}{% endfor %}", "{% for i in list %}{% macro m() %}{{ i }}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro fact(k) %}{{ 1 if k < 2 else k * fact(k - 1)|int }}{% endmacro %}{{ fact(10) }}", "{% macro m() %}{% set q = 1 %}{% endmacro %}{{ m() }}{{ q }}", "{% macro m() %}a{% endmacro %}{{ m()|upper }}{{ m is callable }}", "{% macro m() %}  x  {% endmacro %}[{{ m() | trim }}]",
    "{% macro m(a, b=1, c) %}{% endmacro %}", "{% macro m %}{% endmacro %}", "{% macro m() %}", "{% macro m(x) %}<{{ caller() }}{{ x }}>{% endmacro %}{% call m(1) %}body{{ n }}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m() %}a{% endmacro %}{% call m() %}b{% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% call n %}{% endcall %}", "{% macro m(*a) %}{% endmacro %}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'a': 2}) }}",
    "{% macro f() %}{% for i in list %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}{% endmacro %}{{ f() }}", "{% for i in list %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}", "{% filter upper %}a{{ s }}b{% endfilter %}", "{% filter replace('a', 'b') | upper %}aXa{% endfilter %}",
    "{% filter nope %}a{% endfilter %}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% generation %}a{{ n }}{% set q = 1 %}{% endgeneration %}{{ q }}",
    "{% for i in list %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% for i in list %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% print n %}", "{% print n, s %}", "{% do list %}", "{% for i in nested recursive %}{{ loop.depth }}{% if i is sequence and i is not mapping %}({{ loop(i) }}){% else %}{{ i }}{% endif %},{% endfor %}",
    "{% for i in list %}{{ loop(i) }}{% endfor %}", "{% for p in people recursive %}{{ p.name }}{{ loop(p.tags) if p.tags }}{% else %}-{% endfor %}", "{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% for i in list %}{% for j in list %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}", "{% set it = list|map('string') %}{% for i in it %}{{ i }}{% endfor %}|{% for i in it %}{{ i }}{% endfor %}", "{% for i in list|map('string') %}{{ loop.length }}{{ loop.last }}{% endfor %}", "{% for m in people|selectattr('age', 'eq', 30) %}{{ m.name }}{% endfor %}",
    "{% if 'nope' is filter %}{{ s|nope }}{% else %}ok{% endif %}", "{% if t %}{{ s|nope }}{% endif %}", "{% for i in list: %}{{ i }}{% endfor %}", "{% if t: %}a{% endif %}", "{% set q = {'a': 1} %}{{ {**q} }}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{'}}'}}", "{{ '%}' }}", "{% set a = '%}' %}{{ a }}",
    "{% set a = [] %}{% for i in list %}{% set a = a + [i] %}{% endfor %}{{ a }}", "{% set ns = namespace(a=[]) %}{% for i in list %}{% set ns.a = ns.a + [i * 2] %}{% endfor %}{{ ns.a }}", "{% for k, g in people|groupby('age') %}{{ k }}:{{ g|length }};{% endfor %}", "{% for i in [3, 1]|sort %}{{ i }}{% endfor %}{% for i in 'ba'|sort %}{{ i }}{% endfor %}",
    "{{ raise_exception('stop') if n > 5 }}", "{% if n > 5 %}{{ raise_exception('a\nb') }}{% endif %}", "{% set a = raise_exception('x') %}", "{{ 1 }}{{ n.x.y }}", "{% for i in list %}{{ i.x.y }}{% endfor %}", "{% set a = 1 -%} {%- set b = 2 %}{{ a + b }}", "{% for (a, b) in [[1, 2]] %}{{ a }}{% endfor %}",
    "{% for i in 1, 2 %}{{ i }}{% endfor %}", "{% for i in (1, 2) if i > 1 %}{{ i }}{% endfor %}", "{% for i in list recursive %}{{ i }}{% endfor %}", "{% for i list %}{% endfor %}", "{% for i in %}{% endfor %}", "{% for in list %}{% endfor %}", "{% set a = namespace(b=namespace(c=1)) %}{% set a.b = 5 %}{{ a.b }}",
]

SPACES = [
    "a\n{% if t %}\nb\n{% endif %}\nc\n", "a\n  {% if t %}\n  b\n  {% endif %}\n c", "a {% if t %} b {% endif %} c", "a {%- if t -%} b {%- endif -%} c", "a\n {%- if t %}\n b\n {%- endif %}\n c", "  {%+ if t %}a{% endif %}", "a  {%+ if t +%}\n b{% endif +%}\nc", "{% if t +%}\na{% endif %}",
    "x {{- n -}} y", "x {{ n }}\ny", "x\n  {{ n }}\n", "{{ n }}\n\n", "{{ n }}\n", "a\n\n", "a\n", "a\r\nb\rc\n", "\n", "", "  {# c #}\n x", "a {# c #} b", "a {#- c -#} b", "a\n   {# c\n d #}\nb", "{# a #}{# b #}\nc", "{#- -#}", "{##}", "{#--#}", "a\n{#+ c +#}\nb", "{# {{ n }} {% if %} #}x",
    "{% raw %}{{ n }}{% if %}{% endraw %}", "a {%- raw -%} {{ n }} {%- endraw -%} b", "{% raw %}\n a\n {% endraw %}\nb", "x\n  {% raw %} a {% endraw %}", "{%raw%}{#{%endraw%}", "{% raw %}{% endraw", "{%- set a = 1 %}\n{{ a }}", "  {%- set a = 1 -%}  \n  {{ a }}", "{{- 'a' }} {{ 'b' -}} \n\n c", "{{ 'a\n' }}\nb",
    "\t{% if t %}\n\tx\n\t{% endif %}\ny", "a\u3000{%- if t %}b{% endif %}", "  {% set a = 1 %}  {% set b = 2 %}\nx", "a {% set b = 2 %}\nx", "{% for i in list %}\n  {{ i }}\n{% endfor %}\n", "{% for i in list -%}\n  {{ i }}\n{%- endfor %}", "{%- for i in list %}{{ i }}{{ '\n' if not loop.last }}{% endfor -%}\n\n", "{{ n -}}\n{{- n }}", "{{+ n }}", "{{+1}}", "{{-1}}", "a {{-1}}", "{{ -1 }}", "{%-if t-%}a{%-endif-%}", "{% if t%}a{%endif%}",
    "{{{'a': 1}}}", "{{ {'a': 1} }}", "{ { n } }", "{a}", "%}", "}}", "#}", "{%  %}", "a{{n}}b{{n}}c", "{{n}}{{n}}", "\u00e9{{ n }}\u4f60", "{% if t %}\n\n\na{% endif %}", "{% if t %}\r\na{% endif %}", " {%- if t %}\n{%- endif %} x", "\n\n{%- if t %}a{% endif %}", "x{% if t %}  \n  {% endif %}\n\n y",
]


def case_rows():
    expressions = [part.strip(" ").replace("\x00", "\\\nb") for part in EXPRESSIONS.replace("\n", " | ").split(" | ")]
    sources = ["{{ " + expression + " }}" for expression in expressions + BROKEN if expression]
    for source in sources + STATEMENTS + SPACES:
        yield {"template": source, **render(source, VARIABLES)}


def golden(files):
    return {"always": ALWAYS, "conversations": dict(conversations()), "templates": list(template_rows(files))}


def digest(text):
    """FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return f"{value:016x}"


def letter_case():
    """Digests of what becomes of every character."""
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    return {name: digest("".join(map(getattr(str, name), characters))) for name in ("upper", "lower", "capitalize")}


def write(path, tree):
    """A row a line."""
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text.replace('{"template"', '\n{"template"') + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("template", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    if args.write:
        tree = golden(sorted(DATA.glob("*.jinja")))
        tree.update(letter_case=letter_case(), variables=VARIABLES, cases=list(case_rows()))
        write(DATA / "golden.json", tree)
    else:
        json.dump(golden(args.template), sys.stdout)


if __name__ == "__main__":
    main()
