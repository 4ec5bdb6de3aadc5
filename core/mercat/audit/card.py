"""A model card, filled from artifact.json and from what the audit found.

Mitchell et al. 2019, "Model Cards for Model Reporting": its nine parts, in their order. What nobody wrote down is said
to be unknown, not made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mercat.audit.findings import findings, percent

if TYPE_CHECKING:
    from mercat.audit.run import Audit

_LABELS = 40


@dataclass(frozen=True, slots=True)
class CardPart:
    """One part of the card: entries of a name and the lines that belong to it."""

    title: str
    entries: tuple[tuple[str, tuple[str, ...]], ...]


def card(audit: Audit) -> list[CardPart]:
    """Return the nine parts of the card."""
    return [
        CardPart("Model details", _details(audit)),
        CardPart("Intended use", _use(audit)),
        CardPart("Factors", (("Looked at", tuple(each.column for each in audit.slices) or ("none",)),)),
        CardPart("Metrics", _metrics(audit)),
        CardPart("Evaluation data", (("Rows", (f"{audit.rows:,} of {audit.data}",)), _overlap(audit))),
        CardPart("Training data", _training(audit)),
        CardPart("Quantitative analyses", tuple((each.name, (each.value, each.meaning)) for each in findings(audit))),
        CardPart("Ethical considerations", _ethics(audit)),
        CardPart("Caveats", (("Look at", _caveats(audit)), ("Notes of training", _notes(audit)))),
    ]


def markdown(audit: Audit) -> str:
    """Return the card as Markdown, to keep beside a model."""
    lines = [f"# Model card: {audit.name} {audit.version}"]
    for part in card(audit):
        lines += ["", f"## {part.title}", ""]
        lines += [
            f"- **{name}**: {'; '.join(' '.join(each.split()) for each in values)}" for name, values in part.entries
        ]
    return "\n".join(lines) + "\n"


def _details(audit: Audit) -> tuple[tuple[str, tuple[str, ...]], ...]:
    about = audit.about
    return (
        ("Name and version", (f"{audit.name} {audit.version}, a {about['kind']}",)),
        ("Recipe", (f"{audit.recipe}, from {about['provider']}",)),
        ("Parameters", _flat(about["config"]) or ("all at their defaults",)),
        ("Encoder", (f"fingerprint {_short(about['encoder_fingerprint'])}",)),
        ("Trained", (f"{about['created_at']}, seed {about['seed']}",)),
    )


def _use(audit: Audit) -> tuple[tuple[str, tuple[str, ...]], ...]:
    names, shown = audit.labels, audit.labels[:_LABELS]
    more = (f"and {len(names) - len(shown)} more",) if len(names) > len(shown) else ()
    languages = next((each for each in audit.slices if each.column == "language"), None)
    seen = ", ".join(each.value for each in languages.slices) if languages else "one language"
    threshold = audit.calibration.threshold
    abstains = f"below a confidence of {threshold:.3f}" if threshold > 0 else "never: every text gets a label"
    return (
        ("Does", (f"gives one of {len(names)} labels to a text like those of its training",)),
        ("Labels", (", ".join((*shown, *more)),)),
        ("Abstains", (abstains,)),
        ("Not tried on", (f"texts in other languages than here ({seen}), texts that belong to no label",)),
    )


def _metrics(audit: Audit) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = audit.calibration
    return (
        ("Accuracy", (f"share of rows whose label was found, with a 95 % bootstrap interval: {found.accuracy}",)),
        ("Calibration error", (f"{len(found.bins)} bins of equal mass: {found.ece}",)),
        ("Risk against coverage", (f"area under the curve {found.aurc:.4f}",)),
        ("Coverage", (f"{percent(found.coverage.value)}, {percent(found.covered_accuracy.value)} of it right",)),
    )


def _overlap(audit: Audit) -> tuple[str, tuple[str, ...]]:
    if not audit.overlap.learned:
        return "Overlap with training", ("not known: the rows it learned from are not in the store",)
    return "Overlap with training", tuple(map(str, audit.overlap.leaks)) or ("none found",)


def _training(audit: Audit) -> tuple[tuple[str, tuple[str, ...]], ...]:
    about = audit.about
    counts = about["details"].get("counts", {})
    return (
        ("Collection", (str(about["config"].get("collection", "not known")),)),
        (
            "Rows",
            _flat({name: counts[name] for name in ("train", "validation", "test") if name in counts}) or ("unknown",),
        ),
        ("Digest", (_short(about["data_digest"]),)),
    )


def _ethics(audit: Audit) -> tuple[tuple[str, tuple[str, ...]], ...]:
    tried = tuple(
        f"{each.kind}, {each.how}: {percent(each.flips.value)} of {each.rows} labels change"
        for each in audit.swaps
        if each.rows
    )
    unknown = "who wrote the training texts and what they agreed to is not recorded in the artifact"
    return (("The same text about somebody else", tried or ("not tried",)), ("Not known", (unknown,)))


def _caveats(audit: Audit) -> tuple[str, ...]:
    found = [each for each in findings(audit) if each.level in ("warn", "bad")]
    return tuple(f"{each.name} {each.value}: {each.meaning}" for each in found) or ("nothing beyond the figures above",)


def _notes(audit: Audit) -> tuple[str, ...]:
    return tuple(map(str, audit.about["details"].get("notes", ()))) or ("none",)


def _flat(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name} {value}" for name, value in values.items())


def _short(digest: str) -> str:
    return digest[:16] or "not known"
