#!/usr/bin/env python3
"""Compares Ternion's tokenizers with Hugging Face's `tokenizers` and with `sentencepiece` on hard text.

    compare_tokenizer.py --write
        writes tests/data/tokenizer/golden.json (and small.json, llama2.json and llama2.model, the tokenizers of its
        variants): texts with the ids that `tokenizers` and `sentencepiece` give, and digests of the ids of longer texts,
        which the C++ test makes again by itself
    compare_tokenizer.py --test build/runtime_test [--seed N] [--bytes N] [FILE or FOLDER ...]
        the same for another seed, more text or other tokenizers (a tokenizer.json, a tokenizer.model, or a folder that
        holds some), in a temporary file, with which the test is run; prints what both encode in a second of the CPU

Needs tokenizers and sentencepiece, --write also transformers and protobuf (pip install).
"""

import argparse
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import sentencepiece
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
    "<s>", "</s>", "<unk>", " <s> ", "<s>[INST] ", " [/INST] ", "<<SYS>>\n", "\n<</SYS>>\n\n", "<0x0A>", "<0xE2>", "\u2581", "\u2581\u2581the",
    " \u2581 ", "\u2581<s>", "<|im_start|>", "<|im_end|>\n", "user\n", "\u0344", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u1e9b\u0323",
    "q\u0307\u0323", "\u212b", "\ufb01\u2126", "\u0958", "\u09c7\u09be", "\u1b06\u1b35", "\U0001d15e", "\uf900\ufa30", "\U0002f800",
    "\u0f73\u0f75", "a\u0323\u0307\u0323", "\uff21\uff76\uff9e", "\u3392\u2460", "\U00011935\U00011930", "\u1df6\u0323", "\U0001f1e6\u0301",
    "                ", "\t\t\t\t", "\n\n\n\n\n\n", "2024-02-29T23:59:59.999Z", "31415926535897932384626433832795", "0x7FFFFFFF", "!!!!????",
    "\U0001f9d1\U0001f3ff\u200d\U0001f4bb", "\U0001faf1\U0001f3fb\u200d\U0001faf2\U0001f3ff", "\u200d\u200d", "\ufe0f\ufe0e", "\ud7fb\ue000",
]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
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
    def behavior(name, **pattern):
        return {"type": "Split", "pattern": pattern, "behavior": name, "invert": False}

    yield "qwen2", [replace("/normalizer", {"type": "NFC"}), replace(pre, sequence(split(QWEN2), byte_level()))]
    for form in ("NFD", "NFKC", "NFKD"):
        yield form.lower(), [replace("/normalizer", {"type": form}), replace("/added_tokens", both)]
    yield "replace", [replace("/added_tokens", both), replace("/normalizer", {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"Regex": "[aeiou]{2}"}, "content": "\u00e9"},
        {"type": "Replace", "pattern": {"String": " ="}, "content": ""}, {"type": "Prepend", "prepend": "word"}]})]
    for name in ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield "split-" + name, [replace(pre, sequence(behavior(name, Regex="[ \n]|(?i:e)"), split("a|\\p{N}", name, True),
                                                      byte_level()))]
        yield "punctuation-" + name, [replace(pre, sequence({"type": "Punctuation", "behavior": name}, byte_level()))]
    yield "split-string", [replace(pre, sequence(behavior("MergedWithNext", String="  "), behavior("Isolated", String="."),
                                                 byte_level()))]
    yield "whitespace", [replace(pre, sequence({"type": "Whitespace"}, byte_level()))]
    yield "whitespace-split", [replace(pre, sequence({"type": "WhitespaceSplit"}, byte_level(True)))]
    yield "unknown", [replace("/model/unk_token", "<|endoftext|>")] + [
        {"op": "remove", "path": "/model/vocab/" + c.replace("~", "~0")} for c in lost]
    yield "added-tokens-prefix-space", [replace("/added_tokens", both), replace(pre, byte_level(True, True)),
                                        replace("/post_processor", {"type": "Sequence", "processors": [
                                            byte_level(), template]})]


def metaspace(scheme, split_words):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split_words}


def legacy(tree):
    """Patch of a SentencePiece tokenizer.json: as transformers 4 wrote it for Llama 2."""
    steps = [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]
    return [replace("/normalizer", {"type": "Sequence", "normalizers": steps}), replace("/pre_tokenizer", None)]


def llama2_variants(llama2):
    """(name, JSON patch of llama2.json)"""
    tokens = added(llama2["model"]["vocab"], [("<unk>", ["special"]), ("<s>", ["special"]), ("</s>", ["special", "rstrip"]),
                                              ("<mask>", ["lstrip", "special"]), ("word", ["single_word", "normalized"]),
                                              ("the", ["normalized"]), (" = ", ["normalized", "rstrip"]), ("\n\n", [])])
    fused = [replace("/model/byte_fallback", False), replace("/model/unk_token", "<unk>")]
    yield "llama2", []
    yield "llama2-legacy", legacy(llama2)
    yield "llama2-legacy-added", legacy(llama2) + [replace("/added_tokens", tokens)]
    yield "llama2-added", [replace("/added_tokens", tokens)]
    for scheme in ("always", "first", "never"):
        yield "metaspace-" + scheme, [replace("/pre_tokenizer", sequence(
            {"type": "Digits", "individual_digits": True}, metaspace(scheme, True)))]
    yield "metaspace-words", [replace("/pre_tokenizer", sequence({"type": "WhitespaceSplit"}, metaspace("always", False)))]
    yield "unknown-fused", fused
    yield "unknown-each", fused + [replace("/model/fuse_unk", False)]
    yield "no-unknown", [replace("/model/byte_fallback", False)]
    yield "some-bytes", [replace("/model/unk_token", "<unk>"), {"op": "remove", "path": "/model/vocab/<0xE2>"}]
    yield "llama2-whole-words", [replace("/model/ignore_merges", True), replace("/pre_tokenizer", metaspace("always", True))]


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


def make_llama2():
    """A SentencePiece model of about 900 pieces, and the tokenizer.json that transformers makes of it."""
    import build_tokenizers
    random = Random(1)
    lines = ["".join(FRAGMENTS[random.next() % 150] for _ in range(20)) for _ in range(2000)]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = build_tokenizers.train_sentencepiece(lines, 900)
        (folder / "tokenizer.model").write_bytes(model)
        return model, build_tokenizers.convert_llama2(folder)


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


def expect(name, encode, seed, documents, case_texts, accept=lambda text: True):
    """What `encode` makes of the texts that `accept` takes."""
    cases = [{"text": text, "ids": encode(text, True)} for text in case_texts if accept(text)]
    rows, seconds, size = [], 0.0, 0
    for i in range(documents):
        text = document(FRAGMENTS, seed + i, DOCUMENT_BYTES)
        if not accept(text):
            continue
        start = time.process_time()
        ids = encode(text, False)
        seconds += time.process_time() - start
        size += len(text.encode())
        rows.append({"seed": seed + i, "text": digest(text.encode()), "ids": digest(ids)})
    if seconds > 0 and documents > 100:
        print(f"{name}: {size / 1e6:.1f} MB at {size / seconds / 1e6:.2f} MB a CPU second with the package", file=sys.stderr)
    return {"name": name, "cases": cases, "documents": rows}


def of_tree(tree):
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    return lambda text, special: tokenizer.encode(text, add_special_tokens=special).ids


def json_row(file, seed, documents):
    return {"base": relative(file), "patch": [],
            **expect(name_of(file), of_tree(json.loads(file.read_text())), seed, documents, texts(seed))}


def model_rows(file, tree, seed, documents):
    """A tokenizer.model: its plain text as `sentencepiece` has it, and added tokens as `tokenizers` does, to which `tree` is the
    same. There a space in front is not put before one that stands there, when it is put only there."""
    library = sentencepiece.SentencePieceProcessor(model_proto=file.read_bytes())
    whole, first = of_tree(apply_patch(tree, legacy(tree))), of_tree(tree)
    base = {"base": relative(file), "patch": []}
    case_texts = texts(seed)
    yield {**base, "plain": True,
           **expect(name_of(file) + "-plain", lambda text, special: library.encode(text), seed, documents, case_texts[-60:])}
    yield {**base,
           **expect(name_of(file) + "-legacy", lambda text, special: [1] * special + whole(text, special), seed, max(1, documents // 4), case_texts[-12:])}
    yield {**base, "config": {"legacy": False, "add_eos_token": True},
           **expect(name_of(file) + "-not-legacy",
                    lambda text, special: [1] * special + first(text, special) + [2] * special, seed, max(2, documents // 4),
                    case_texts[-12:], lambda text: not text.startswith((" ", "\u2581")))}


def relative(file):
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def name_of(file):
    return file.parent.name + "/" + file.name


def files_in(name):
    path = pathlib.Path(name).resolve()
    return [f for f in (path / "tokenizer.json", path / "tokenizer.model") if f.exists()] if path.is_dir() else [path]


def golden(args):
    demo = ROOT / "configs/demo/tokenizer.json"
    documents = max(1, args.bytes // DOCUMENT_BYTES)
    rows = [json_row(demo, args.seed, documents)]
    for file in [file for name in args.tokenizer for file in files_in(name)]:
        if file.suffix == ".json":
            rows.append(json_row(file, args.seed, documents))
        else:
            rows += model_rows(file, json.loads((file.parent / "tokenizer.json").read_text()), args.seed, documents)
    few = max(1, documents // 30)
    for name, make_variants in (("small.json", variants), ("llama2.json", llama2_variants)):
        tree = json.loads((DATA / name).read_text())
        for variant, patch in make_variants(tree):
            wanted = expect(variant, of_tree(apply_patch(tree, patch)), args.seed, few, texts(args.seed)[-3:])
            rows.append({"base": "tests/data/tokenizer/" + name, "patch": patch, **wanted})
    rows += model_rows(DATA / "llama2.model", json.loads((DATA / "llama2.json").read_text()), args.seed, few)
    return {"fragments": FRAGMENTS, "document_bytes": DOCUMENT_BYTES, "tokenizers": rows,
            "chats": chats(Tokenizer.from_file(str(demo))), "broken_utf8": broken_utf8()}


def write_rows(path, tree):
    """One tokenizer, case and document a line."""
    text = json.dumps(tree, separators=(",", ":"))
    for start in ('{"base"', '{"text"', '{"seed"', '{"messages"', '{"bytes"'):
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
        model, tree = make_llama2()
        (DATA / "llama2.model").write_bytes(model)
        (DATA / "llama2.json").write_text(json.dumps(tree, ensure_ascii=False, separators=(",", ":")) + "\n")
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
