"""What is said about a whole ranking: that it is only what is popular, what was not found, why it is short."""

from __future__ import annotations

from collections.abc import Mapping

from mercat_recommendation.reasons import texts_for

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "stranger": "Nothing is known of '{user}': this is what is popular",
        "nothing": "Nothing was touched yet: this is what is popular",
        "unknown": "{count} of the items given are not in the catalogue",
        "fewer": "{found} of {k} items: {why}",
        "no more": "the catalogue has no more",
        "between": ", ",
        "seen": "{count} seen already",
        "not yet there": "{count} not yet there",
        "out of stock": "{count} out of stock",
        "blocked": "{count} blocked",
        "filters": "{count} outside the filters",
    },
    "zh": {
        "stranger": "对“{user}”还一无所知：以下是热门商品",
        "nothing": "尚未点击任何商品：以下是热门商品",
        "unknown": "给出的商品中有 {count} 件不在目录中",
        "fewer": "{k} 件中只有 {found} 件：{why}",
        "no more": "目录中没有更多商品",
        "between": "，",
        "seen": "{count} 件已看过",
        "not yet there": "{count} 件尚未上架",
        "out of stock": "{count} 件缺货",
        "blocked": "{count} 件被屏蔽",
        "filters": "{count} 件不符合筛选条件",
    },
}
"""Notes by language; a locale of another language gets English. The keys from `seen` on are rules of the service."""


def left_out(removed: Mapping[str, int], *, locale: str = "") -> str:
    """Return in one line how many items each rule took out; "" where none did."""
    said = texts_for(locale, TEXTS)
    return said["between"].join(said[rule].format(count=count) for rule, count in removed.items())


def notes_for(
    *, user: str, own: int, found: int, wanted: int, removed: Mapping[str, int], unknown: int, locale: str = ""
) -> list[str]:
    """Return what is to be said of a ranking of `found` items.

    `user` is "" for a visitor; `own` counts the known items of theirs that have influence, `wanted` the items asked
    for, `removed` what each rule took out, and `unknown` the items given that are not in the catalogue.
    """
    said = texts_for(locale, TEXTS)
    notes = []
    if not own:
        notes.append(said["stranger"].format(user=user) if user else said["nothing"])
    if unknown:
        notes.append(said["unknown"].format(count=unknown))
    if found < wanted:
        why = left_out(removed, locale=locale) or said["no more"]
        notes.append(said["fewer"].format(found=found, k=wanted, why=why))
    return notes
