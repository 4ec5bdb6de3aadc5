"""How alike two texts are, by the character n-grams that they share: of use in any language, with or without spaces."""

from __future__ import annotations

from collections import Counter

_LONGEST = 6
_RECALL = 2.0  # how much more recall counts than precision


def chrf(found: str, wanted: str) -> float:
    """Return chrF of one text from 0 to 1, after Popović 2015, https://aclanthology.org/W15-3049.

    Precision and recall of n-grams up to 6 characters, without white space, each averaged over the lengths that either
    text has; recall counts twice. Two empty texts are alike.
    """
    left, right = ("".join(text.split()) for text in (found, wanted))
    if not left and not right:
        return 1.0
    precisions, recalls = [], []
    for size in range(1, min(_LONGEST, max(len(left), len(right))) + 1):
        ours, theirs = _grams(left, size), _grams(right, size)
        shared = (ours & theirs).total()
        precisions.append(shared / ours.total() if ours else 0.0)
        recalls.append(shared / theirs.total() if theirs else 0.0)
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if not precision + recall:
        return 0.0
    return (1 + _RECALL**2) * precision * recall / (_RECALL**2 * precision + recall)


def _grams(text: str, size: int) -> Counter[str]:
    return Counter(text[at : at + size] for at in range(len(text) - size + 1))
