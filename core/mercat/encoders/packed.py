"""The forward pass of BERT without padding: all tokens of a batch lie one after the other in one matrix.

Every matrix product runs over exactly the tokens there are; only attention looks at the borders between texts, one
call per run of texts of equal length. The arithmetic is that of Devlin et al. 2019 (post-norm, erf GELU, absolute
positions), so results equal those of the reference implementation up to rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mercat.compute.device import native_bfloat16
from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids, runs
from mercat.encoders.checkpoint import place_of
from mercat.errors import ArtifactError

if TYPE_CHECKING:
    import torch

    from mercat.encoders.checkpoint import Checkpoint


_PRODUCTS = ("qkv", "mix", "grow", "shrink")
_USUAL_TOKENS = 512  # for how many rows oneDNN chooses a layout; others are computed with the same
_STEPS = ((64, 8), (512, 32))  # up to so many tokens a matrix has a multiple of so many rows, beyond that of 64


def can_pack(config: Mapping[str, Any]) -> bool:
    """Return whether this forward pass computes exactly what the config describes."""
    return (
        config.get("model_type") == "bert"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and config.get("hidden_act") == "gelu"
        and not config.get("is_decoder")
        and not config.get("add_cross_attention")
    )


class PackedBert:
    """A BERT body for inference on the CPU, read straight from safetensors. Raises ArtifactError for other weights."""

    def __init__(self, checkpoint: Checkpoint, *, pooling: str, dtype: str = "float32") -> None:
        import torch

        self.pooling, self.dtype = pooling, getattr(torch, dtype)
        self._rooms = threading.local()
        self.heads = int(checkpoint.config["num_attention_heads"])
        self.eps = float(checkpoint.config.get("layer_norm_eps", 1e-12))
        state = _read(checkpoint, self.dtype)
        try:
            self.words = state["embeddings.word_embeddings.weight"]
            types = state["embeddings.token_type_embeddings.weight"]
            self.positions = state["embeddings.position_embeddings.weight"] + types[0]  # texts are never pairs here
            self.embedding_norm = _norm(state, "embeddings.LayerNorm")
            self.layers = [_layer(state, number) for number in range(int(checkpoint.config["num_hidden_layers"]))]
            _refuse_other_adapters(state, self.layers)
            self._lay_out()
            self._try(checkpoint)
        except (KeyError, RuntimeError, IndexError) as error:
            found = f"Its weights are not those of the BERT in config.json: {error}"
            raise ArtifactError(f"Model folder '{checkpoint.folder}'", found, "the folder of a saved model") from error

    def _try(self, checkpoint: Checkpoint) -> None:
        """Look at the sizes by which a text could reach beyond the weights, and compute the shortest one."""
        words, positions = int(checkpoint.config["vocab_size"]), checkpoint.max_tokens
        if len(self.words) < words or len(self.positions) < positions:
            raise IndexError(f"{len(self.words)} words, {len(self.positions)} positions")
        if self.vectors([[0] * (1 + (place_of(self.pooling) or 0))]).shape != (1, checkpoint.dimensions):
            raise IndexError(f"{self.words.shape[1]} dimensions")

    def _lay_out(self) -> None:
        """Keep the weights in bfloat16 as oneDNN's kernels want them, where the CPU has such kernels.

        As they lie in the file, each product would lay them out anew: that is a tenth of the time of many texts, and a
        third or more of the products of one short text. float32 is left as it is, and so are adapters, which are small.
        """
        if not _lays_out(self.dtype):
            return
        import torch

        try:
            laid = [
                {
                    name: (torch.ops.mkldnn._reorder_linear_weight(layer[name][0], _USUAL_TOKENS), layer[name][1])
                    for name in _PRODUCTS
                }
                for layer in self.layers
            ]
            one = torch.zeros(1, self.words.shape[1], dtype=self.dtype)
            _linear(one, laid[0]["qkv"], one)
        except (RuntimeError, TypeError, IndexError):  # private operations: another build of torch may refuse
            return
        self.layers = [{**layer, **products} for layer, products in zip(self.layers, laid, strict=True)]

    def vectors(self, rows: Sequence[Ids]) -> Vectors:
        """Return one unit vector per row of token ids. Rows of equal length should be neighbours.

        The shape is (rows, dimensions).
        """
        import torch

        with torch.inference_mode():
            spans = runs([len(row) for row in rows])
            hidden = self._embed(rows, spans)
            for layer in self.layers:
                hidden = self._step(hidden, layer, spans)
            pooled = torch.cat([self._pool(part) for part in _split(hidden, spans)])
            found: Vectors = torch.nn.functional.normalize(pooled, dim=1).numpy()
            return found

    def _embed(self, rows: Sequence[Ids], spans: Sequence[tuple[int, int]]) -> torch.Tensor:
        import torch

        tokens = sum(count * length for count, length in spans)
        ids, places = torch.zeros(2, _room_for(tokens), dtype=torch.int64)
        ids[:tokens] = torch.from_numpy(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]))
        places[:tokens] = torch.cat([torch.arange(length).repeat(count) for count, length in spans])
        found = torch.nn.functional.embedding(ids, self.words)
        found += torch.nn.functional.embedding(places, self.positions)
        return self._normed(found, self.embedding_norm)

    def _step(self, hidden: torch.Tensor, layer: Mapping[str, Any], spans: Sequence[tuple[int, int]]) -> torch.Tensor:
        import torch

        joint, attended, mixed, grown = self._scratch(len(hidden), layer)
        self._attend(_linear(hidden, layer["qkv"], joint), spans, attended, layer.get("prefix"))
        mixed = _adapt(_linear(attended, layer["mix"], mixed), layer, "mix").add_(hidden)
        hidden = self._normed(mixed, layer["attention_norm"])
        grown = torch.ops.aten.gelu_(_linear(hidden, layer["grow"], grown))
        mixed = _adapt(_linear(grown, layer["shrink"], mixed), layer, "shrink").add_(hidden)
        return self._normed(mixed, layer["output_norm"])

    def _attend(
        self,
        joint: torch.Tensor,
        spans: Sequence[tuple[int, int]],
        out: torch.Tensor,
        prefix: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> None:
        """Attend within each text, and to the prefix: see `mercat.encoders.prefixes`.

        `joint` has queries, keys and values side by side: (tokens, 3 * dimensions).
        """
        from torch.nn.functional import scaled_dot_product_attention

        if prefix is not None:
            from mercat.encoders.prefixes import before
        for part, into in zip(_split(joint, spans), _split(out, spans), strict=True):
            texts, tokens, _ = part.shape
            query, key, value = part.view(texts, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            if prefix is not None:
                key, value = before(prefix[0], key), before(prefix[1], value)
            found = scaled_dot_product_attention(query, key, value)
            into.view(texts, tokens, self.heads, -1).copy_(found.transpose(1, 2))

    def _scratch(self, tokens: int, layer: Mapping[str, Any]) -> list[torch.Tensor]:
        """Return this thread's room for results between norms: fresh pages for each cost a tenth of the time."""
        import torch

        kept: list[torch.Tensor] = getattr(self._rooms, "kept", [])
        if not kept or len(kept[0]) < tokens:
            widths = [layer[name][0].shape[0] for name in ("qkv", "mix", "shrink", "grow")]
            kept = [torch.zeros(tokens, width, dtype=self.dtype) for width in widths]
            self._rooms.kept = kept
        return [room[:tokens] for room in kept]

    def _normed(self, hidden: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        return layer_norm(hidden, hidden.shape[-1:], norm[0], norm[1], self.eps)

    def _pool(self, part: torch.Tensor) -> torch.Tensor:
        part = part.float()
        if (place := place_of(self.pooling)) is not None:
            return part[:, place]
        return part[:, -1] if self.pooling == "last" else part.mean(dim=1)


def _lays_out(dtype: torch.dtype) -> bool:
    """Return whether this CPU computes in bfloat16 and this torch lets weights be laid out for it."""
    import torch

    if dtype is not torch.bfloat16 or not native_bfloat16():
        return False
    needed = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")  # private: they may go
    there = all(hasattr(torch.ops.mkldnn, name) for name in needed)
    return there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _linear(rows: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor], out: torch.Tensor) -> torch.Tensor:
    """Return rows by weights plus bias: in `out`, unless the weights were laid out, which has no way to say where."""
    import torch

    if weights[0].is_mkldnn:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, *weights, "none", [], "")
        return found
    return torch.addmm(weights[1], rows, weights[0].t(), out=out)


def _adapt(rows: torch.Tensor, layer: Mapping[str, Any], place: str) -> torch.Tensor:
    """Add what the adapter at this place makes of the rows, if there is one: see `mercat.encoders.adapters`."""
    from torch.nn.functional import gelu, linear

    if f"{place}_down" not in layer:
        return rows
    return rows.add_(linear(gelu(linear(rows, *layer[f"{place}_down"])), *layer[f"{place}_up"]))


def _room_for(tokens: int) -> int:
    """Return how many rows a matrix of so many tokens gets; what is behind them is computed and never read.

    oneDNN compiles each product for each number of rows, and keeps up to a thousand of them, half a megabyte each.
    """
    step = next((step for most, step in _STEPS if tokens <= most), 64)
    return -(-tokens // step) * step


def _split(hidden: torch.Tensor, spans: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """Return the run of each span, shaped (texts, tokens, dimensions)."""
    parts, start = [], 0
    for count, length in spans:
        end = start + count * length
        parts.append(hidden[start:end].view(count, length, -1))
        start = end
    return parts


def _read(checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Read all tensors under the names of a bare BertModel; heads on top of it are left out."""
    from safetensors.torch import load_file

    state: dict[str, torch.Tensor] = {}
    for file in checkpoint.weights:
        state |= load_file(file)
    prefix = "bert." if any(key.startswith("bert.") for key in state) else ""
    renamed = {key.removeprefix(prefix).replace("gamma", "weight").replace("beta", "bias"): key for key in state}
    return {name: state[key].to(dtype) for name, key in renamed.items() if state[key].is_floating_point()}


def _layer(state: Mapping[str, torch.Tensor], number: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    import torch

    at = f"encoder.layer.{number}."
    places = {"mix": "attention.output.dense", "shrink": "output.dense"}
    joint = [_pair(state, f"{at}attention.self.{name}") for name in ("query", "key", "value")]
    return {
        "qkv": (torch.cat([weight for weight, _ in joint]), torch.cat([bias for _, bias in joint])),
        "mix": _pair(state, f"{at}attention.output.dense"),
        "attention_norm": _norm(state, f"{at}attention.output.LayerNorm"),
        "grow": _pair(state, f"{at}intermediate.dense"),
        "shrink": _pair(state, f"{at}output.dense"),
        "output_norm": _norm(state, f"{at}output.LayerNorm"),
        **_prefix(state, f"{at}attention.self.prefix"),
        **{
            f"{place}_{part}": _pair(state, f"{at}{name}.adapter.{part}")
            for place, name in places.items()
            for part in ("down", "up")
            if any(key.startswith(f"{at}{name}.adapter.") for key in state)
        },
    }


def _prefix(state: Mapping[str, torch.Tensor], at: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    if f"{at}.key" not in state:
        return {}
    return {"prefix": (state[f"{at}.key"], state[f"{at}.value"])}


def _refuse_other_adapters(state: Mapping[str, torch.Tensor], layers: Sequence[Mapping[str, Any]]) -> None:
    """Raise KeyError for an adapter or a prefix at a place where this forward pass would pass it by."""
    used = 2 * sum(name.endswith(("_down", "_up")) for layer in layers for name in layer)
    if used != len(found := [name for name in state if ".adapter." in name]):
        raise KeyError(f"{len(found)} tensors of adapters, {used} of them where adapters are")
    used = 2 * sum("prefix" in layer for layer in layers)
    if used != len(found := [name for name in state if ".prefix." in name]):
        raise KeyError(f"{len(found)} tensors of prefixes, {used} of them where prefixes are")


def _pair(state: Mapping[str, torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return state[f"{name}.weight"], state[f"{name}.bias"]


_norm = _pair
