#!/usr/bin/env python3
"""Compares Ternion's tokenizer with Hugging Face's `tokenizers` (pip install tokenizers) on hard text.

    compare_tokenizer.py --write
        writes tests/data/tokenizer/golden.json (and small.json, the tokenizer of its variants): texts with the ids
        that `tokenizers` gives, and digests of the ids of longer texts, which the C++ test makes again by itself
    compare_tokenizer.py --test build/runtime_test [--seed N] [--bytes N] [TOKENIZER.json ...]
        the same for another seed, more text or other tokenizers, in a temporary file, with which the test is run
"""

import argparse
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data/tokenizer"
MASK = (1 << 64) - 1
DOCUMENT_BYTES = 20000

FRAGMENTS = [
    " ", "  ", "\n", "\n\n", "\r\n", "\r", "\t", " \t ", "\n    ", " \n", "\v", "\f", "\x00", "\x01\x02\x1b[0m",
    "\x7f", "\x80\x9f", "\x85", "\u00a0", "\u1680", "\u180e", "\u2003", "\u2028", "\u2029", "\u202f", "\u205f",
    "\u3000", "\ufeff", "\u200b", "\u00ad", "the", " the", "The quick brown fox", " jumps over", " lazy dogs.",
    "hello", "HELLO", "camelCaseWord", "snake_case_word", "don't", "DON'T", "I'm", "we'Ll", "'s", "'S", "'\u017f", "'re",
    "'VE", "it's'll", "'", "''", "\"quoted\"", "(x)", "[i]", "{", "}", ";", " = ", "==", "!=", "->", "::", "//",
    "...", "?!", "--", "___", "#include <vector>\n", "int main(int argc, char** argv) {\n",
    "  for (size_t i = 0; i < n; ++i) sum += values[i] * 0x1F;\n", "    return std::move(result);\n}\n",
    "template <typename T>\n", "def f(x):\n\treturn x\n", "$HOME/bin:/usr/bin", "https://example.org/a?b=c&d=%20#e",
    "user@example.org", "C:\\path\\file.txt", "0", "7", "12", "123", "1234", "3.14159", "1,000,000", "-1e-5", "0b1010",
    "\uff11\uff12\uff13\uff14", "\u0663\u0664\u0665\u0666", "\u00bd\u2167\u00b2", "\u0967\u0968", "\U0001d7d8\U0001d7d9",
    "caf\u00e9", "cafe\u0301", "na\u00efve", "\u00fcber", "Stra\u00dfe", "\ufb06", "\u0149", "\u212a", "\u01c5", "\u02b0",
    "a\u0301\u0302\u0303\u0304\u0305", "\u0301", "Z\u0351\u036b\u0343\u036a\u0302\u036b", "\u0915\u094d\u0937\u093f",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u4f60\u597d", "\u4f60\u597d\uff0c\u4e16\u754c\u3002",
    "\u7e41\u9ad4\u4e2d\u6587\u8207\u7b80\u4f53\u4e2d\u6587", "\u3053\u3093\u306b\u3061\u306f", "\u30ab\u30bf\u30ab\u30ca\u30fc",
    "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab", "\U00020000\U0002a6d6", "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd",
    "\u202b\u05d0\u05d1\u202c", "\u200f\u0627\u200e", "\u0627\u0644\u0633\u0644\u0627\u0645\u064f", "\u041f\u0440\u0438\u0432\u0435\u0442",
    "\u0393\u03b5\u03b9\u03ac", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\u2764\ufe0f", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "\u20ac\u00a3\u00a5",
    "\u2211\u222b\u221a", "\u2014\u2013\u2026", "\u300a\u300b", "\ue000\uf8ff", "\U000f0000\U0010fffd", "\ufffe\uffff", "\ufffd",
    "\U00031350\U000323af", "a\U00011f04b", "\U00010d4a\U00010d40", "\u1c8a", "x\ua7cby", "\U0001171e", "\U0001ccd6",
    "<|begin_of_text|>", "<|eot_id|>", "<|eot_id", "<|eot_id|", "|eot_id|>", "<|<|eot_id|>|>", " <|end_of_text|> ",
    "<|start_header_id|>user<|end_header_id|>\n\n", "<|reserved_special_token_1|>", "<|reserved_special_token_11",
    "<|endoftext|>", "<mask>", " <mask>", "  <mask>  ", "<r>", "<r> \n ", "<both>", "  <both>\t", "word", "sword", " word ",
    "word\u0301", "_word", "word-word", "\u00a0<mask>", "<|a|>", "<|a|><|b|>", "<|b|>", "\u00e9\u00e9\u00e9", "\u0120the",
]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")


class Random:
    """xorshift64; the C++ test has the same one."""

    def __init__(self, seed):
        self.state = (seed * 0x9E3779B97F4A7C15 + 1) & MASK

    def next(self):
        x = self.state
        x ^= (x << 13) & MASK
        x ^= x >> 7
        x ^= (x << 17) & MASK
        self.state = x
        return x


def any_character(bits):
    point = bits % 0x10F800
    return chr(point if point < 0xD800 else point + 0x800)


def document(fragments, seed, size, repeat=200):
    random, text, length = Random(seed), [], 0
    while length < size:
        r = random.next()
        piece = fragments[r % len(fragments)]
        if (r >> 16) % 8 == 0:
            piece = any_character(r >> 24)
        if (r >> 48) % 64 == 0:
            piece *= 1 + (r >> 54) % repeat
        text.append(piece)
        length += len(piece.encode())
    return "".join(text)


def digest(numbers):
    """FNV-1a, a number at a time."""
    value = 0xCBF29CE484222325
    for number in numbers:
        value = (value ^ number) * 0x100000001B3 & MASK
    return f"{value:016x}"


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def sequence(*stages):
    return {"type": "Sequence", "pretokenizers": list(stages)}


def replace(path, value):
    return {"op": "replace", "path": path, "value": value}


def added(vocab, rows):
    """What the vocabulary lacks gets the ids after it."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    new = [content for content, _ in rows if content not in vocab]
    ids = {**vocab, **{content: len(vocab) + i for i, content in enumerate(new)}}
    return [{"id": ids[content], "content": content, **{f: f in on for f in flags}} for content, on in rows]


def variants(small):
    """(name, JSON patch of small.json)"""
    size = len(small["model"]["vocab"])
    merged = {part for merge in small["model"]["merges"] for part in merge.split(" ")}
    lost = [c for c in "qQ~\u010a" + "\u010d" if c in small["model"]["vocab"] and c not in merged]
    tokens = [("<|endoftext|>", ["special"]), ("<mask>", ["lstrip", "special"]), ("<r>", ["rstrip", "special"]),
              ("<both>", ["lstrip", "rstrip"]), ("word", ["single_word", "normalized"]), ("<|a|>", ["special"]),
              ("<|a|><|b|>", ["special"]), ("\u00e9\u00e9", ["normalized"]), ("HELLO", ["normalized", "lstrip"]),
              (" = ", ["rstrip"]), ("\n\n", [])]
    both = added(small["model"]["vocab"], tokens)
    end = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [end, {"Sequence": {"id": "A", "type_id": 0}}, end], "pair": [
        {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [size - 1], "tokens": ["<|endoftext|>"]}}}
    pre = "/pre_tokenizer"
    yield "gpt2", []
    yield "gpt2-prefix-space", [replace(pre, byte_level(True, True))]
    yield "llama3-prefix-space", [replace(pre, sequence(split(LLAMA3), byte_level(True)))]
    yield "ignore-merges", [replace("/model/ignore_merges", True)]
    yield "removed-inverted", [replace(pre, sequence(split(LLAMA3, "Removed", True), byte_level()))]
    yield "removed", [replace(pre, sequence(split(r"\s+", "Removed"), byte_level(False, True)))]
    yield "o200k", [replace(pre, sequence(split(O200K), byte_level()))]
    yield "deepseek", [replace(pre, sequence(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                                             split(DEEPSEEK), byte_level()))]
    yield "falcon", [replace(pre, sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(False, True),
                                           {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]")))]
    yield "digits", [replace(pre, sequence({"type": "Digits", "individual_digits": True},
                                           {"type": "Punctuation", "behavior": "Isolated"}, byte_level(True, True)))]
    yield "one-word", [replace(pre, byte_level())]
    yield "lost-bytes", [{"op": "remove", "path": "/model/vocab/" + c.replace("~", "~0")} for c in lost]
    yield "added-tokens", [replace("/added_tokens", both), replace("/post_processor", template)]
    yield "added-tokens-prefix-space", [replace("/added_tokens", both), replace(pre, byte_level(True, True)),
                                        replace("/post_processor", {"type": "Sequence", "processors": [
                                            byte_level(), template]})]


def apply_patch(tree, patch):
    tree = copy.deepcopy(tree)
    for step in patch:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        place = tree
        for part in way:
            place = place[part]
        if step["op"] == "remove":
            del place[last]
        else:
            place[last] = step["value"]
    return tree


def make_small():
    """A GPT-2-like tokenizer of about 700 tokens, with merges in the older form "a b"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    tokenizer.train_from_iterator([document(FRAGMENTS[:150], 1, 200000)], trainer)
    tree = json.loads(tokenizer.to_str())
    tree["model"]["merges"] = [" ".join(merge) for merge in tree["model"]["merges"]]
    size = len(tree["model"]["vocab"])
    tree["model"]["vocab"]["<|endoftext|>"] = size
    tree["added_tokens"] = added(tree["model"]["vocab"], [("<|endoftext|>", ["special"])])
    tree["decoder"] = byte_level(True, True)
    tree["post_processor"] = byte_level(True, True)
    return tree


def texts(seed):
    """Short texts, each of which is checked id by id."""
    short = ["", " ", "a"] + [f for f in FRAGMENTS if len(f) > 1]
    return short + [document(FRAGMENTS, seed + i, 300, 8) for i in range(4)]


def chats(tokenizer):
    """Conversations and the ids of Llama-3's layout, which is text for `tokenizers`: no content here holds a token."""
    turns = [[("user", "Hello")], [("system", "Be brief.\n"), ("user", "  \u4f60\u597d\u3000"), ("assistant", "\n\nHi!"), ("user", "")],
             [("user", "\u00e9\u00e8\x85"), ("assistant", "int x = 1;\n\tx++;")]]
    rows = []
    for messages in turns:
        for prompt in (True, False):
            text = "<|begin_of_text|>" + "".join(
                f"<|start_header_id|>{role}<|end_header_id|>\n\n{content.strip()}<|eot_id|>" for role, content in messages)
            text += "<|start_header_id|>assistant<|end_header_id|>\n\n" * prompt
            rows.append({"messages": messages, "add_generation_prompt": prompt,
                         "ids": tokenizer.encode(text, add_special_tokens=False).ids})
    return rows


def broken_utf8():
    """Bytes, in hex, and the text that Python makes of them: U+FFFD for each maximal subpart."""
    random, rows = Random(5), []
    alphabet = bytes.fromhex("00417a7f8090a0bfc0c1c2dfe0e1edeef0f1f3f4f5f8feff") + "\u00e9\u4f60\U0001f600".encode()
    for length in list(range(1, 9)) * 8:
        data = bytes(alphabet[random.next() % len(alphabet)] for _ in range(length))
        rows.append({"bytes": data.hex(), "shown": data.decode("utf-8", errors="replace")})
    return rows


def expect(tree, seed, documents, case_texts):
    tokenizer = Tokenizer.from_str(json.dumps(tree))

    def encode(text, special):
        return tokenizer.encode(text, add_special_tokens=special).ids

    cases = [{"text": text, "ids": encode(text, True)} for text in case_texts]
    rows = []
    for i in range(documents):
        text = document(FRAGMENTS, seed + i, DOCUMENT_BYTES)
        rows.append({"seed": seed + i, "text": digest(text.encode()), "ids": digest(encode(text, False))})
    return {"cases": cases, "documents": rows}


def golden(args):
    demo = ROOT / "configs/demo/tokenizer.json"
    small = json.loads((DATA / "small.json").read_text())
    documents = max(1, args.bytes // DOCUMENT_BYTES)
    rows = []
    for file in [demo] + [pathlib.Path(f).resolve() for f in args.tokenizer]:
        tree = json.loads(file.read_text())
        base = str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
        rows.append({"name": file.parent.name, "base": base, "patch": [], **expect(tree, args.seed, documents, texts(args.seed))})
    for name, patch in variants(small):
        wanted = expect(apply_patch(small, patch), args.seed, max(1, documents // 8), texts(args.seed)[-4:])
        rows.append({"name": name, "base": "tests/data/tokenizer/small.json", "patch": patch, **wanted})
    return {"fragments": FRAGMENTS, "document_bytes": DOCUMENT_BYTES, "tokenizers": rows,
            "chats": chats(Tokenizer.from_file(str(demo))), "broken_utf8": broken_utf8()}


def write_rows(path, tree):
    """One tokenizer, case and document a line."""
    text = json.dumps(tree, separators=(",", ":"))
    for start in ('{"name"', '{"text"', '{"seed"', '{"messages"', '{"bytes"'):
        text = text.replace(start, "\n" + start)
    path.write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--test", metavar="PROGRAM")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=1200000)
    parser.add_argument("tokenizer", nargs="*")
    args = parser.parse_args()
    if args.write:
        DATA.mkdir(parents=True, exist_ok=True)
        (DATA / "small.json").write_text(json.dumps(make_small(), separators=(",", ":")) + "\n")
        write_rows(DATA / "golden.json", golden(args))
        return 0
    if not args.test:
        parser.error("--write or --test is needed")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "golden.json"
        write_rows(file, golden(args))
        command = [args.test, "--gtest_filter=TokenizerGolden.*"]
        return subprocess.run(command, env={**os.environ, "TERNION_TOKENIZER_GOLDEN": str(file)}).returncode


if __name__ == "__main__":
    sys.exit(main())
