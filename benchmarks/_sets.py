"""The parts of public sets whose split is a rule rather than a column."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from benchmarks.frame import Context
from mercat.values import Example


def phrasebank(context: Context) -> list[Example]:
    """Financial PhraseBank, all 4,846 sentences, in the split of the finBERT script: 3,488 / 388 / 970 rows, seed 0."""
    from sklearn.model_selection import train_test_split

    rows = context.read("financial-phrasebank", "financial_phrasebank.csv.gz")
    learn, test = train_test_split(range(len(rows)), test_size=0.2, random_state=0)
    train, validation = train_test_split(learn, test_size=0.1, random_state=0)
    parts = dict.fromkeys(train, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    return [Example(f"{at:06d}", row["text"], row["label"], split=parts[at]) for at, row in enumerate(rows)]


def sst2(context: Context) -> list[Example]:
    """SST-2, whole sentences: 6,920 / 872 / 1,821 rows."""
    return [
        Example(f"{at:06d}", row["text"], row["label"], split={"valid": "validation"}.get(row["split"], row["split"]))
        for at, row in enumerate(context.read("sst"))
        if row["label"]
    ]


def finfe(context: Context) -> list[Example]:
    """FinFE: the published validation rows whose text train lacks are the test; a tenth of train's texts validates."""
    rows = context.read("fincuge-finfe", "finfe.csv.gz")
    held = held_out([row["text"] for row in rows if row["split"] == "train"])
    found = []
    for at, row in enumerate(rows):
        if row["split"] != "train" and row["in_train"] == "True":
            continue
        split = "test" if row["split"] != "train" else "validation" if row["text"] in held else "train"
        found.append(Example(f"{at:06d}", row["text"], row["label"], split=split))
    return found


def held_out(texts: Sequence[str]) -> set[str]:
    """Return a tenth of the distinct texts, drawn with seed 0."""
    distinct = sorted(set(texts))
    Random(0).shuffle(distinct)
    return set(distinct[: len(distinct) // 10])
