"""What a drift report comes to: a sentence per figure, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mercat.audit.drift.measures import Shift
from mercat.audit.findings import Finding, Level, percent

if TYPE_CHECKING:
    from mercat.audit.drift.run import Drift

_SURE = 0.01  # six figures are looked at: one of a hundred by chance is rare enough
_BOUNDS = {  # from here on it is some, from there on much
    "labels": (0.1, 0.25),
    "confidence": (0.1, 0.2),
    "meaning": (0.65, 0.8),
    "words": (0.05, 0.15),
    "lengths": (0.2, 0.4),
    "languages": (0.1, 0.25),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole in one word, "steady", "watch" or "act", why, and what to do next."""

    word: str
    level: Level
    why: str
    next: str


def findings(drift: Drift) -> list[Finding]:
    """Return one finding per figure, in the order of the report."""
    return [*_accuracy(drift), *_answers(drift), *_texts(drift)]


def verdict(drift: Drift) -> Verdict:
    """Return what the findings come to. Length and language alone are watched; they need not hurt."""
    found = findings(drift)
    bad = [each for each in found if each.level == "bad" and each.section != "form"]
    some = [each for each in found if each.level in ("warn", "bad")]
    names = ", ".join(each.name.lower() for each in (bad or some))
    if bad:
        cure = "Label some of the incoming texts, those under 'Texts least like before' first; then mercat ingest, and "
        return Verdict("act", "bad", f"Much has changed: {names}.", f"{cure}mercat update {drift.name}.")
    if some:
        cure = f"Look at the texts least like before, and ask again soon: mercat drift {drift.name}."
        return Verdict("watch", "warn", f"Something has changed: {names}.", cure)
    return Verdict("steady", "good", "What comes in is what it learned from.", "Nothing to do.")


def _accuracy(drift: Drift) -> Iterator[Finding]:
    before, now = drift.before.accuracy, drift.now.accuracy
    if before is None or now is None:
        return
    level: Level = "bad" if now.high < before.low else "warn" if now.value < before.low else "good"
    meaning = f"of {now.n:,} labelled texts ({percent(now.low)} to {percent(now.high)}); it was {percent(before.value)}"
    yield Finding("answers", level, "Accuracy", percent(now.value), meaning)


def _answers(drift: Drift) -> Iterator[Finding]:
    most = drift.label_shares[0]
    meaning = f"most: {most.name}, {percent(most.before)} then, {percent(most.now)} now"
    level = _level("labels", drift.labels, drift.labels.value)
    yield Finding("answers", level, "Labels given", _index(drift.labels), _luck(meaning, drift.labels))
    lower = drift.now.confidence < drift.before.confidence
    level = _level("confidence", drift.confidence, drift.confidence.value)
    meaning = f"{percent(drift.before.confidence)} on average then, {percent(drift.now.confidence)} now"
    if level == "bad" and not lower:
        level, meaning = "warn", f"{meaning}: surer than before, of other texts"
    yield Finding("answers", level, "Confidence", _gap(drift.confidence), _luck(meaning, drift.confidence))


def _texts(drift: Drift) -> Iterator[Finding]:
    level = _level("meaning", drift.meaning, drift.told_apart)
    meaning = "of pairs of a text from then and one from now are told apart by their meaning; half is none"
    yield Finding("texts", level, "Meaning", percent(drift.told_apart), _luck(meaning, drift.meaning))
    more = drift.unknown_now - drift.unknown_before
    level = _level("words", drift.words, max(more, 0.0))
    meaning = f"of the words it never saw in training; it was {percent(drift.unknown_before)}"
    yield Finding("texts", level, "Unknown words", percent(drift.unknown_now), _luck(meaning, drift.words))
    for name, shift, shares in (
        ("Length", drift.lengths, drift.length_shares),
        ("Language", drift.languages, drift.language_shares),
    ):
        most = max(shares, key=lambda share: abs(share.now - share.before))
        meaning = f"most: {most.name}, {percent(most.before)} then, {percent(most.now)} now"
        level = _level(f"{name.lower()}s", shift, shift.value)
        value = _gap(shift) if name == "Length" else _index(shift)
        yield Finding("form", level, name, value, _luck(meaning, shift))


def _level(name: str, shift: Shift, size: float) -> Level:
    some, much = _BOUNDS[name]
    if shift.p > _SURE or size < some:
        return "good"
    return "bad" if size >= much else "warn"


def _luck(meaning: str, shift: Shift) -> str:
    return meaning if shift.p <= _SURE else f"{meaning}; no more than luck"


def _index(shift: Shift) -> str:
    return f"{shift.value:.2f} PSI"


def _gap(shift: Shift) -> str:
    return f"{shift.value:.2f} KS"
