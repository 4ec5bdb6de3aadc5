"""How near the vectors of another forward pass come to those of the original, on texts that are always the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids, plan

LEAST = {"": 0.999, "int8": 0.98}
"""The least cosine to the original that a text may have, by what the weights were quantised to."""

_ENGLISH = (
    "refund",
    "Where is my card?",
    "My card has not arrived after two weeks, and nobody answers the phone.",
    "The company expects net sales of EUR 12.5 million in 2027, down 8 % from last year.",
    "Please cancel order #4471-B and pay the money back to the account that I paid from, not to the card.",
    "Shares fell sharply after the chief executive resigned, although profit had beaten every forecast.",
)
_CHINESE = (
    "退款",
    "我的银行卡还没有到，怎么办？",
    "公司预计二〇二七年净销售额同比下降百分之八，但现金流仍然充足。",
    "我上周买的鞋子尺码不对，想换大一号，可是网页一直显示系统繁忙，请问应该怎么处理？",
)
_LONG = "The parcel that I ordered last week has still not arrived, and the page shows nothing. "
_LONG_CHINESE = "央行今日宣布下调存款准备金率，市场普遍认为这将支持实体经济，但也有分析师担心通胀压力。"
TEXTS = (
    *_ENGLISH,
    *_CHINESE,
    *(_LONG * times for times in (3, 9, 40)),
    *(_LONG_CHINESE * times for times in (2, 5, 30)),
    "".join(_ENGLISH[:3]) + _CHINESE[1],
)

Forward = Callable[[Sequence[Ids]], Vectors]


def parity(rows: Sequence[Ids], *, original: Forward, other: Forward) -> dict[str, float]:
    """Return the least and the mean cosine between two forward passes over rows of token ids, and how many rows.

    The original takes each row alone. The other takes each alone and then all in batches as `encode` makes them, with
    padding; the worse of both counts.
    """
    wanted = np.concatenate([original([row]) for row in rows])
    alone = np.concatenate([other([row]) for row in rows])
    together = np.empty_like(alone)
    for batch in plan([len(row) for row in rows], budget=1024):
        together[batch] = other([rows[at] for at in batch])
    cosines = np.minimum(_cosines(wanted, alone), _cosines(wanted, together))
    return {"least": float(cosines.min()), "mean": float(cosines.mean()), "texts": len(rows)}


def _cosines(one: Vectors, other: Vectors) -> Vectors:
    """Return shape (rows,). What is no number is as far away as can be."""
    found: Vectors = np.sum(one * other, axis=1) / np.maximum(np.linalg.norm(other, axis=1), 1e-12)
    return np.where(np.isfinite(found), found, np.float32(-1))
