#!/usr/bin/env python3
"""Writes a packed Hugging Face BitNet folder as a GGUF file, through the `gguf` package (pip install gguf).

    convert_to_gguf.py FOLDER OUT.gguf [--type i2_s|tq1_0|tq2_0] [--embedding bf16|f16|f32|q8_0]

The types' packing is the package's own; I2_S, which it does not know, is written from its description in
docs/numerics.md. Names, metadata and the order of rows are those of llama.cpp's converters.
"""

import argparse
import json
import pathlib

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as Type

I2_S = 36  # of microsoft/BitNet's fork
TERNARY = {"i2_s": I2_S, "tq1_0": Type.TQ1_0, "tq2_0": Type.TQ2_0}
FLOATS = {"bf16": Type.BF16, "f16": Type.F16, "f32": Type.F32, "q8_0": Type.Q8_0}
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.attn_sub_norm": "attn_sub_norm", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.ffn_sub_norm": "ffn_sub_norm", "mlp.down_proj": "ffn_down",
}
NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    name = name.removesuffix(".weight")
    if name in NAMES:
        return NAMES[name] + ".weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[rest]}.weight"


def interleave(weight, heads):
    """The row order of llama.cpp's "llama": halves of a head become pairs."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def pack_i2_s(trits, scale):
    codes = (trits.reshape(-1, 4, 32) + 1).astype(np.uint8)  # [block, group, byte]
    packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    tail = np.zeros(8, np.float32)
    tail[0] = scale
    return np.concatenate([packed.reshape(-1), tail.view(np.uint8)])


class Writer:
    """Collects tensors as bytes; gguf.GGUFWriter takes types that it does not know only in this form."""

    def __init__(self, path, architecture):
        self.writer = gguf.GGUFWriter(path, architecture)
        self.data = []

    def add(self, name, shape, data, kind):
        data = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        self.writer.add_tensor_info(name, shape, np.dtype(np.int8), data.nbytes, raw_dtype=kind)
        self.data.append(data)

    def add_floats(self, name, values, kind):
        self.add(name, values.shape, gguf.quants.quantize(values.astype(np.float32), kind), kind)

    def add_trits(self, name, trits, scale, kind):
        if kind == I2_S:
            data = pack_i2_s(trits, scale)
        else:
            data = gguf.quants.quantize(trits.astype(np.float32) * np.float32(scale), kind)
        self.add(name, trits.shape, data, kind)

    def write(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_ti_data_to_file()
        for data in self.data:
            self.writer.write_tensor_data(data)
        self.writer.close()


def add_config(writer, config):
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])


def add_tokenizer(writer, tokenizer, config, pre="llama-bpe", chat_template=None):
    """A parsed tokenizer.json of byte-level BPE."""
    names = {id: token for token, id in tokenizer["model"]["vocab"].items()}
    types = {}
    for token in tokenizer["added_tokens"]:
        names[token["id"]] = token["content"]
        types[token["id"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    size = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([names.get(id, f"[PAD{id}]") for id in range(size)])
    normal = [gguf.TokenType.NORMAL if id in names else gguf.TokenType.UNUSED for id in range(size)]
    writer.add_token_types([types.get(id, normal[id]) for id in range(size)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(True)
    if chat_template:
        writer.add_chat_template(chat_template)


def unpack(packed):
    """Hugging Face's four output channels a byte."""
    return np.concatenate([(packed >> shift) & 3 for shift in (0, 2, 4, 6)]).astype(np.int32) - 1


def read_tensors(folder):
    """name -> array; BF16, which NumPy lacks, as float32."""
    file = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(file[:8], "little")
    tensors = {}
    for name, entry in json.loads(file[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        part = file[8 + length + begin:8 + length + end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(part, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(part, {"F32": np.float32, "F16": np.float16, "U8": np.uint8}[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def convert(folder, out, kind, embedding):
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] != "bitnet":
        raise SystemExit(f"{folder}: only model_type bitnet is converted")
    divide = config["quantization_config"].get("linear_class", "bitlinear") == "bitlinear"
    writer = Writer(out, "bitnet-b1.58")
    add_config(writer.writer, config)
    add_tokenizer(writer.writer, json.loads((folder / "tokenizer.json").read_text()), config)
    tensors = read_tensors(folder)
    for name, values in tensors.items():
        if name.endswith("weight_scale"):
            continue
        if values.dtype == np.uint8:
            scale = tensors[name + "_scale"].reshape(-1)[0]
            writer.add_trits(gguf_name(name), unpack(values), 1 / scale if divide else scale, kind)
        else:
            writer.add_floats(gguf_name(name), values, embedding if values.ndim == 2 else Type.F32)
    writer.write()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", choices=TERNARY, default="i2_s")
    parser.add_argument("--embedding", choices=FLOATS, default="bf16")
    options = parser.parse_args()
    convert(options.folder, options.out, TERNARY[options.type], FLOATS[options.embedding])


if __name__ == "__main__":
    main()
