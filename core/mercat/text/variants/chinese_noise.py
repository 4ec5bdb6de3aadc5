"""Slips of Chinese input: characters of the same sound, as a pinyin keyboard offers, and characters that look alike.

Written for this project, simplified characters; tones may differ, as they do on a keyboard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SAME_SOUND = (
    "的地得",
    "是事市式",
    "在再",
    "做作坐",
    "他她它",
    "我握",
    "卡咖",
    "钱前",
    "行形型",
    "账帐涨",
    "转赚",
    "支只之知",
    "付负副",
    "款宽",
    "请情清",
    "问文",
    "号好",
    "码马",
    "密蜜",
    "信新心",
    "用佣",
    "换还",
    "退腿",
    "货或",
    "快块",
    "发法",
    "票飘",
    "股古",
    "价加家",
    "公工功",
    "司思",
    "买卖",
    "很狠",
    "怎咋",
    "么没",
    "为未位",
    "有友又",
    "没美",
    "到道",
    "已以",
    "经京",
    "可课",
    "时十石",
    "间见",
    "电店点",
    "话化",
    "手首",
    "机基",
    "银音",
    "被备",
    "需须",
    "气汽",
    "应营",
    "意义",
)
LOOKS_ALIKE = (
    "己已巳",
    "未末",
    "土士",
    "日曰目",
    "人入八",
    "大太犬",
    "天夭",
    "千干于",
    "王玉主",
    "由甲申",
    "午牛",
    "刀力",
    "几儿",
    "贝见",
    "今令",
    "免兔",
    "卡下",
    "折拆",
    "拨拔",
    "侯候",
    "账胀",
    "贷货",
    "徽微",
    "晴睛",
    "情清请",
    "银很",
    "钱线",
    "换唤",
    "还坏",
    "话活",
    "问间",
    "特持",
    "准淮",
    "没设",
    "体休",
    "住往",
    "处外",
    "帐怅",
    "开井",
    "用甩",
    "办为",
    "我找",
    "的约",
    "什仕",
    "么公",
    "怎作",
    "被披",
    "卖买",
    "股服",
)
_EVERY = 6


def homophone(text: str, chance: np.random.Generator) -> str:
    """Return the text with one listed character in six, at least one, turned into another of the same sound."""
    return _noisy(text, _SOUND, chance)


def lookalike(text: str, chance: np.random.Generator) -> str:
    """Return the text with one listed character in six, at least one, turned into one that looks like it."""
    return _noisy(text, _LOOK, chance)


def _table(groups: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for group in groups:
        for character in group:
            found[character] = found.get(character, "") + group.replace(character, "")
    return found


_SOUND, _LOOK = _table(SAME_SOUND), _table(LOOKS_ALIKE)


def _noisy(text: str, table: Mapping[str, str], chance: np.random.Generator) -> str:
    places = [at for at, character in enumerate(text) if character in table]
    if not places:
        return text
    characters = list(text)
    for place in chance.choice(places, size=max(1, len(places) // _EVERY), replace=False):
        others = table[characters[place]]
        characters[place] = others[int(chance.integers(len(others)))]
    return "".join(characters)
