from pathlib import Path

import pytest

from mercat.errors import ConfigError
from mercat_financial_sentiment.topics import Topics
from mercat_financial_sentiment.wordlist import polarity

TEXT = """
[gold]
title = { en = "Gold", zh = "黄金" }
names = ["gold", "XAU", "黄金"]
[goldman]
title = "Goldman Partners"
names = ["Goldman Partners", "Goldman"]
"""


@pytest.fixture
def topics(tmp_path: Path) -> Topics:
    path = tmp_path / "topics.toml"
    path.write_text(TEXT)
    return Topics.read(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Gold rises", ["gold"]),
        ("Goldman raises its forecast", ["goldman"]),
        ("marigold seeds", []),
        ("Goldman Partners says gold falls", ["goldman", "gold"]),
        ("今日黄金价格上涨", ["gold"]),
        ("XAU/USD and gold", ["gold"]),
        ("golden years", []),
        ("gold_futures", ["gold"]),
        ("", []),
    ],
)
def test_names_are_found_as_whole_words(topics: Topics, text: str, found: list[str]) -> None:
    assert topics.find(text) == found


def test_titles_by_language(topics: Topics) -> None:
    assert topics.title("gold", "zh") == "黄金"
    assert topics.title("goldman", "zh") == "Goldman Partners"
    assert topics.title("absent") == "absent"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a]\nnames = []", "no names"),
        ("[a]\nnames=['x']\n[b]\nnames=['X']", "stands for two topics"),
        ("a = 1", "no names"),
        ("[", "cannot be read"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "topics.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        Topics.read(path)


def test_the_word_list_is_a_baseline_in_both_languages() -> None:
    texts = [
        "Profit rose to a record",
        "The loss widened and shares fell",
        "The meeting is on Monday",
        "公司亏损并裁员",
        "利润增长",
    ]
    assert polarity(texts) == ["positive", "negative", "neutral", "negative", "positive"]
