#!/usr/bin/env python3
"""Trains a small byte-level LLaMA whose weights are INT2 in groups of 32, for the perplexity test of tensor parallelism.

    python tests/tools/train_int2_model.py tests/data/trained-int2

Reads the project's own sources; needs CPU torch, transformers and safetensors. Quantization-aware from the first step: the
forward pass sees the quantized weights, their gradients go to the float ones. Writes config.json, model.safetensors (GPTQ
version 2) and windows.safetensors: bytes that were not trained on, [16, 257].
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from make_model_goldens_gptq import quantize, quantization_config, tensors_of

BITS, GROUP, WINDOW, STEPS, BATCH = 2, 32, 256, 900, 16


class FakeQuantized(torch.nn.Module):
    def forward(self, weight):
        codes, zeros, scales = quantize(weight.detach(), BITS, GROUP, least_zero=0)
        each = scales.float().repeat_interleave(GROUP, 0)
        return weight + ((codes - zeros.repeat_interleave(GROUP, 0)) * each).T - weight.detach()


def text():
    root = pathlib.Path(__file__).resolve().parents[2]
    files = [file for folder in ("kernels", "parallel", "runtime", "net", "launcher", "docs")
             for file in sorted((root / folder).rglob("*")) if file.suffix in (".h", ".cc", ".cu", ".cuh", ".md")]
    return np.frombuffer(b"".join(file.read_bytes() for file in files), np.uint8).astype(np.int64)


def train(model, data):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    for step in range(STEPS):
        begins = torch.randint(0, len(data) - WINDOW - 1, (BATCH,))
        ids = torch.stack([data[b:b + WINDOW] for b in begins])
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(step, round(loss.item(), 3), flush=True)


def main(folder):
    torch.manual_seed(1)
    config = LlamaConfig(hidden_size=128, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=4, vocab_size=256, max_position_embeddings=512, tie_word_embeddings=False,
                         bos_token_id=0, eos_token_id=0)
    model = LlamaForCausalLM(config)
    matrices = {name: module for name, module in model.named_modules() if name.endswith("_proj")}
    for module in matrices.values():
        torch.nn.utils.parametrize.register_parametrization(module, "weight", FakeQuantized())
    data = torch.from_numpy(text())
    held = len(data) - 16 * (WINDOW + 1)
    train(model, data[:held])

    tensors = {}
    for name, module in matrices.items():
        tensors |= tensors_of(name, module.parametrizations.weight.original.detach(), BITS, GROUP, whole=False,
                              stored_less=0)[0]
    for name, value in model.state_dict().items():
        if "_proj." not in name:
            tensors[name] = value.bfloat16().contiguous()
    out = pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors")
    save_file({"windows": data[held:].reshape(16, WINDOW + 1).to(torch.int32)}, out / "windows.safetensors")
    described = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 128,
                 "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
                 "vocab_size": 256, "max_position_embeddings": 512, "rms_norm_eps": config.rms_norm_eps,
                 "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0,
                 "quantization_config": quantization_config(BITS, GROUP, "gptq_v2")}
    (out / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    with torch.no_grad():
        ids = data[held:].reshape(16, WINDOW + 1)
        print("perplexity of the held windows in torch", model(input_ids=ids, labels=ids).loss.exp().item())


if __name__ == "__main__":
    main(sys.argv[1])
