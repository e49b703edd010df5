"""What every layout of make_model_goldens.py shares: random weights, files, and the golden beside a model."""

import json
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[1] / "data/models"
PROMPT = 24
GREEDY = 16
TABLE = []  # a row for each folder that was written

# Column-parallel and row-parallel matrices of a layer, in the sense of Megatron.
BY_ROWS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
BY_COLUMNS = ("self_attn.o_proj", "mlp.down_proj")


def shape_config(hidden=128, ffn=384, layers=2, heads=4, kv_heads=2, vocab=128):
    """The fields that all config.json files have, with ids that llama's files have."""
    return {"hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "vocab_size": vocab, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.02, "use_cache": True}


def llama_config(dtype, **shape):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "attention_bias": False,
            "attention_dropout": 0.0, "mlp_bias": False, "pretraining_tp": 1, "rope_scaling": None,
            "tie_word_embeddings": False, "torch_dtype": dtype, **shape_config(**shape)}


def qwen2_config(dtype, **shape):
    """As Qwen2.5 writes it: a sliding_window that use_sliding_window turns off, and no word of its biases."""
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "attention_dropout": 0.0,
            "max_window_layers": 28, "sliding_window": 32768, "use_sliding_window": False, "tie_word_embeddings": True,
            "torch_dtype": dtype, **shape_config(**shape), "rms_norm_eps": 1e-6, "rope_theta": 1000000.0}


def bitnet_config(**shape):
    return {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": "relu2", "attention_bias": False,
            "attention_dropout": 0.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", **shape_config(**shape),
            "rope_theta": 500000.0}


def matrix_shapes(config):
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    return {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
            "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (ffn, hidden), "mlp.up_proj": (ffn, hidden),
            "mlp.down_proj": (hidden, ffn)}


def random_weights(config, seed):
    """Float32 weights of a LLaMA-shaped model by Hugging Face's names, in ranges that make the logits differ."""
    random = np.random.default_rng(seed)
    normal = lambda shape, deviation: torch.from_numpy(random.normal(0, deviation, shape).astype(np.float32))
    hidden = config["hidden_size"]
    norm = lambda n: torch.from_numpy(random.uniform(0.5, 1.5, n).astype(np.float32))
    # A tied head sees the embedding twice: a large one would only tell the last token again.
    deviation = 0.1 if config["tie_word_embeddings"] else 0.3
    weights = {"model.embed_tokens.weight": normal((config["vocab_size"], hidden), deviation)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, shape in matrix_shapes(config).items():
            weights[f"{prefix}{name}.weight"] = normal(shape, shape[1] ** -0.5)
            if config["model_type"] == "qwen2" and name[-6:] in ("q_proj", "k_proj", "v_proj"):
                weights[f"{prefix}{name}.bias"] = normal(shape[:1], 0.5)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{name}.weight"] = norm(hidden)
        if config["model_type"] == "bitnet":
            weights[f"{prefix}self_attn.attn_sub_norm.weight"] = norm(hidden)
            weights[f"{prefix}mlp.ffn_sub_norm.weight"] = norm(config["intermediate_size"])
    weights["model.norm.weight"] = norm(hidden)
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = normal((config["vocab_size"], hidden), 0.3)
    return weights


def to_half(weights):
    """Float16. The embedding and the head by way of bfloat16, in which Ternion holds them: what is compared is the rest."""
    tables = ("model.embed_tokens.weight", "lm_head.weight")
    return {name: (weight.bfloat16() if name in tables else weight).half() for name, weight in weights.items()}


def is_matrix(name):
    return name.endswith("_proj.weight")


def write_folder(name, config, tensors, shards=1, **others):
    """config.json, the weights in one file or several with their index, and `others` as files NAME.json."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    write_json(folder / "config.json", config)
    for file, content in others.items():
        write_json(folder / f"{file}.json", content)
    tensors = {key: tensors[key].contiguous() for key in sorted(tensors)}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder
    weight_map, keys = {}, list(tensors)
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = keys[i * len(keys) // shards:(i + 1) * len(keys) // shards]
        save_file({key: tensors[key] for key in part}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})
    return folder


def write_json(path, content):
    path.write_text(json.dumps(content, indent=2) + "\n")


def continue_greedily(logits_of, ids):
    """Ids and margins: the distance from the best to the second logit."""
    greedy, margins = [], []
    for _ in range(GREEDY):
        best = logits_of(ids + greedy)[-1].topk(2)
        greedy.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
    return greedy, margins


def is_robust(logits_of, ids, norms):
    """Whether a change of all norms by their last bits changes the logits by no more than that. Where an input of a
    quantizer lies on the border of two codes it would, by percents: two correct implementations differ there."""
    before = logits_of(ids)
    for draw in range(3):
        kept = [norm.clone() for norm in norms]
        generator = torch.Generator().manual_seed(draw)
        for norm in norms:
            norm *= 1 + 6e-7 * (torch.rand(norm.shape, generator=generator) - 0.5)
        error = (logits_of(ids) - before).abs().max()
        for norm, old in zip(norms, kept):
            norm.copy_(old)
        if error > 1e-5 * (before.max() - before.min()):
            return False
    return True


@torch.no_grad()
def write_golden(folder, logits_of, vocab, note, norms=()):
    """prompt [T], logits [T, vocab], and a greedy continuation with its margins. `norms` of a model that quantizes its
    activations: the prompt is then one whose logits do not hang on the last bit of a float."""
    random = np.random.default_rng(int.from_bytes(folder.name.encode(), "little"))
    while True:
        ids = random.integers(0, vocab, PROMPT).tolist()
        greedy, margins = continue_greedily(logits_of, ids)
        if len(set(greedy)) > 3 and is_robust(logits_of, ids + greedy, norms):
            break
    golden = {"prompt": torch.tensor(ids, dtype=torch.int32), "logits": logits_of(ids).float().contiguous(),
              "greedy": torch.tensor(greedy, dtype=torch.int32), "greedy_margin": torch.tensor(margins)}
    save_file(golden, folder / "golden.safetensors")
    spread = float(golden["logits"].max() - golden["logits"].min())
    size = sum(file.stat().st_size for file in folder.iterdir())
    TABLE.append((folder.name, size, spread, len(set(greedy)), min(margins), note))


def load(model_class, folder):
    """As a user would, but a tensor too many or too few is an error."""
    model, told = model_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(told[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    return model


def logits_by(model):
    """The logits of ids [T] by a causal language model of transformers."""
    model.eval()
    return lambda ids: model(torch.tensor([ids]), use_cache=False).logits[0]


def print_table():
    print(f"{'layout':22} {'bytes':>8} {'spread':>7} {'greedy ids':>11} {'least margin':>13}  forward")
    for name, size, spread, ids, margin, note in TABLE:
        print(f"{name:22} {size:8} {spread:7.2f} {ids:11} {margin:13.3f}  {note}")
    print(f"{len(TABLE)} folders, {sum(row[1] for row in TABLE)} bytes")
