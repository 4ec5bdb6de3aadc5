"""Write sentences.csv and news.csv: fictional, and the same bytes every time."""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).parent
START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 60
COMPANIES = {
    "tidewater-energy": ("Tidewater Energy", "潮汐能源"),
    "halden-robotics": ("Halden Robotics", "哈尔登机器人"),
    "lumen-foods": ("Lumen Foods", "流明食品"),
    "nordwind-steel": ("Nordwind Steel", "北风钢铁"),
    "donghai-electronics": ("Donghai Electronics", "东海电子"),
}
SOURCES = ("Harbour Wire", "The Ledger", "Morning Exchange", "Market Post", "City Courier")
ENGLISH = {
    "positive": (
        "{c} raised its profit by {n} percent in the third quarter.",
        "Net sales of {c} grew to {m} million from {k} million a year earlier.",
        "{c} wins an order worth {m} million from a large customer.",
        "Shares of {c} climb {n} percent after strong results.",
        "{c} lifts its outlook for the full year.",
        "Operating margin at {c} improved markedly, the company said.",
        "{c} beats expectations with record earnings.",
        "Analysts upgrade {c} to buy on rising demand.",
        "The new plant of {c} will create {m} jobs and is ahead of schedule.",
        "{c} swings to a profit after two years of losses.",
        "Customers praise the latest product of {c}, demand exceeds supply.",
        "{c} increases its dividend by {n} percent.",
        "{c} gains market share in three regions.",
        "Debt of {c} fell sharply thanks to higher cash flow.",
        "{c} secures a long-term contract with a leading retailer.",
        "Order backlog at {c} reached an all-time high of {m} million.",
        "A rating agency raises the credit rating of {c}.",
        "{c} reports faster growth than its rivals.",
        "Productivity gains help {c} to cut costs and widen margins.",
        "{c} settles its dispute on favourable terms.",
        "Strong exports push revenue of {c} to {m} million.",
        "{c} opens a successful store format in {n} more cities.",
        "Investors welcome the turnaround at {c}.",
        "Innovation prize goes to {c} for an efficient design.",
    ),
    "negative": (
        "{c} lowered its profit forecast for the year.",
        "Net sales of {c} fell to {k} million from {m} million a year earlier.",
        "{c} loses its largest customer to a rival.",
        "Shares of {c} tumble {n} percent after weak figures.",
        "{c} recalls products over a safety defect.",
        "Regulators open an investigation into {c}.",
        "{c} cuts {m} jobs as orders collapse.",
        "The chief executive of {c} resigns amid allegations of fraud.",
        "{c} misses expectations and reports a loss of {m} million.",
        "Analysts downgrade {c} to sell because of mounting debt.",
        "A fire halts production at {c} for weeks.",
        "{c} is sued by investors over misleading statements.",
        "{c} suspends its dividend to preserve cash.",
        "Suppliers demand payment in advance from {c}.",
        "{c} warns of a shortfall in the coming quarter.",
        "A data breach exposes customers of {c}.",
        "{c} writes down assets worth {m} million.",
        "Workers at {c} strike over unpaid wages.",
        "A court fines {c} {m} million for pollution.",
        "{c} delays the launch of its key product again.",
        "Creditors refuse to extend the loans of {c}.",
        "Market share of {c} shrank for the third year.",
        "A rating agency cuts {c} to junk.",
        "Costs rise faster than revenue at {c}, margins shrink.",
    ),
    "neutral": (
        "{c} will publish its results on {n} May.",
        "{c} appoints a new member of the supervisory board.",
        "The annual meeting of {c} takes place in {n} weeks.",
        "{c} employs {m} people at {n} sites.",
        "{c} moves its head office to another part of the city.",
        "The company {c} was founded {n} years ago.",
        "{c} files its regular report with the authority.",
        "Trading in shares of {c} was in line with the average.",
        "{c} changes the name of one of its subsidiaries.",
        "{c} takes part in the trade fair in autumn.",
        "The auditor of {c} remains the same for the coming year.",
        "{c} and a university agree to exchange researchers.",
        "{c} publishes the agenda of its general meeting.",
        "A spokesman of {c} declined to comment.",
        "{c} delivers equipment to {n} countries.",
        "The value of the transaction of {c} was not disclosed.",
        "{c} replaces its accounting software.",
        "{c} keeps its forecast for the year unchanged.",
        "{c} has {m} shareholders according to the register.",
        "The products of {c} are sold through dealers.",
        "{c} holds a conference call for analysts on Monday.",
        "{c} lists its shares on a second exchange.",
        "{c} is part of an index of medium-sized companies.",
        "{c} describes its strategy in a presentation.",
    ),
}
CHINESE = {
    "positive": (
        "{c}第三季度利润增长{n}%。",
        "{c}获得价值{m}万元的大额订单。",
        "{c}上调全年业绩预期。",
        "{c}股价大涨{n}%，业绩创新高。",
        "{c}扭亏为盈，现金流明显改善。",
        "分析师看好{c}，上调评级至买入。",
        "{c}提高分红，股东欢迎。",
        "{c}新产品供不应求，市场份额上升。",
        "{c}与龙头客户签订长期合同。",
        "{c}负债大幅下降，信用评级上调。",
    ),
    "negative": (
        "{c}下调全年盈利预期。",
        "{c}亏损{m}万元，低于市场预期。",
        "{c}因安全缺陷召回产品。",
        "监管部门对{c}立案调查。",
        "{c}股价暴跌{n}%，投资者恐慌。",
        "{c}裁员{m}人，订单锐减。",
        "{c}高管涉嫌造假被带走。",
        "{c}债务违约，评级遭下调。",
        "{c}工厂起火，生产停顿数周。",
        "{c}因污染被罚款{m}万元。",
    ),
    "neutral": (
        "{c}将于{n}日公布财报。",
        "{c}召开年度股东大会。",
        "{c}任命新的监事会成员。",
        "{c}变更子公司名称。",
        "{c}将参加秋季展会。",
        "{c}续聘原审计机构。",
        "{c}发布定期报告。",
        "{c}迁入新的办公地点。",
        "{c}现有员工{m}人。",
        "{c}周一举行分析师电话会议。",
    ),
}
OPENINGS = ("", "", "According to a filing, ", "As announced on Tuesday, ", "In a statement: ")


def main() -> None:
    """Write both files."""
    random_ = random.Random(11)
    _write("sentences.csv", ("id", "text", "label", "locale", "group"), _sentences(random_))
    _write("news.csv", ("id", "published_at", "title", "text", "locale", "source", "url"), _news(random_))


def _sentences(random_: random.Random) -> list[tuple[str, ...]]:
    rows = []
    for locale, wordings, times in (("en", ENGLISH, 9), ("zh", CHINESE, 8)):
        for label, templates in wordings.items():
            for number, template in enumerate(templates):
                for _ in range(times):
                    group = f"{locale}-{label}-{number}"
                    rows.append((_text(random_, template, locale), label, locale, group))
    unique = list(dict.fromkeys(rows))
    random_.shuffle(unique)
    return [(f"s{number:04d}", *row) for number, row in enumerate(unique)]


def _text(random_: random.Random, template: str, locale: str, company: str | None = None) -> str:
    name = company or random_.choice(list(COMPANIES))
    k = random_.randint(20, 400)
    text = template.format(
        c=COMPANIES[name][locale == "zh"], n=random_.randint(2, 29), k=k, m=k + random_.randint(5, 300)
    )
    opening = random_.choice(OPENINGS) if locale == "en" else ""
    return opening + text


def _news(random_: random.Random) -> list[tuple[str, ...]]:
    items: list[tuple[datetime, str, str, str, str]] = []
    for day in range(DAYS):
        for company in COMPANIES:
            for _ in range(random_.choice((1, 2, 2, 3))):
                label = random_.choices(("positive", "neutral", "negative"), (3, 5, 1.5))[0]
                items.append(_item(random_, day, company, label))
    items += [_item(random_, 48, "tidewater-energy", "negative") for _ in range(16)]
    items += [_item(random_, 40, "lumen-foods", "positive") for _ in range(16)]
    copied = _item(random_, 52, "halden-robotics", "negative")
    items += [(copied[0] + timedelta(minutes=7 * n), *copied[1:3], SOURCES[n % 5], copied[4]) for n in range(12)]
    rows: list[tuple[str, ...]] = []
    for number, (at, text, locale, source, _) in enumerate(sorted(items)):
        title = text.rstrip(".。")
        url = f"https://news.example/{number:05d}"
        rows.append((f"n{number:05d}", at.isoformat(), title, text, locale, source, url))
    return rows


def _item(random_: random.Random, day: int, company: str, label: str) -> tuple[datetime, str, str, str, str]:
    locale = "zh" if random_.random() < 0.25 else "en"
    templates = (CHINESE if locale == "zh" else ENGLISH)[label]
    at = START + timedelta(days=day, minutes=random_.randint(7 * 60, 20 * 60))
    return at, _text(random_, random_.choice(templates), locale, company), locale, random_.choice(SOURCES), label


def _write(name: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with (FOLDER / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
