"""Group-wise quantized layouts (GPTQ, EfficientQAT) for make_model_goldens.py.

Of a matrix [out, in] with group size g and b bits: qweight int32 packed along in, qzeros int32 [in / g, ..] packed along out,
scales float16 [in / g, out], g_idx int32 [in] with i / g (desc_act false), and where there is one, bias float16 [out].
W[o, i] = (q[i, o] - z[i / g, o]) * scales[i / g, o]; a v1 file stores z - 1.

Packing into words of 32 bits. For 2 and 4 bits: value i at bits b * (i mod p) of word i / p, p = 32 / b, rows in / p.
3 bits have two forms, told apart by the number of rows of qweight:
  GPTQModel and AutoGPTQ: 32 values in 3 words, value i at bits 3 * i of the stream, values 10 and 21 cross a word:
                          qweight [in / 32 * 3, out], qzeros [in / g, out / 32 * 3]
  EfficientQAT:           10 values a word, two bits of it unused: qweight [ceil(in / 10), out],
                          qzeros [in / g, ceil(out / 10)]
"""

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from make_model_goldens_common import (is_matrix, llama_config, logits_by, qwen2_config, random_weights, to_half,
                                       write_folder, write_golden)


def quantize(weight, bits, group, least_zero):
    """Codes [in, out], zeros [in / g, out] and scales [in / g, out] of weight [out, in], by the range of each group."""
    most = 2 ** bits - 1
    groups = weight.T.reshape(-1, group, weight.shape[0])
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    scales = ((high - low) / most).half()
    zeros = (-low / scales.float()).round().clamp(least_zero, most)
    codes = ((groups / scales.float()[:, None]).round() + zeros[:, None]).clamp(0, most)
    return codes.reshape(weight.shape[::-1]), zeros, scales


def pack_stream(values, bits):
    """Rows of values [n, m], n a multiple of 32 for 3 bits, as one stream of bits down each column. [n * bits / 32, m]"""
    n, m = values.shape
    stream = (values.astype(np.uint32)[:, None] >> np.arange(bits, dtype=np.uint32)[:, None] & 1).reshape(-1, 32, m)
    return (stream << np.arange(32, dtype=np.uint32)[:, None]).sum(1, dtype=np.uint32).view(np.int32)


def pack_whole(values, bits):
    """As many whole values as a word holds. [ceil(n / (32 // bits)), m]"""
    per_word = 32 // bits
    words = np.zeros((-(-len(values) // per_word), values.shape[1]), np.uint32)
    for i, row in enumerate(values.astype(np.uint32)):
        words[i // per_word] |= row << np.uint32(bits * (i % per_word))
    return words.view(np.int32)


def unpack_stream(words, bits, n):
    """Reads each value by its place alone, so that the packing above is not judged by itself."""
    words = words.view(np.uint32).astype(np.uint64)
    pairs = words | np.concatenate([words[1:], np.zeros_like(words[:1])]) << np.uint64(32)
    at = np.arange(n) * bits
    return (pairs[at // 32] >> (at % 32).astype(np.uint64)[:, None] & np.uint64(2 ** bits - 1)).astype(np.float32)


def unpack_whole(words, bits, n):
    at = np.arange(n)
    shift = (bits * (at % (32 // bits))).astype(np.uint32)[:, None]
    return (words.view(np.uint32)[at // (32 // bits)] >> shift & np.uint32(2 ** bits - 1)).astype(np.float32)


def tensors_of(name, weight, bits, group, whole, stored_less):
    """The tensors of one matrix, and the weight [out, in] that they stand for."""
    outputs, inputs = weight.shape
    pack, unpack = (pack_whole, unpack_whole) if whole else (pack_stream, unpack_stream)
    codes, zeros, scales = quantize(weight, bits, group, least_zero=stored_less)
    tensors = {"qweight": pack(codes.numpy(), bits), "qzeros": pack(zeros.numpy().T - stored_less, bits).T.copy(),
               "g_idx": np.arange(inputs, dtype=np.int32) // group}
    q = unpack(tensors["qweight"], bits, inputs)
    z = unpack(np.ascontiguousarray(tensors["qzeros"].T), bits, outputs).T + stored_less
    group_of = tensors["g_idx"]
    dequantized = torch.from_numpy((q - z[group_of]) * scales.float().numpy()[group_of]).T.contiguous()
    named = {f"{name}.{key}": torch.from_numpy(value) for key, value in tensors.items()}
    return named | {f"{name}.scales": scales}, dequantized


def quantization_config(bits, group, checkpoint_format):
    return {"bits": bits, "checkpoint_format": checkpoint_format, "damp_percent": 0.01, "desc_act": False,
            "group_size": group, "lm_head": False, "quant_method": "gptq", "static_groups": False, "sym": False,
            "true_sequential": True, "meta": {"quantizer": "gptqmodel:1.0.0"}}


def write_gptq(name, seed, bits, group, checkpoint_format="gptq_v2", whole=False, qwen2=False, bare=False, shards=1):
    """`bare` leaves out the quantization_config: so EfficientQAT saves, and is told bits and group size to load."""
    config = (qwen2_config if qwen2 else llama_config)("float16", ffn=256)
    config["tie_word_embeddings"] = False
    weights = random_weights(config, seed)
    half = to_half(weights)
    tensors, floats = {}, {}
    for key, weight in weights.items():
        if is_matrix(key):
            named, floats[key] = tensors_of(key.removesuffix(".weight"), weight, bits, group, whole,
                                            stored_less=int(checkpoint_format == "gptq"))
            tensors |= named
        else:
            tensors[key] = half[key]
            floats[key] = tensors[key].float()
    model_class, config_class = (Qwen2ForCausalLM, Qwen2Config) if qwen2 else (LlamaForCausalLM, LlamaConfig)
    model = model_class(config_class(**{k: v for k, v in config.items() if k not in ("architectures", "torch_dtype")}))
    model.load_state_dict(floats)
    others = {}
    if not bare:
        config["quantization_config"] = quantization_config(bits, group, checkpoint_format)
        others["quantize_config"] = config["quantization_config"]
    folder = write_folder(name, config, tensors, shards, **others)
    form = "10 values a word" if whole and bits == 3 else checkpoint_format
    write_golden(folder, logits_by(model), config["vocab_size"],
                 f"{model_class.__name__} of (q - z) * s, {bits} bits, groups of {group}, {form}")


def write_all():
    write_gptq("gptq_v2_w2g64", 10, 2, 64)
    write_gptq("gptq_v2_w3g128", 11, 3, 128)
    write_gptq("gptq_v2_w3g128_tens", 12, 3, 128, whole=True)
    write_gptq("gptq_v2_w4g128", 13, 4, 128, shards=2)
    write_gptq("gptq_v1_w4g128", 14, 4, 128, checkpoint_format="gptq")
    write_gptq("gptq_w4g128_qwen2", 15, 4, 128, qwen2=True)
    write_gptq("efficientqat_w2g64", 16, 2, 64, whole=True, bare=True)
