#!/usr/bin/env python3
"""Writes tests/data/gguf: small GGUF files and what an independent reading of them gives.

    make_gguf_goldens.py         (pip install gguf safetensors tokenizers)

  types.gguf         a tensor of every type that is read
  bitnet.gguf        a model of architecture bitnet-b1.58: I2_S, F16 embedding, tokenizer
  llama.gguf         one of architecture llama: TQ1_0, Q6_K embedding, Q8_0 head
  golden.safetensors the values of types.gguf by the package's dequantizers (I2_S: by docs/numerics.md), and logits of both
                     models by the plain forward pass below, from the weights as they were before they were packed
  golden.json        ids that `tokenizers` gives for bitnet.gguf's tokenizer, whole and with other ways to cut words
"""

import json
import pathlib

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as Type
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from convert_to_gguf import I2_S, Writer, add_config, add_tokenizer, gguf_name, interleave

OUT = pathlib.Path(__file__).resolve().parents[1] / "data/gguf"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
SAMPLE = """The std::vector class template is a sequence container that encapsulates dynamic size arrays.
    for (int i = 0; i < 1024; ++i) sum += values[i] * 3.25;  // isn't it? we'll see; they've 10,000 of them
The elements are stored contiguously, which means that elements can be accessed through iterators too.
"""
TEXTS = [
    "", "a", " ", "the vector", "  two  spaces\n\n\tand a tab ", "We'LL see, they've 1234567 of 3.25!", "x+=y<=z|`w`^~$5",
    "<|eot_id|>the <tool>vector<|begin_of_text|>", "[PAD127] 12 345 6789 \r\n end", "naïve ünïcödé 漢字 №½", SAMPLE,
]
# As Hugging Face's tokenizers of these models cut words.
byte_level = lambda regex: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
split = lambda regex: pre_tokenizers.Split(Regex(regex), "isolated")
CUTS = {
    "llama-bpe": [split(LLAMA3), byte_level(False)],
    "gpt-2": [byte_level(True)],
    "qwen2": [split(LLAMA3.replace("{1,3}", "")), byte_level(False)],
    "starcoder": [pre_tokenizers.Digits(individual_digits=True), byte_level(True)],
    "falcon": [pre_tokenizers.Punctuation("contiguous"), byte_level(True), split("[0-9][0-9][0-9]")],
}


def bfloat16(x):
    """Rounded to bfloat16, to nearest, ties to even."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return (((bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32)).view(np.float32)


def quantize(x):
    absmax = np.maximum(np.abs(x).max(-1, keepdims=True), np.float32(1e-5))
    return np.clip(np.rint(x * (np.float32(127) / absmax)), -128, 127), absmax / np.float32(127)


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(eps)) * weight


def rotate(x, theta):
    """RoPE on the halves of a head. x [tokens, heads, head_dim]."""
    half = x.shape[-1] // 2
    frequency = theta ** (-np.arange(half, dtype=np.float32) / np.float32(half))
    angle = (np.arange(len(x), dtype=np.float32)[:, None] * frequency)[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


class Model:
    """Random weights by Hugging Face's names: trits with a scale, float vectors and tables."""

    def __init__(self, config, seed):
        self.config, self.random = config, np.random.default_rng(seed)
        self.trits, self.scales, self.floats = {}, {}, {}
        hidden, ffn = config["hidden_size"], config["intermediate_size"]
        kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
        shapes = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
                  "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (ffn, hidden), "mlp.up_proj": (ffn, hidden),
                  "mlp.down_proj": (hidden, ffn)}
        norms = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
        if config["model_type"] == "bitnet":
            norms |= {"self_attn.attn_sub_norm": hidden, "mlp.ffn_sub_norm": ffn}
        for layer in range(config["num_hidden_layers"]):
            for name, shape in shapes.items():
                self.trits[f"model.layers.{layer}.{name}"] = self.random.integers(-1, 2, shape)
                # A value that fp16 has, in the range of real models.
                self.scales[f"model.layers.{layer}.{name}"] = np.float32(np.float16(self.random.uniform(0.03, 0.1)))
            for name, n in norms.items():
                self.floats[f"model.layers.{layer}.{name}"] = self.norm(n)
        self.floats["model.norm"] = self.norm(hidden)

    def norm(self, n):
        return self.random.uniform(0.5, 1.5, n).astype(np.float32)

    def linear(self, name, codes, scale):
        exact = codes.astype(np.int32) @ self.trits[name].T.astype(np.int32)
        return exact.astype(np.float32) * (scale * self.scales[name])

    def layer(self, i, x):
        c, p = self.config, f"model.layers.{i}."
        heads, kv_heads, eps, tokens = c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"], len(x)
        dim = c["hidden_size"] // heads
        sub_norm = lambda name, y: rms_norm(y, self.floats[p + name], eps) if p + name in self.floats else y

        codes = quantize(rms_norm(x, self.floats[p + "input_layernorm"], eps))
        q = rotate(self.linear(p + "self_attn.q_proj", *codes).reshape(tokens, heads, dim), c["rope_theta"])
        k = rotate(self.linear(p + "self_attn.k_proj", *codes).reshape(tokens, kv_heads, dim), c["rope_theta"])
        v = self.linear(p + "self_attn.v_proj", *codes).reshape(tokens, kv_heads, dim)
        k, v = (np.repeat(a, heads // kv_heads, axis=1) for a in (k, v))
        score = np.einsum("thd,shd->hts", q, k) / np.float32(np.sqrt(dim))
        score = np.where(np.tril(np.ones((tokens, tokens), bool)), score, -np.inf)
        weight = np.exp(score - score.max(-1, keepdims=True))
        weight /= weight.sum(-1, keepdims=True)
        a = sub_norm("self_attn.attn_sub_norm", np.einsum("hts,shd->thd", weight, v).reshape(tokens, -1))
        x = x + self.linear(p + "self_attn.o_proj", *quantize(a))

        codes = quantize(rms_norm(x, self.floats[p + "post_attention_layernorm"], eps))
        gate, up = self.linear(p + "mlp.gate_proj", *codes), self.linear(p + "mlp.up_proj", *codes)
        act = np.maximum(gate, 0) ** 2 if c["hidden_act"] == "relu2" else gate / (1 + np.exp(-gate))
        return x + self.linear(p + "mlp.down_proj", *quantize(sub_norm("mlp.ffn_sub_norm", act * up)))

    def logits(self, ids, embedding, head):
        x = embedding[ids]
        for i in range(self.config["num_hidden_layers"]):
            x = self.layer(i, x)
        return rms_norm(x, self.floats["model.norm"], self.config["rms_norm_eps"]) @ head.T

    def add_to(self, writer, kind, interleaved):
        for name, trits in self.trits.items():
            if interleaved and name.endswith(("q_proj", "k_proj")):
                which = "num_attention_heads" if name.endswith("q_proj") else "num_key_value_heads"
                trits = interleave(trits, self.config[which])
            writer.add_trits(gguf_name(name), trits, self.scales[name], kind)
        for name, values in self.floats.items():
            writer.add_floats(gguf_name(name), values, Type.F32)


def random_q6_k(random, shape):
    """Blocks of random bits, which the package can read but not make."""
    rows, columns = shape
    blocks = random.integers(0, 256, (rows, columns // 256, 210), dtype=np.uint8)
    blocks[..., 208:] = np.frombuffer(np.float16(1 / 2048).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def add_and_read(writer, name, data, kind):
    """Adds packed rows; gives what the package reads from them."""
    writer.add(name, gguf.quants.quant_shape_from_byte_shape(data.shape, kind) if data.dtype == np.uint8 else data.shape,
               data, kind)
    return gguf.quants.dequantize(data, kind).astype(np.float32)


def write_types(random):
    writer = Writer(OUT / "types.gguf", "none")
    values = random.normal(0, 2, (2, 256)).astype(np.float32)
    golden = {}
    for kind in (Type.F32, Type.F16, Type.BF16, Type.Q8_0):
        golden[f"type.{kind.name}"] = add_and_read(writer, kind.name, gguf.quants.quantize(values, kind), kind)
    golden["type.Q6_K"] = add_and_read(writer, "Q6_K", random_q6_k(random, (2, 256)), Type.Q6_K)
    for kind in (Type.TQ1_0, Type.TQ2_0):
        trits = random.integers(-1, 2, (2, 256)).astype(np.float32) * np.float32(0.03125)
        golden[f"type.{kind.name}"] = add_and_read(writer, kind.name, gguf.quants.quantize(trits, kind), kind)
    trits = random.integers(-1, 2, (2, 256))
    writer.add_trits("I2_S", trits, 0.0123, I2_S)
    golden["type.I2_S"] = trits.astype(np.float32) * np.float32(0.0123)
    writer.write()
    return golden


def train_tokenizer():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(CUTS["llama-bpe"])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=118, show_progress=False)
    tokenizer.train_from_iterator([SAMPLE], trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.TemplateProcessing("<|begin_of_text|> $A", None, [("<|begin_of_text|>", begin)])
    return tokenizer


def write_ids(tokenizer):
    texts = []
    document = json.loads(tokenizer.to_str())
    for pre, cuts in CUTS.items():
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
        model = json.loads(tokenizer.to_str())
        model["model"]["ignore_merges"] = pre == "llama-bpe"
        other = Tokenizer.from_str(json.dumps(model))
        texts += [{"pre": pre, "text": text, "ids": other.encode(text).ids} for text in TEXTS]
    (OUT / "golden.json").write_text(json.dumps(texts, indent=1, ensure_ascii=True) + "\n")
    return document


def write_bitnet(tokenizer, golden):
    config = {"model_type": "bitnet", "hidden_act": "relu2", "hidden_size": 128, "intermediate_size": 128,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,
              "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "bos_token_id": tokenizer.token_to_id("<|begin_of_text|>"),
              "eos_token_id": tokenizer.token_to_id("<|end_of_text|>")}
    model = Model(config, 1)
    embedding = np.float16(model.random.normal(0, 1, (128, 128))).astype(np.float32)
    writer = Writer(OUT / "bitnet.gguf", "bitnet-b1.58")
    add_config(writer.writer, config)
    add_tokenizer(writer.writer, write_ids(tokenizer), config, chat_template="{{ bos_token }}{{ messages[0].content }}")
    writer.add_floats("token_embd.weight", embedding, Type.F16)
    model.add_to(writer, I2_S, interleaved=False)
    writer.write()
    table = bfloat16(embedding)
    add_golden(golden, "bitnet", model, table, table)


def write_llama(golden):
    config = {"model_type": "llama", "hidden_act": "silu", "hidden_size": 256, "intermediate_size": 256,
              "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
              "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 500000.0}
    model = Model(config, 2)
    writer = Writer(OUT / "llama.gguf", "llama")
    add_config(writer.writer, config)
    embedding = add_and_read(writer, "token_embd.weight", random_q6_k(model.random, (64, 256)), Type.Q6_K)
    head = gguf.quants.quantize(model.random.normal(0, 1, (64, 256)).astype(np.float32), Type.Q8_0)
    head = add_and_read(writer, "output.weight", head, Type.Q8_0)
    model.add_to(writer, Type.TQ1_0, interleaved=True)
    writer.write()
    add_golden(golden, "llama", model, bfloat16(embedding), bfloat16(head))


def add_golden(golden, name, model, embedding, head):
    ids = model.random.integers(0, model.config["vocab_size"], 24).astype(np.int32)
    golden[f"{name}.ids"] = ids
    golden[f"{name}.logits"] = model.logits(ids, embedding, head).astype(np.float32)


def main():
    OUT.mkdir(exist_ok=True)
    golden = write_types(np.random.default_rng(0))
    write_bitnet(train_tokenizer(), golden)
    write_llama(golden)
    save_file(golden, OUT / "golden.safetensors")


if __name__ == "__main__":
    main()
