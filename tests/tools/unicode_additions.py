#!/usr/bin/env python3
"""Writes the rows of runtime/text/unicode_additions.cc to standard output.

For every general category: the code points that the regular expressions of Hugging Face's
`tokenizers` count to it and PCRE2 10.42, which knows Unicode 14, does not. The other way round is reported on
standard error.
"""

import ctypes
import sys

from tokenizers import Regex, pre_tokenizers

CATEGORIES = ("Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs").split()
UTF_UCP = 0x00080000 | 0x00020000
TEXT = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def in_tokenizers(category):
    split = pre_tokenizers.Split(Regex(r"\p{%s}" % category), "removed", invert=True)
    return {ord(c) for word, _ in split.pre_tokenize_str(TEXT) for c in word}


def in_pcre2(category):
    pcre2 = ctypes.CDLL("libpcre2-8.so.0")
    for name in ("pcre2_compile_8", "pcre2_match_data_create_8", "pcre2_get_ovector_pointer_8"):
        getattr(pcre2, name).restype = ctypes.c_void_p
    pointer = ctypes.c_void_p
    pattern = (r"\p{%s}+" % category).encode()
    error, where = ctypes.c_int(), ctypes.c_size_t()
    code = pcre2.pcre2_compile_8(pattern, ctypes.c_size_t(len(pattern)), ctypes.c_uint32(UTF_UCP),
                                 ctypes.byref(error), ctypes.byref(where), None)
    data = pcre2.pcre2_match_data_create_8(ctypes.c_uint32(1), None)
    span = ctypes.cast(pcre2.pcre2_get_ovector_pointer_8(pointer(data)), ctypes.POINTER(ctypes.c_size_t))
    subject, start, found = TEXT.encode(), 0, set()
    while pcre2.pcre2_match_8(pointer(code), subject, ctypes.c_size_t(len(subject)), ctypes.c_size_t(start),
                              ctypes.c_uint32(0x40000000), pointer(data), None) > 0:
        found.update(ord(c) for c in subject[span[0]:span[1]].decode())
        start = span[1]
    return found


def ranges(code_points):
    low = high = None
    for c in sorted(code_points):
        if low is not None and c == high + 1:
            high = c
            continue
        if low is not None:
            yield low, high
        low = high = c
    if low is not None:
        yield low, high


def main():
    for category in CATEGORIES:
        here, there = in_pcre2(category), in_tokenizers(category)
        lost = here - there
        if lost:
            print(f"{category}: only PCRE2 counts {[hex(c) for c in sorted(lost)]} to it", file=sys.stderr)
        for low, high in ranges(there - here):
            print('    {"%s", 0x%05X, 0x%05X},' % (category, low, high))


if __name__ == "__main__":
    main()
