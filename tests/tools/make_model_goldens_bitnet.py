"""Ternary layouts of Hugging Face folders for make_model_goldens.py."""

import torch
from transformers import BitNetForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.integrations.bitnet import BitLinear, pack_weights

from make_model_goldens_common import (BY_COLUMNS, BY_ROWS, bitnet_config, is_matrix, llama_config, load, logits_by,
                                       random_weights, to_half, write_folder, write_golden)


def ternarize(weight):
    """Trits and the mean magnitude of one matrix."""
    mean = weight.abs().mean().clamp(min=1e-5)
    return (weight / mean).round().clamp(-1, 1), mean


def packed(weights, dtype, divide):
    """Matrices as uint8 [out / 4, in] with a weight_scale [1]; the rest in dtype."""
    tensors = {}
    for name, weight in weights.items():
        if not is_matrix(name):
            tensors[name] = weight.to(dtype)
            continue
        trits, mean = ternarize(weight)
        tensors[name] = pack_weights(trits)
        tensors[name + "_scale"] = (1 / mean if divide else mean).reshape(1).to(dtype)
    return tensors


def write_golden_of(model, folder, config, note):
    norms = [weight for name, weight in model.named_parameters() if "norm" in name or name.endswith("_ln.weight")]
    write_golden(folder, logits_by(model), config["vocab_size"], note, norms)


def by_transformers(model_class, folder, config, note):
    """The stored values are exact in float32, where transformers keeps the dtype of some in spite of `dtype`."""
    model = torch.nn.Module.float(load(model_class, folder))
    for module in model.modules():
        if isinstance(module, BitLinear):
            module.dtype = torch.float32
    write_golden_of(model, folder, config, note)


def write_bitnet_packed():
    """microsoft/bitnet-b1.58-2B-4T: weight_scale multiplies."""
    config = bitnet_config()
    config["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                     "quantization_mode": "offline"}
    folder = write_folder("bitnet_packed", config, packed(random_weights(config, 1), torch.bfloat16, divide=False))
    by_transformers(BitNetForCausalLM, folder, config, "BitNetForCausalLM, offline")


def write_bitnet_online():
    """microsoft/bitnet-b1.58-2B-4T-bf16: latent weights, made ternary on load."""
    config = bitnet_config(ffn=192)
    config["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                     "quantization_mode": "online"}
    tensors = {name: weight.bfloat16() for name, weight in random_weights(config, 2).items()}
    folder = write_folder("bitnet_online", config, tensors)
    by_transformers(BitNetForCausalLM, folder, config, "BitNetForCausalLM, online")


def write_llama_bitnet():
    """HF1BitLLM/Llama3-8B-1.58-100B-tokens and tiiuae/Falcon3-*-1.58bit: no linear_class, which is "bitlinear":
    y = (codes . trits) / (input_scale * weight_scale), input_scale = 127 / absmax, weight_scale = 1 / mean|W|.
    """
    config = llama_config("bfloat16")
    config["quantization_config"] = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}
    folder = write_folder("llama_bitnet", config, packed(random_weights(config, 3), torch.bfloat16, divide=True))
    by_transformers(LlamaForCausalLM, folder, config, "LlamaForCausalLM, bitlinear: the scale divides")


def write_falcon_e():
    """autobitlinear with use_rms_norm, as transformers runs it: a norm with weights [in] of its own in every linear layer,
    NAME.rms_norm.weight beside NAME.weight, with the epsilon of quantization_config, before the inputs are quantized.

    What tiiuae released as Falcon-E was written by onebitllms' quantize_to_1bit: no such tensors, and of the
    quantization_config only quant_method and modules_to_not_convert, so the form of llama_bitnet (1 / mean|W|, divides).
    """
    config = llama_config("bfloat16")
    config["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                     "quantization_mode": "offline", "use_rms_norm": True, "rms_norm_eps": 1e-6,
                                     "modules_to_not_convert": ["lm_head"]}
    weights = random_weights(config, 4)
    generator = torch.Generator().manual_seed(4)
    for name in [name for name in weights if is_matrix(name)]:
        norm = 0.5 + torch.rand(weights[name].shape[1], generator=generator)
        weights[name.removesuffix("weight") + "rms_norm.weight"] = norm
    folder = write_folder("falcon_e", config, packed(weights, torch.bfloat16, divide=False))
    by_transformers(LlamaForCausalLM, folder, config, "LlamaForCausalLM, autobitlinear, use_rms_norm")


class Latent158(torch.nn.Module):
    """A linear layer of 1bitLLM's folders: the input to 8 bits by its absmax per token, the latent weights to trits by the
    mean magnitude of the matrix; before it, where there is one, a norm."""

    def __init__(self, weight, norm=None, eps=0.0):
        super().__init__()
        self.trits, self.mean = ternarize(weight.float())
        self.norm, self.eps = None if norm is None else torch.nn.Parameter(norm), eps

    def forward(self, x):
        if self.norm is not None:
            x = self.norm * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))
        scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        codes = (x * scale).round().clamp(-128, 127)
        return torch.nn.functional.linear(codes / scale, self.trits * self.mean)


def write_bitnet158_1bitllm():
    """1bitLLM/bitnet_b1_58-3B: a llama layer with inner_attn_ln [hidden] before o_proj and ffn_layernorm [ffn] before
    down_proj, SiLU, a tied head, as many KV heads as heads, latent float16, and a head_dim (100 there) of no power of two.
    No quantization_config: weight_bits and input_bits tell."""
    config = llama_config("float16", hidden=160, ffn=192, heads=8, kv_heads=8)
    del config["mlp_bias"]
    config |= {"architectures": ["BitnetForCausalLM"], "weight_bits": 1, "input_bits": 8, "tie_word_embeddings": True}
    weights = to_half(random_weights(config, 5))
    generator = torch.Generator().manual_seed(5)
    for layer in range(config["num_hidden_layers"]):
        for name, n in (("self_attn.inner_attn_ln", 160), ("mlp.ffn_layernorm", 192)):
            weights[f"model.layers.{layer}.{name}.weight"] = (0.5 + torch.rand(n, generator=generator)).half()
    folder = write_folder("bitnet158_1bitllm", config, weights)

    model = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in config.items() if k not in ("architectures", "torch_dtype")}))
    floats = {name: weight.float() for name, weight in weights.items() if not is_matrix(name)}
    floats["lm_head.weight"] = floats["model.embed_tokens.weight"]
    model.load_state_dict(floats, strict=False)
    for i, layer in enumerate(model.model.layers):
        prefix = f"model.layers.{i}."
        norms = {"o_proj": "self_attn.inner_attn_ln", "down_proj": "mlp.ffn_layernorm"}
        for part in ("self_attn", "mlp"):
            block = getattr(layer, part)
            for name, _ in list(block.named_children()):
                if name.endswith("_proj"):
                    norm = floats.get(f"{prefix}{norms.get(name)}.weight")
                    weight = weights[f"{prefix}{part}.{name}.weight"]
                    setattr(block, name, Latent158(weight, norm, config["rms_norm_eps"]))
    write_golden_of(model, folder, config, "llama layer with Latent158 and sub-norms")


def write_trilm():
    """SpectraSuite/TriLM_*_Unpacked: a plain LLaMA folder in float16 whose matrices hold 0 and +-s, with a scale s for each
    of the pretraining_model_parallel (1 to 6) shards of its training: of output channels in q, k, v, gate and up, of input
    channels in o and down. Activations are floats. No quantization_config."""
    shards = 2
    config = llama_config("float16", ffn=192)
    config["pretraining_model_parallel"] = shards
    weights = random_weights(config, 6)
    for name in [name for name in weights if is_matrix(name)]:
        dim = 0 if name.split(".", 3)[3].removesuffix(".weight") in BY_ROWS else 1
        assert dim == 0 or name.split(".", 3)[3].removesuffix(".weight") in BY_COLUMNS
        parts = weights[name].chunk(shards, dim)
        # Means of equal shards of random weights are too alike to find an exchange of two.
        parts = [part * (1 + 0.5 * i) for i, part in enumerate(parts)]
        weights[name] = torch.cat([trits * mean for trits, mean in map(ternarize, parts)], dim)
    tensors = to_half(weights)
    for name, tensor in tensors.items():
        assert not is_matrix(name) or len(tensor.abs().unique()) == 1 + shards
    folder = write_folder("trilm", config, tensors)
    write_golden(folder, logits_by(load(LlamaForCausalLM, folder)), config["vocab_size"],
                 "LlamaForCausalLM of the unpacked weights")


def write_all():
    write_bitnet_packed()
    write_bitnet_online()
    write_llama_bitnet()
    write_falcon_e()
    write_bitnet158_1bitllm()
    write_trilm()
