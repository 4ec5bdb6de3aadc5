"""A whole audit: what it concludes, what it writes, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from audited import LABELS, TEXTS, artifact, made_audit, scores

from mercat.audit import Audit, Sizes, Subject, as_data, audit, card, findings, save, subject_of
from mercat.audit.card import markdown
from mercat.audit.gradients import gradients_of
from mercat.audit.page import page
from mercat.audit.pictures import ticks, track
from mercat.errors import ConfigError, DataError
from mercat.heads import LinearHead
from mercat.training.classifying.classifier import Scorer
from mercat.training.progress import silent
from mercat.values import Example

AT = datetime(2026, 1, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def made() -> Audit:
    return made_audit()


def of_rows(rows: Sequence[Example], scorer: Scorer | None = None) -> Audit:
    given = Subject(artifact(), scorer or Scorer(LABELS, scores), rows, "rows.csv", {})
    return audit(given, made_at=AT, sizes=Sizes(explained=2, changed=20, swapped=20))


def test_planted_faults_are_the_findings(made: Audit) -> None:
    found = {each.name: each for each in findings(made)}
    assert (found["Largest gap"].level, found["Largest gap"].meaning.partition(":")[0]) == ("bad", "branch")
    assert (found["Most harmful change"].level, found["Most harmful change"].meaning[:10]) == ("bad", "upper case")
    assert (found["Leaks from training"].level, found["Leaks from training"].value) == ("bad", "24")
    assert found["Calibration error"].level in ("warn", "bad")
    assert "too modest" in found["Calibration error"].meaning
    assert found["Suspect labels"].value == str(made.suspects.count)
    assert {each.given for each in made.suspects.suspects} <= set(LABELS)


def test_the_same_seed_gives_the_same_audit(made: Audit) -> None:
    assert as_data(made_audit()) == as_data(made)


def test_a_classifier_without_faults_has_no_concerns() -> None:
    def sure(texts: Sequence[str]) -> np.ndarray:
        known = {text.lower()[:12]: label for text, label in TEXTS}
        found = [next((label for start, label in known.items() if start in text.lower()), 0) for text in texts]
        return (np.eye(3)[found] * 0.997 + 0.001).astype(np.float32)

    rows = [Example(str(at), f"{text} ({at})", LABELS[label]) for at, (text, label) in enumerate(TEXTS * 4)]
    found = {each.name: each.level for each in findings(of_rows(rows, Scorer(LABELS, sure)))}
    assert found["Calibration error"] == found["Suspect labels"] == "good"
    assert found["Leaks from training"] == "info"  # nothing to compare with, and said so


def test_the_data_is_json_by_the_letter(made: Audit, tmp_path: Path) -> None:
    save(made, tmp_path / "deep" / "er")
    text = (tmp_path / "deep" / "er" / "audit.json").read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert data["explained"]["gap"] is None
    assert data["made_at"] == "2026-01-03T12:00:00+00:00"
    assert data["about"]["data_digest"] == "def456"
    assert [part["title"] for part in data["card"]] == [
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats",
    ]


def test_the_card_says_what_is_known_and_what_is_not(made: Audit) -> None:
    parts = {part.title: dict(part.entries) for part in card(made)}
    assert parts["Training data"]["Rows"] == ("train 800", "validation 120")
    assert parts["Intended use"]["Abstains"] == ("below a confidence of 0.450",)
    assert parts["Caveats"]["Notes of training"] == ("A note of training",)
    assert any("upper case" in line for line in parts["Caveats"]["Look at"])
    bare = dataclasses.replace(made, about={**made.about, "details": {}, "config": {}, "encoder_fingerprint": ""})
    parts = {part.title: dict(part.entries) for part in card(bare)}
    assert parts["Training data"]["Rows"] == ("unknown",)
    assert parts["Model details"]["Encoder"] == ("fingerprint not known",)
    assert markdown(made).startswith("# Model card: intents 0003\n")
    assert "- **Rows**: train 800; validation 120\n" in markdown(made)


def test_texts_are_shown_and_never_run() -> None:
    hostile = '<script>alert(1)</script> "card" & \' lost'
    rows = [Example(str(at), f"{hostile} {at}", LABELS[at % 2], metadata={"<b>": f"<i>{at % 2}"}) for at in range(20)]
    shown = page(of_rows(rows, Scorer((*LABELS[:2], "<u>"), scores)))
    assert "<script" not in shown
    assert "&lt;b&gt;" in shown
    assert "<i>0" not in shown
    assert "<u>" not in shown
    assert "&lt;i&gt;0" in shown


def test_one_row_of_one_word_can_be_audited() -> None:
    found = of_rows([Example("1", "card", LABELS[0])])
    assert found.explained is None
    assert found.slices == ()
    assert "Explanation to trust" not in {each.name for each in findings(found)}
    assert "No text has two words" in page(found)


def test_what_cannot_be_audited_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There are none in"):
        of_rows([])
    with pytest.raises(DataError, match="has none of its labels"):
        of_rows([Example("1", "card", "unheard of")])
    with pytest.raises(ConfigError, match="at least one"):
        Sizes(explained=0)
    with pytest.raises(ConfigError, match="needs a text classifier"):
        subject_of(object(), artifact(), None, scratch=tmp_path, progress=silent)  # type: ignore[arg-type]


def test_gradients_are_of_the_body_that_the_head_was_fitted_with(tiny_bert: Path, tmp_path: Path) -> None:
    from mercat.encoders.hashing import Hashing
    from mercat.encoders.transformer import Transformer

    shutil.copytree(tiny_bert, tmp_path / "encoder")
    (tmp_path / "head").mkdir()
    body = Transformer.from_folder(tmp_path / "encoder")
    weights = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    head = LinearHead(LABELS, weights, np.zeros(3, dtype=np.float32), body.fingerprint)
    head.save(tmp_path / "head")
    gradients = gradients_of(tmp_path, None)
    assert gradients is not None
    given = Subject(
        artifact(), Scorer(LABELS, lambda texts: head.scores(body.encode(texts, role="query"))), [], "x", {}
    )
    rows = [Example(str(at), "a b c d", LABELS[at % 3]) for at in range(3)]
    found = audit(dataclasses.replace(given, rows=rows, gradients=gradients), made_at=AT, sizes=Sizes(changed=3))
    assert found.explained is not None
    assert "integrated gradients" in found.explained.texts[0].weights
    assert found.explained.gap < 0.01
    shutil.rmtree(tmp_path / "encoder")
    assert gradients_of(tmp_path, Hashing()) is None
    assert gradients_of(tmp_path, Transformer.from_folder(tiny_bert)) is not None
    assert gradients_of(tmp_path / "nothing", None) is None


def test_ticks_are_round_and_tracks_stay_on_the_page() -> None:
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.5, 1.0) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert ticks(0.0, 0.023) == [0.0, 0.005, 0.01, 0.015, 0.02]
    assert 'cx="50.00%"' in track(0.5, 0.4, 0.6)
    assert 'x2="100.00%"' in track(0.9, 0.8, 1.7)
