#!/usr/bin/env python3
"""Writes tests/data/models: a small random model of every layout that is read, by the libraries that made the layout, and
what those libraries compute with it in float32.

    make_model_goldens.py        (pip install torch transformers accelerate safetensors gguf tokenizers numpy)

Every folder has golden.safetensors beside the model: prompt [T], logits [T, vocab], greedy [16] and greedy_margin [16], the
distance from the best to the second logit. What a folder holds is told where it is written:
  make_model_goldens_bitnet.py    the BitNet family and TriLM
  make_model_goldens_gptq.py      GPTQ v1 and v2, EfficientQAT
  here                            dense models, GGUF types that tests/data/gguf has no model of
"""

import json
import os

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # plain evaluation of what transformers would compile
os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import numpy as np
import torch
from gguf.constants import GGMLQuantizationType as Type
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2ForCausalLM

import make_gguf_goldens
import make_model_goldens_bitnet
import make_model_goldens_gptq
from convert_to_gguf import Writer, add_config
from make_model_goldens_common import (OUT, llama_config, load, logits_by, print_table, qwen2_config, random_weights,
                                       write_folder, write_golden)


def write_dense(name, seed, config, model_class, dtype, **options):
    weights = {key: weight.to(dtype) for key, weight in random_weights(config, seed).items()}
    folder = write_folder(name, config, weights, **options)
    note = f"{model_class.__name__} of the {str(dtype).removeprefix('torch.')} weights"
    write_golden(folder, logits_by(load(model_class, folder)), config["vocab_size"], note)


def write_dense_models():
    # As the library writes its own config today: dtype, and rope_theta inside rope_parameters.
    config = llama_config("bfloat16", ffn=192)
    config |= {"tie_word_embeddings": True, "rope_theta": 500000.0, "rms_norm_eps": 1e-6}
    modern = LlamaConfig(dtype="bfloat16", **{key: value for key, value in config.items() if key != "torch_dtype"})
    modern = json.loads(modern.to_json_string())
    write_dense("dense_llama_bf16", 20, modern, LlamaForCausalLM, torch.bfloat16)
    write_dense("dense_llama_f16", 21, llama_config("float16", ffn=192), LlamaForCausalLM, torch.float16, shards=2)
    write_dense("dense_qwen2_bf16", 22, qwen2_config("bfloat16", ffn=192), Qwen2ForCausalLM, torch.bfloat16)


def write_gguf(name, seed, ternary, embedding, head):
    """One layer of `ternary`; the forward pass is make_gguf_goldens', from what the package reads in the file."""
    config = {"model_type": "llama", "hidden_act": "silu", "hidden_size": 256, "intermediate_size": 512,
              "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
              "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 500000.0}
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    model = make_gguf_goldens.Model(config, seed)
    writer = Writer(folder / "model.gguf", "llama")
    add_config(writer.writer, config)
    tables = []
    for tensor, kind in (("token_embd.weight", embedding), ("output.weight", head)):
        values = gguf.quants.quantize(model.random.normal(0, 1, (64, 256)).astype(np.float32), kind)
        tables.append(make_gguf_goldens.add_and_read(writer, tensor, values, kind))
    model.add_to(writer, ternary, interleaved=True)
    writer.write()
    rounded = [make_gguf_goldens.bfloat16(table) for table in tables]
    logits = lambda ids: torch.from_numpy(model.logits(np.array(ids), *rounded).astype(np.float32))
    write_golden(folder, logits, 64, f"GGUF {ternary.name}, embedding {embedding.name}, head {head.name}")


def main():
    torch.set_num_threads(1)
    make_model_goldens_bitnet.write_all()
    make_model_goldens_gptq.write_all()
    write_dense_models()
    write_gguf("gguf_tq2_0", 30, Type.TQ2_0, Type.BF16, Type.F32)
    print_table()


if __name__ == "__main__":
    main()
