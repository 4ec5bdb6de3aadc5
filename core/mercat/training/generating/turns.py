"""From pairs of texts to prompts and answers as the served generator will meet them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mercat.encoders.saving import without_bars
from mercat.encoders.texts import readable
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.generators.base import Generator, Prompt
from mercat.generators.folder import GeneratorFolder, rendered
from mercat.generators.local import Local
from mercat.pretrained.folder import read_json
from mercat.store import Store
from mercat.training.data import Parts, Split, part_examples, read_examples
from mercat.training.generating.answers import Turn
from mercat.values import Example

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message.content }}\n{% endfor %}"
"""The chat template of a model that had none: one line per turn, and the answer after them."""


def read_pairs(store: Store, collection: str, *, validation_share: float, test_share: float, split: Split) -> Parts:
    """Read the examples with a `text` and the answer to it as `text_pair`; no text and no group is on two sides.

    Raises DataError when there are none, or none to learn from or to choose on.
    """
    rows = read_examples(store, collection)
    pairs = [row for row in rows if row.text.strip() and row.text_pair.strip()]
    if not pairs:
        asked = f"The recipe 'generate' needs pairs of texts in the collection '{collection}'"
        raise DataError(asked, f"None of its {len(rows)} rows has a text_pair, the answer to its text", "text_pair = …")
    found = part_examples(
        pairs,
        collection,
        labels_of=lambda row: (),
        by_label=False,
        validation_share=validation_share,
        test_share=test_share,
        split=split,
        least=0,
    )
    if not (dropped := len(rows) - len(pairs)):
        return found
    return replace(found, notes=(*found.notes, f"{dropped} of {len(rows)} rows have no text or no answer"))


def source_of(generator: Generator) -> GeneratorFolder:
    """Return the folder behind a generator, with a template where a causal model has none.

    Raises ConfigError for a generator without weights here, ArtifactError for one that cannot tell how answers end.
    """
    if not isinstance(generator, Local):
        found = f"This one is {generator.info().model} ({generator.info().backend})"
        raise ConfigError(
            "Fine-tuning needs a generator with weights that can learn", found, "a section with use = 'local'"
        )
    read = generator.folder
    if not read.ends:
        raise ArtifactError(
            f"Fine-tuning the generator '{generator.model}'",
            "Its config.json has no eos_token_id: no answer could end",
            "eos_token_id = the number of the token that ends a text",
        )
    return read if read.template or read.start is not None else replace(read, template=TEMPLATE)


def turns_of(
    rows: Sequence[Example], read: GeneratorFolder, tokenizer: Any, *, system: str, max_tokens: int
) -> list[Turn | None]:
    """Return each row as tokens; None for one that is longer than `max_tokens`, prompt and answer together."""
    found: list[Turn | None] = []
    for row in rows:
        text, answer = (readable(each, len(each)) for each in (row.text, row.text_pair))
        if read.start is None:
            shown = rendered(read, Prompt(text, system=system))
            prompt = tokenizer.encode(shown, add_special_tokens=False).ids
        else:
            prompt = tokenizer.encode(text).ids
        turn = Turn(prompt, [*tokenizer.encode(answer, add_special_tokens=False).ids, _end(read, tokenizer)])
        found.append(turn if len(turn) <= max_tokens else None)
    return found


def save_generator(module: Any, tokenizer: Any, read: GeneratorFolder, folder: Path) -> None:
    """Write a model folder that the generator `local` loads, with the template by which it was trained."""
    folder.mkdir(parents=True, exist_ok=True)
    with without_bars():
        module.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {**read_json(read.folder / "tokenizer_config.json"), "chat_template": read.template or None}
    (folder / "tokenizer_config.json").write_text(json.dumps(said, indent=2), encoding="utf-8")


def _end(read: GeneratorFolder, tokenizer: Any) -> int:
    """Return the token that ends an answer: the tokenizer's own mark if it is one of several that do."""
    mark = tokenizer.token_to_id(read.marks.get("eos_token", ""))
    return int(mark) if mark in read.ends else min(read.ends)
