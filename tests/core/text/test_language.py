import csv
import gzip
import os
from pathlib import Path

import pytest

from mercat.text import detect

DATA = os.environ.get("MERCAT_DATA", "")  # a folder of public data sets


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my card?", "en"),
        ("refund please", "en"),
        ("我的卡还没有到", "zh"),
        ("请问iPhone 15 Pro Max怎么退货", "zh"),
        ("I live in 北京 now and like it", "en"),
        ("カードが届きません", "ja"),
        ("카드가 아직 안 왔어요", "ko"),
        ("Где моя карта?", "ru"),
        ("Wo ist meine Karte und wann kommt sie?", "de"),
        ("Où est ma carte et pourquoi n'est-elle pas là ?", "fr"),
        ("¿Dónde está mi tarjeta y por qué no llega?", "es"),
        ("Dov'è la mia carta e perché non è arrivata?", "it"),
        ("Onde está o meu cartão? Ainda não chegou", "pt"),
        ("Waar is mijn kaart en wanneer komt het?", "nl"),
        ("أين بطاقتي؟", "ar"),
        ("", ""),
        ("12345 !!!", ""),
        ("Zürich", ""),
    ],
)
def test_language_of_short_texts(text, language):
    assert detect(text) == language


@pytest.mark.parametrize(
    ("file", "language", "share"),
    [("banking77/banking77.csv.gz", "en", 0.985), ("bq-corpus/bq_corpus.csv.gz", "zh", 0.99)],
)
def test_share_of_real_questions(file, language, share):
    path = Path(DATA, file)
    if not DATA or not path.is_file():
        pytest.skip(f"MERCAT_DATA names no folder with {file}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [next(iter(row.values())) for row, _ in zip(csv.DictReader(lines), range(3000))]
    found = sum(detect(text) == language for text in texts) / len(texts)
    print(f"{file}: {found:.4f}")
    assert found >= share
