"""Bring the public sets of the demo into the columns of the sample files: BANKING77, PhraseBank, gold news, MovieLens.

Nothing of them is shipped; `--data` names a folder that holds them as gzip-compressed CSV files.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mercat.errors import DataError

FILES = {
    "banking77": "banking77.csv.gz",
    "financial-phrasebank": "financial_phrasebank.csv.gz",
    "gold-commodity-news": "gold_commodity_news.csv.gz",
    "movielens-100k": "ratings.csv.gz",
}


def write_public_data(data: Path, folder: Path) -> None:
    """Write questions.csv, sentences.csv, news.csv, items.csv and events.csv into `folder`."""
    for name, file in FILES.items():
        if not (data / name / file).is_file():
            raise DataError(f"The demo reads {name} from {data}", f"{data / name / file} is not there", "mercat demo")
    _write(folder / "questions.csv", ("text", "label", "split"), _banking77(data))
    _write(folder / "sentences.csv", ("id", "text", "label", "split"), _phrasebank(data))
    _write(folder / "news.csv", ("id", "published_at", "title", "text", "url", "locale"), _gold_news(data))
    _write(folder / "items.csv", ("id", "title", "text", "category", "locale"), _movies(data))
    _write(folder / "events.csv", ("id", "user_id", "item_id", "kind", "at", "weight"), _ratings(data))


def _banking77(data: Path) -> Iterator[Sequence[str]]:
    """The official split; the recipe takes a stratified tenth of train as validation."""
    for row in _read(data / "banking77" / FILES["banking77"]):
        yield row["text"], row["label"].lower(), row["split"]


def _phrasebank(data: Path) -> Iterator[Sequence[str]]:
    """The split of the finBERT script (Araci 2019) on all 4,846 sentences: 3,488 / 388 / 970, seed 0, in file order."""
    from sklearn.model_selection import train_test_split

    rows = list(_read(data / "financial-phrasebank" / FILES["financial-phrasebank"]))
    learn, test = train_test_split(range(len(rows)), test_size=0.2, random_state=0)
    train, validation = train_test_split(learn, test_size=0.1, random_state=0)
    splits = dict.fromkeys(train, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    for number, row in enumerate(rows):
        yield f"p{number:05d}", row["text"], row["label"], splits[number]


def _gold_news(data: Path) -> Iterator[Sequence[str]]:
    """The headlines that have a date, at an hour drawn from seed 0, as the source has days only."""
    hours = random.Random(0)
    for number, row in enumerate(_read(data / "gold-commodity-news" / FILES["gold-commodity-news"])):
        if row["date"]:
            at = f"{row['date']}T{hours.randint(7, 20):02d}:00:00+00:00"
            yield f"g{number:05d}", at, row["text"], row["text"], row["url"], "en"


def _movies(data: Path) -> Iterator[Sequence[str]]:
    for row in _read(data / "movielens-100k" / "items.csv.gz"):
        genres = row["category"].replace("|", ", ")
        yield row["item_id"], row["title"], f"{row['title']}. {genres}", row["category"], "en"


def _ratings(data: Path) -> Iterator[Sequence[str]]:
    for number, row in enumerate(_read(data / "movielens-100k" / FILES["movielens-100k"])):
        yield f"r{number:06d}", row["user_id"], row["item_id"], "rate", row["timestamp"], row["rating"]


def _read(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
