from pathlib import Path

import pytest

from mercat.errors import ConfigError
from mercat_customer_service.replies import Replies, phrase, wants_person

TEXT = """
[variables]
days = "5"
[card]
title = { en = "My card", zh = "我的卡" }
en = ["It takes {days} days.", "Within {days} days."]
zh = "{days}天内送达。"
[refund]
en = "Order {order} is paid back."
"""


@pytest.fixture
def replies(tmp_path: Path) -> Replies:
    path = tmp_path / "replies.toml"
    path.write_text(TEXT)
    return Replies.read(path)


def test_variants_are_chosen_by_seed_and_stay(replies: Replies) -> None:
    said = {replies.render("card", "en", {}, seed=str(n)) for n in range(20)}
    assert said == {"It takes 5 days.", "Within 5 days."}
    assert len({replies.render("card", "en", {}, seed="x") for _ in range(5)}) == 1


def test_languages_and_titles(replies: Replies) -> None:
    assert replies.render("card", "zh", {}, seed="") == "5天内送达。"
    assert replies.title("card", "zh") == "我的卡"
    assert replies.title("unknown_thing", "en") == "Unknown thing"
    assert not replies.approved("card", "fr", {})


def test_a_reply_with_an_unknown_variable_is_not_said(replies: Replies) -> None:
    assert replies.render("refund", "en", {}, seed="") is None
    assert replies.render("refund", "en", {"order": "A-1"}, seed="") == "Order A-1 is paid back."


def test_a_value_is_never_a_template(replies: Replies) -> None:
    assert replies.render("refund", "en", {"order": "{days} {0}"}, seed="") == "Order {days} {0} is paid back."


@pytest.mark.parametrize(
    "body",
    ['en = "{a.b}"', 'en = "{a[0]}"', 'en = "{0}"', 'en = "{"', "en = [1]", 'en = "{}"'],
)
def test_a_wording_that_reaches_into_objects_is_refused(tmp_path: Path, body: str) -> None:
    path = tmp_path / "replies.toml"
    path.write_text(f"[bad]\n{body}\n")
    with pytest.raises(ConfigError, match="'bad'"):
        Replies.read(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not there"):
        Replies.read(tmp_path / "replies.toml")


@pytest.mark.parametrize("text", ["I want to talk to a person", "give me a HUMAN", "转人工", "我要找人工客服"])
def test_asking_for_a_person(text: str) -> None:
    assert wants_person(text)


@pytest.mark.parametrize("text", ["my card is lost", "卡丢了怎么办", "personal loan"])
def test_not_asking_for_a_person(text: str) -> None:
    assert not wants_person(text)


def test_the_desk_speaks_both_languages() -> None:
    assert phrase("rephrase", "zh") != phrase("rephrase", "en")
    assert phrase("rephrase", "fr") == phrase("rephrase", "en")
