"""Write items.csv and events.csv: an invented shop with invented customers. The same files every time.

python plugins/recommendation/mercat_recommendation/demo/make.py
"""
# ruff: noqa: E501 (one line per handful of products)

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS, USERS, EVENTS = 60, 150, 3_000

# category: (usual price, descriptions to choose from, titles; a title with | is Chinese with its own description)
SHOP: dict[str, tuple[float, tuple[str, ...], tuple[str, ...]]] = {
    "tea": (12, ("Loose leaf, picked in spring", "A mild cup for the afternoon", "Packed in a small tin"), (
        "Fernhill Green Tea", "Lindmoor Oolong", "Smoky Harbour Black Tea", "Quiet Evening Chamomile",
        "Jasmine Terrace Tea", "Roasted Rice Tea", "Mint and Lemon Leaves", "Old Garden White Tea",
        "云岭龙井茶|明前采摘的散装绿茶，清香回甘", "茉莉花茶|夜里窨制的花茶，香气柔和")),
    "coffee": (16, ("Whole beans, medium roast", "Roasted each Tuesday", "Notes of cocoa and hazelnut"), (
        "Dockside Espresso Beans", "Morning Filter Blend", "Single Farm Arabica", "Decaf Sunday Roast",
        "Cold Brew Pouches", "Steel Pour-Over Cone", "Hand Coffee Grinder", "Enamel Moka Pot",
        "手冲咖啡壶|细口壶，水流稳定", "云南小粒咖啡豆|中度烘焙，带有坚果香")),
    "kitchen": (28, ("Made to last, easy to wash", "For small kitchens", "Oiled beech wood"), (
        "Beech Chopping Board", "Cast Iron Skillet", "Copper Mixing Bowl", "Long Bread Knife", "Salt Cellar with Lid",
        "Linen Oven Glove", "Stackable Jars", "Wooden Spoon Trio", "竹制蒸笼|两层竹蒸笼，适合点心", "铸铁小锅|受热均匀的小炖锅")),
    "garden": (19, ("Grows well on a balcony", "For the first warm days", "Hardy and easy to keep"), (
        "Balcony Herb Seeds", "Copper Watering Can", "Tomato Seed Mix", "Folding Pruning Saw", "Clay Plant Pots",
        "Wildflower Meadow Mix", "Canvas Garden Gloves", "Slow Compost Bin", "阳台香草种子|罗勒、薄荷与百里香", "陶土花盆|透气的手工花盆")),
    "stationery": (9, ("Smooth paper that takes ink", "Bound by hand", "Fits a coat pocket"), (
        "Dotted Pocket Notebook", "Brass Fountain Pen", "Blue Black Ink", "Weekly Desk Planner", "Cotton Letter Paper",
        "Mechanical Pencil", "Watercolour Postcards", "Linen Bookmark", "宣纸信笺|适合毛笔与钢笔", "黄铜书签|刻有兰花的书签")),
    "outdoor": (55, ("Light enough for a long walk", "Keeps dry in the rain", "Tested in the hills"), (
        "Two Day Backpack", "Ridge Rain Jacket", "Wool Hiking Socks", "Titanium Camp Mug", "Folding Camp Stove",
        "Trail Head Torch", "Three Season Sleeping Bag", "Walking Poles", "轻量登山包|三十升，适合周末徒步", "露营折叠椅|收起只有水瓶大小")),
    "books": (21, ("A quiet story for winter", "With drawings by the author", "Clothbound edition"), (
        "The Lighthouse Ledger", "Maps of Small Rivers", "A Year of Soups", "The Beekeeper's Clock", "Walking the Salt Road",
        "Night Trains", "The Invented Alphabet", "Notes on Moss", "山中来信|关于四季与茶园的散文", "河流的地图|写给旅人的小书")),
    "home": (34, ("Soft light and warm colours", "Woven in a small workshop", "For a calm corner"), (
        "Wool Throw Blanket", "Beeswax Candles", "Oak Picture Frame", "Linen Curtains", "Rattan Laundry Basket",
        "Paper Lamp Shade", "Cork Coasters", "Feather Cushion", "亚麻抱枕|柔软透气的沙发靠枕", "手工蜂蜡蜡烛|燃烧缓慢，气味清淡")),
    "music": (48, ("Set up and tuned", "For practice at home", "A warm, round tone"), (
        "Travel Ukulele", "Kalimba in C", "Bamboo Flute", "Practice Drum Pad", "Clip-on Tuner", "Folding Music Stand",
        "Harmonica in G", "Cedar Guitar Strings", "竹笛|苦竹制作，适合初学", "拇指琴|十七音，音色清亮")),
    "cycling": (38, ("Fits most bicycles", "Bright and waterproof", "For every day in town"), (
        "Rear Pannier Bag", "Dynamo Front Light", "Brass Bicycle Bell", "Puncture Kit", "Rain Cape", "Cork Handlebar Tape",
        "Compact Floor Pump", "Reflective Vest", "自行车铃|黄铜车铃，声音清脆", "防水驮包|卷口设计，二十升")),
    "toys": (17, ("From four years on", "Painted with plant colours", "For two rainy afternoons"), (
        "Wooden Train Set", "Marble Run", "Felt Finger Puppets", "River Stones Game", "Animal Memory Cards", "Stacking Boats",
        "Kite with Long Tail", "Origami Paper Box", "木制积木|六十块榉木积木", "纸鸢|竹骨风筝，适合春天")),
    "bath": (11, ("Gentle on skin", "No perfume", "Made in small batches"), (
        "Olive Oil Soap", "Bath Salt with Rosemary", "Boar Bristle Brush", "Cotton Waffle Towel", "Sugar Body Scrub",
        "Bamboo Toothbrush", "Shea Hand Balm", "Cedar Shaving Soap", "桂花手工皂|冷制皂，温和洁净", "竹炭毛巾|吸水速干")),
}  # fmt: skip
LATE = 12  # items that come in during the 60 days
MOST = 60  # items that one customer looks at, about


def items(rng: np.random.Generator) -> list[dict[str, str]]:
    """Return the products; some arrive late, the last three after all events that touch products."""
    rows: list[dict[str, str]] = []
    born: list[datetime] = []
    for category, (usual, texts, titles) in SHOP.items():
        for title in titles:
            name, _, own = title.partition("|")
            first, second = rng.choice(len(texts), 2, replace=False)
            text = own or f"{texts[first]}. {texts[second]}."
            born.append(START - timedelta(days=int(rng.integers(10, 200))))
            rows.append(
                {
                    "id": f"p{len(rows) + 1:03d}",
                    "title": name,
                    "text": text,
                    "locale": "zh" if own else "en",
                    "published_at": "",
                    "category": category,
                    "price": f"{usual * float(np.exp(rng.normal(0, 0.35))):.2f}",
                    "stock": str(int(rng.integers(1, 80))),
                }
            )
    for place, number in enumerate(rng.choice(len(rows), LATE, replace=False)):
        born[number] = START + timedelta(days=5 + place * 5 if place < LATE - 3 else DAYS - 1)
    for number in rng.choice(len(rows), 4, replace=False):
        rows[number]["stock"] = "0"
    return [{**row, "published_at": at.isoformat()} for row, at in zip(rows, born, strict=True)]


def events(products: list[dict[str, str]], rng: np.random.Generator) -> list[dict[str, str]]:
    """Return sessions of users who like two categories, a price level and what is in fashion that week."""
    categories = list(SHOP)
    of = np.array([categories.index(row["category"]) for row in products])
    logs = np.log([float(row["price"]) / SHOP[row["category"]][0] for row in products])
    born = np.array(
        [(datetime.fromisoformat(row["published_at"]) - START).total_seconds() / 86_400 for row in products]
    )
    appeal = rng.normal(0, 0.8, len(products))
    taste = rng.dirichlet(np.full(len(categories), 0.22), USERS)
    pocket = rng.normal(0, 0.35, USERS)
    busy = rng.gamma(1.2, 1.0, USERS)
    seen: list[set[int]] = [set() for _ in range(USERS)]
    rows: list[tuple[float, int, int, str, str]] = []
    while len(rows) < EVENTS:
        user, day = int(rng.choice(USERS, p=busy / busy.sum())), float(rng.uniform(0, DAYS))
        if len(seen[user]) > MOST:
            continue
        at, session = day, f"s{len(rows):05d}"
        fashion = 0.9 * np.cos(2 * np.pi * (day / 30 + np.arange(len(products)) * 0.37))
        for _ in range(int(rng.integers(1, 6))):
            liking = 1.6 * np.log(taste[user, of] + 0.004) + appeal + fashion - 1.5 * np.abs(logs - pocket[user])
            liking[(born > at) | np.isin(np.arange(len(products)), list(seen[user]))] = -np.inf
            chances = np.exp(liking - liking.max())
            item = int(rng.choice(len(products), p=chances / chances.sum()))
            seen[user].add(item)
            kind = str(rng.choice(["view", "click", "cart", "buy"], p=[0.5, 0.28, 0.1, 0.12]))
            rows.append((at, user, item, kind, session))
            at += float(rng.uniform(0.0005, 0.004))
    return [
        {
            "id": f"e{number:05d}",
            "user_id": f"u{user + 1:03d}",
            "item_id": products[item]["id"],
            "kind": kind,
            "at": (START + timedelta(days=at)).isoformat(timespec="seconds"),
            "session": session,
        }
        for number, (at, user, item, kind, session) in enumerate(sorted(rows)[:EVENTS])
    ]


def write(name: str, rows: list[dict[str, str]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    rng = np.random.default_rng(20260105)
    products = items(rng)
    write("items.csv", products)
    write("events.csv", events(products, rng))


if __name__ == "__main__":
    main()
