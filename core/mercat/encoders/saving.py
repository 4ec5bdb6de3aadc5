"""Writing a fine-tuned body as a model folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mercat.pretrained.folder import ADAPTERS, VARIANT

_MODULES = "sentence_transformers.models"
_hooking = threading.Lock()


def save_body(
    module: Any,
    tokenizer: Any,
    folder: Path,
    *,
    pooling: str,
    max_tokens: int,
    query_prefix: str = "",
    document_prefix: str = "",
    lower_case: bool = False,
) -> Path:
    """Save a transformers module and its `tokenizers.Tokenizer` as a folder: safetensors, configs, tokenizer.

    The layout is that of sentence-transformers, so `Transformer.from_folder` and `SentenceTransformer` both load it;
    a body with adapters only the former (see `mercat.encoders.adapters`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with without_bars():
        _save_weights(module, folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    prompts = {"query": query_prefix, "document": document_prefix} if query_prefix or document_prefix else {}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(folder / "1_Pooling" / "config.json", _pooling(pooling, int(module.config.hidden_size)))
    _write(
        folder / "modules.json",
        [_module(0, "", "Transformer"), _module(1, "1_Pooling", "Pooling"), _module(2, "2_Normalize", "Normalize")],
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": lower_case})
    _write(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens, **_special(tokenizer)},
    )
    return folder


def _save_weights(module: Any, folder: Path) -> None:
    """Write the weights; those of adapters, which transformers would leave out in silence, into a file of their own."""
    from safetensors.torch import save_file

    from mercat.encoders.adapters import adapters_of

    adapters = adapters_of(module)
    if not adapters:
        module.save_pretrained(folder)
        return
    own = {name: tensor for name, tensor in module.state_dict().items() if name not in adapters}
    module.save_pretrained(folder, state_dict=own, variant=VARIANT)
    save_file({name: tensor.contiguous() for name, tensor in adapters.items()}, str(folder / ADAPTERS))


@contextmanager
def without_bars() -> Iterator[None]:
    """Leave out the bars that transformers draws in this thread: they would cut through the caller's progress.

    Bars of other threads, and a hook that the process has set, stay as they are; afterwards all is as before.
    """
    from transformers.utils import logging as untyped

    logging: Any = untyped
    here = threading.get_ident()

    def hook(bar: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if threading.get_ident() == here:
            return logging.EmptyTqdm(*args, **options)
        return before(bar, args, options) if before else bar(*args, **options)

    with _hooking:  # two at once would put back each other's hook
        before = logging.set_tqdm_hook(hook)
        try:
            yield
        finally:
            logging.set_tqdm_hook(before)


def _pooling(pooling: str, dimensions: int) -> dict[str, Any]:
    if pooling.startswith("token-"):  # which other libraries do not know, and so refuse
        return {"word_embedding_dimension": dimensions, "pooling_mode": pooling}
    flags = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}
    return {
        "word_embedding_dimension": dimensions,
        **{f"pooling_mode_{flag}": pooling == key for key, flag in flags.items()},
    }


def _module(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{kind}"}


def _special(tokenizer: Any) -> dict[str, str]:
    """Name the special tokens, by the spellings that BERT's and RoBERTa's families use."""
    spellings = {
        "pad_token": ("[PAD]", "<pad>"),
        "unk_token": ("[UNK]", "<unk>"),
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
        "mask_token": ("[MASK]", "<mask>"),
    }
    found = {
        key: [name for name in names if tokenizer.token_to_id(name) is not None] for key, names in spellings.items()
    }
    return {key: names[0] for key, names in found.items() if names}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
