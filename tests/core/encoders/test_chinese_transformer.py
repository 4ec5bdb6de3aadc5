"""A real multilingual transformer: Chinese and English in one space, on both forward passes, and fine-tuned.

MERCAT_MODELS names the folder of models that holds it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.encoders.transformer import Transformer
from mercat.store import Store
from mercat.testing.training import train_in
from mercat.training.classifying.lora import Lora
from mercat.training.report import load_report
from mercat.values import Example

FOLDER = Path(os.environ.get("MERCAT_MODELS", "")) / "e5-small-zh-en"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="MERCAT_MODELS names no folder with e5-small-zh-en")

QUESTIONS = ("联名账户怎么开？", "我的银行卡丢了怎么办", "How long does a transfer abroad take?")
PASSAGES = (
    "开立联名账户需要两位持有人一起到分行办理，并带上身份证。",
    "如果银行卡遗失，请立即在手机应用里冻结卡片，然后申请补卡。",
    "境外汇款通常需要两个工作日到账。",
)


@pytest.fixture(scope="module")
def encoder():
    opened = Transformer(str(FOLDER))
    yield opened
    opened.close()


def test_questions_find_their_passages_in_and_across_languages(encoder):
    asked, found = encoder.encode(QUESTIONS, role="query"), encoder.encode(PASSAGES, role="document")
    assert (asked @ found.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert encoder.prefix("query") == "query: "
    assert encoder.prefix("document") == "passage: "


def test_both_forward_passes_agree(encoder):
    plain = Transformer(str(FOLDER), backend="torch")
    texts = [*QUESTIONS, *PASSAGES, PASSAGES[0] * 30, "x"]
    cosines = (encoder.encode(texts) * plain.encode(texts)).sum(axis=1)
    plain.close()
    assert cosines.min() > 0.9999
    assert plain.fingerprint == encoder.fingerprint


def test_it_learns_from_chinese_rows(encoder, tmp_path):
    """Complaints and praise of a shop, a few of each."""
    bad = ("包装破了", "等了两周还没到", "客服没有人回答", "颜色和图片不一样", "退款一直没有收到", "质量很差")
    good = ("很喜欢", "物流非常快", "客服耐心又专业", "和图片一样漂亮", "价格实惠", "质量很好")
    rows = [
        Example(f"{label}{number}{again}", f"{start}{text}", label, split="validation" if again == 2 else "train")
        for label, texts in (("complaint", bad), ("praise", good))
        for number, text in enumerate(texts)
        for again, start in enumerate(("", "这次购物", "总的来说，"))
    ]
    recipe = Lora(encoder, collection="intents", test_share=0, epochs=2, batch_size=8, max_tokens=32, device="cpu")
    with Store.open(f"sqlite:///{tmp_path / 'mercat.db'}") as store:
        store.upsert(rows, collection="intents")
        report = load_report(train_in(tmp_path, recipe, store=store).folder)
    assert report.metrics["accuracy"].value >= 0.9
    assert np.isfinite([epoch["train"]["loss"] for epoch in report.details["history"]]).all()
