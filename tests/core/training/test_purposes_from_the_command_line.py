"""Tags, pairs, several labels and numbers: from a file by `mercat.toml` to answers, with the commands alone."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import mercat
from mercat.cli.app import main

CONFIG = """
[mercat]
folder = "workspace"

[encoders.default]
use = "transformer"
model = "{model}"

[sources.rows]
use = "files/jsonl"
path = "rows.jsonl"
to = "examples"
collection = "rows"
transforms = []
{source}

[recipes.learned]
encoder = "default"
collection = "rows"
validation_share = 0.2
test_share = 0.2
{recipe}

[{kind}.asked]
use = "trained"
artifact = "learned"
{part}
"""
TOPICS = (("card", "chip", "pin"), ("refund", "money", "return"))


def words(number):
    return [TOPICS[number % 2][number % 3], "please", ("my", "the", "when", "how")[number % 4], f"{number}"]


def tagged(number):
    tags = ["B-CARD" if number % 2 == 0 else "B-MONEY", "O", "O", "O"]
    return {"text": " ".join(words(number)), "tokens": words(number), "ner_tags": tags}


def paired(number):
    other = number // 2
    together = "yes" if number % 2 == other % 2 else "no"
    return {"text": " ".join(words(number)), "text_pair": " ".join(words(other)), "label": together}


def labelled(number):
    return {"text": " ".join(words(number)), "label": "card|please" if number % 2 == 0 else "refund"}


def numbered(number):
    return {"text": " ".join(words(number)), "label": str(10 * (number % 2) + number % 3)}


TUNED = "epochs = 1\nlearning_rate = 3e-3\nmax_tokens = 16\n"
CASES = {
    "tokens": (
        tagged,
        'defaults = { label = "tags" }',
        'use = "tokens"\ntags = "ner_tags"\n' + TUNED,
        "taggers",
        "",
        lambda part: part.tag_many(["my card please"]),
        ("entity_f1", "token_micro_f1", "f1.CARD", "entities of the train part"),
    ),
    "pairs": (
        paired,
        "",
        'use = "pairs"\n' + TUNED,
        "rerankers",
        "",
        lambda part: part.rerank("my card", ["the chip", "money"]).tolist(),
        ("accuracy", "auroc", "cosine of the encoder"),
    ),
    "multi-label": (
        labelled,
        "",
        'use = "multi-label"\n',
        "labellers",
        'encoder = "default"',
        lambda part: part.label_many(["my card please"])[0],
        ("micro_f1", "lrap", "f1.refund", "logistic regression per label"),
    ),
    "regression": (
        numbered,
        "",
        'use = "regression"\n',
        "regressors",
        'encoder = "default"',
        lambda part: part.estimate_many(["my card please"]),
        ("spearman", "interval_coverage", "r2", "ridge regression"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_from_a_file_to_answers(name, tmp_path, tiny_bert, monkeypatch, capsys):
    made, source, recipe, kind, part, ask, shown = CASES[name]
    with (tmp_path / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(100):
            file.write(json.dumps({"id": f"r{number:03d}", **made(number)}) + "\n")
    config = CONFIG.format(model=tiny_bert, source=source, recipe=recipe, kind=kind, part=part)
    (tmp_path / "mercat.toml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["doctor"]) in (0, 1)
    assert f"[{kind}.asked]" in capsys.readouterr().out, "the artifact has not been trained yet"
    assert main(["ingest"]) == 0
    assert main(["train"]) == 0
    assert main(["evaluate"]) == 0
    out = capsys.readouterr().out
    assert [word for word in shown if word not in out] == []
    with mercat.open(tmp_path / "mercat.toml") as app:
        assert ask(app.get(kind, "asked"))
