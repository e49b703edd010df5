#!/usr/bin/env python3
"""Writes the tables of runtime/text/jinja/letter_case.cc to standard output, from this Python's Unicode data.

A row (first, last, stride, change) stands for characters that become others by the same difference.
"""

import sys
import unicodedata

CHARACTERS = [chr(c) for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]


def rows(mapping):
    single = [(ord(c), ord(mapping(c)) - ord(c)) for c in CHARACTERS if len(mapping(c)) == 1]
    changed = [(c, change) for c, change in single if change != 0]
    at = 0
    while at < len(changed):
        first, change = changed[at]

        def run(stride):
            end = at + 1
            while end < len(changed) and changed[end] == (first + (end - at) * stride, change):
                end += 1
            return end, stride

        end, stride = max(run(1), run(2))
        yield first, changed[end - 1][0], stride, change
        at = end


def write(name, lines, per_line):
    print(name + "[] = {")
    for i in range(0, len(lines), per_line):
        print("    " + ", ".join(lines[i:i + per_line]) + ",")
    print("};")


def literal(text):
    return '"' + "".join(f"\\x{byte:02X}" for byte in text.encode()) + '"'


def main():
    print(f"Unicode {unicodedata.unidata_version}", file=sys.stderr)
    for name, mapping in (("kUpper", str.upper), ("kLower", str.lower)):
        write("constexpr Row " + name, ["{0x%X, 0x%X, %d, %d}" % row for row in rows(mapping)], 4)
    for name, mapping in (("kFullUpper", str.upper), ("kFullLower", str.lower), ("kTitle", str.title)):
        full = [c for c in CHARACTERS if len(mapping(c)) > 1] if mapping is not str.title else [
            c for c in CHARACTERS if c.title() != c.upper()]
        write("constexpr Full " + name, ["{0x%X, %s}" % (ord(c), literal(mapping(c))) for c in full], 3)


if __name__ == "__main__":
    main()
