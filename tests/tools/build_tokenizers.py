#!/usr/bin/env python3
"""Trains tokenizers of the styles that models have, each in its folder of OUT:

    llama3        byte-level BPE, Llama 3's cuts, ignore_merges
    gpt2          byte-level BPE, GPT-2's cuts
    qwen2         byte-level BPE, NFC, Qwen2's cuts
    llama2        SentencePiece BPE with byte_fallback, and the tokenizer.json that transformers makes of it
    llama2-legacy the same as a tokenizer.json of transformers 4: a normalizer puts the space in front

    build_tokenizers.py OUT [--vocab N]

They are trained on this project's own files and on compare_tokenizer.py's hard text, which also compares them:
    compare_tokenizer.py --test build/runtime_test --bytes 5000000 OUT/*

Needs tokenizers, sentencepiece, transformers and protobuf (pip install).
"""

import argparse
import io
import json
import pathlib
import subprocess

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import compare_tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
LLAMA3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
QWEN2_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def corpus(hard_bytes=400000):
    """Lines of this project's texts and sources, and hard text."""
    names = subprocess.run(["git", "ls-files", "*.md", "*.cc", "*.h", "*.py"], cwd=ROOT, check=True, capture_output=True,
                           text=True).stdout.split()
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines(keepends=True)]
    for seed in range(hard_bytes // 20000):
        lines += compare_tokenizer.document(compare_tokenizer.FRAGMENTS, 1000 + seed, 20000).splitlines(keepends=True)
    return lines


def byte_level(lines, vocab, cuts, special, normalizer=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = cuts
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3(lines, vocab):
    tokenizer = byte_level(lines, vocab, split(compare_tokenizer.LLAMA3), LLAMA3_SPECIAL, ignore_merges=True)
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    template = processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tokenizer


def gpt2(lines, vocab):
    return byte_level(lines, vocab, pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])


def qwen2(lines, vocab):
    return byte_level(lines, vocab, split(compare_tokenizer.QWEN2), QWEN2_SPECIAL, normalizers.NFC())


def train_sentencepiece(lines, vocab, **options):
    """A tokenizer.model, made with the options of Llama 2's."""
    model = io.BytesIO()
    sentences = (line.rstrip("\n")[:4000].replace("\0", "") for line in lines)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(s for s in sentences if s), model_writer=model, vocab_size=vocab,
        **{"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "split_digits": True,
           "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "character_coverage": 0.9995,
           "num_threads": 1, "minloglevel": 2, **options})
    return model.getvalue()


def convert_llama2(folder):
    """The tokenizer.json that transformers makes of a folder's tokenizer.model."""
    from transformers import LlamaTokenizer
    LlamaTokenizer.from_pretrained(folder).save_pretrained(folder)
    tree = json.loads((folder / "tokenizer.json").read_text())
    tree["truncation"] = tree["padding"] = None
    return tree


def write(folder, tree):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tree, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--vocab", type=int, default=16000)
    args = parser.parse_args()
    lines = corpus()
    for make in (llama3, gpt2, qwen2):
        write(args.out / make.__name__, json.loads(make(lines, args.vocab).to_str()))
    folder = args.out / "llama2"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(train_sentencepiece(lines, args.vocab))
    tree = convert_llama2(folder)
    write(folder, tree)
    write(args.out / "llama2-legacy", compare_tokenizer.apply_patch(tree, compare_tokenizer.legacy(tree)))


if __name__ == "__main__":
    main()
