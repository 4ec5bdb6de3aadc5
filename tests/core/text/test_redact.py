"""Redaction against generated sentences in English, Chinese, German and Spanish, with look-alikes between them."""

import random
import string
import time
from collections import Counter
from datetime import date, timedelta

import pytest

from mercat.errors import UnknownName
from mercat.text import KINDS, Redactor

SENTENCES = {
    "email": [
        "Please write to {} before Friday.",
        "My address is {}, thanks",
        "<{}> wrote:",
        "请发邮件到{}，谢谢。",
        "我的邮箱是{}",
        "Bitte an {} senden.",
        "Escríbame a {}.",
    ],
    "phone": [
        "You can reach me on {} after six.",
        "Phone: {}",
        "call {}.",
        "请拨打{}联系我们。",
        "电话：{}，找王先生",
        "Meine Nummer: {}.",
        "Llámeme al {}.",
    ],
    "cn_mobile": ["我的手机号是{}，请尽快回电", "联系{}。", "电话{}", "Her Chinese number is {}.", "微信同号{}谢谢"],
    "card": [
        "I paid with {} yesterday.",
        "Card {} was declined!",
        "Card {} 12/27",
        "我的银行卡号{}被冻结了",
        "卡号：{}。",
        "Karte {} gesperrt",
    ],
    "iban": [
        "Transfer it to {}.",
        "IBAN: {}",
        "我的账户是{}，请退款",
        "Mein Konto {} bei der Bank",
        "mi cuenta {}, gracias",
    ],
    "ipv4": ["Login from {} was blocked.", "来自{}的登录", "host {}:8080 refused", "Zugriff von {}."],
    "cn_id": ["身份证号{}", "我的身份证是{}，请核实。", "ID number {} on file", "证件号码：{}"],
}

LOOKALIKES = [
    "Order {digits10} was shipped on 2024-03-05.",
    "订单号{digits12}已发货，请查收。",
    "It costs $1,299.00 or EUR 1.299,00 per year.",
    "The meeting is at 10:30 on 05/11/2023.",
    "Version 4.18.0.1 fixes it; version 10.2.33.4 does not.",
    "固件版本1.2.3.4有问题",
    "Ticket #{digits8} is still open.",
    "2024-01-02 12:33:45.123456 INFO started",
    "Revenue rose 12.5% to 1 234 567 units in 2023-2024.",
    "ISBN 978-3-16-148410-0 is out of print.",
    "Card {bad_card} does not exist.",
    "身份证{bad_id}校验失败",
    "IBAN {bad_iban} is invalid.",
    "Follow @bank on social media, code A1B2C3D4E5.",
    "坐标 31.2304, 121.4737 附近",
    "时间戳{stamp}对应的记录",
    "Timestamp {stamp}000 in the log.",
    "流水号{digits20}",
    "build 300.1.2.999 passed",
    "Paid 100 200 300 in three parts.",
]


def luhn_digit(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return str(-total % 10)


def card(rng: random.Random, *, valid: bool = True) -> str:
    prefix, length = rng.choice(
        [("4", 16), ("52", 16), ("37", 15), ("6222", 19), ("6225", 16), ("3530", 16), ("6011", 16)]
    )
    body = prefix + "".join(rng.choices(string.digits, k=length - len(prefix) - 1))
    check = luhn_digit(body)
    number = body + (check if valid else str((int(check) + 1 + rng.randrange(8)) % 10))
    gap = rng.choice(["", " ", "-"])
    return gap.join(number[i : i + 4] for i in range(0, len(number), 4))


def iban(rng: random.Random, *, valid: bool = True) -> str:
    country, length = rng.choice([("DE", 22), ("FR", 27), ("GB", 22), ("ES", 24), ("NL", 18), ("CH", 21), ("NO", 15)])
    letters = "".join(rng.choices(string.ascii_uppercase, k=4)) if country in ("GB", "NL") else ""
    body = letters + "".join(rng.choices(string.digits, k=length - 4 - len(letters)))
    as_number = "".join(str(int(c, 36)) for c in body + country + "00")
    check = 98 - int(as_number) % 97
    if not valid:
        check = check % 96 + 2 if check % 96 + 2 != check else check - 1
    text = f"{country}{check:02d}{body}"
    return " ".join(text[i : i + 4] for i in range(0, length, 4)) if rng.random() < 0.5 else text


def chinese_id(rng: random.Random, *, valid: bool = True) -> str:
    born = date(1950, 1, 1) + timedelta(days=rng.randrange(20000))
    body = f"{rng.choice(['110101', '310115', '440305', '510104'])}{born:%Y%m%d}{rng.randrange(1000):03d}"
    weights = [2 ** (17 - place) % 11 for place in range(17)]
    check = next(
        c for v, c in enumerate("0123456789X") if (sum(int(d) * w for d, w in zip(body, weights)) + v) % 11 == 1
    )
    return body + (check if valid else rng.choice([c for c in "0123456789X" if c != check]))


def email(rng: random.Random) -> str:
    name = rng.choice(["li.wei", "jane_doe", "john", "max+shop", "a-b", "josé", "wang2024"])
    host = rng.choice(["example.com", "mail.example.co.uk", "qq.com", "uni-bonn.de", "x.io"])
    return f"{name}{rng.randrange(999)}@{host}"


def digits(rng: random.Random, form: str) -> str:
    return "".join(rng.choice(string.digits[1:]) if c == "d" else c for c in form)


def phone(rng: random.Random) -> str:
    area = rng.choice("23456789")
    forms = [
        f"({area}dd) {area}dd-dddd", f"{area}dd-{area}dd-dddd", f"+1 {area}dd {area}dd dddd", "+44 20 dddd dddd",
        "020 7ddd dddd",
        "+49 30 dddddd", "030 ddddddd", "+33 6 dd dd dd dd", "06 dd dd dd dd", "+34 6dd ddd ddd", "010-dddddddd",
        "0755-ddddddd", "400-ddd-dddd", "(021)dddddddd", "+852 dddd dddd", "+6591234567", "0044 20 dddd dddd",
    ]  # fmt: skip
    return digits(rng, rng.choice(forms))


def mobile(rng: random.Random) -> str:
    return digits(
        rng,
        rng.choice(
            ["13ddddddddd", "15d dddd dddd", "18d-dddd-dddd", "+8613ddddddddd", "+86 17ddddddddd", "8618ddddddddd"]
        ),
    )


def address(rng: random.Random) -> str:
    return ".".join(str(rng.randrange(1, 256)) for _ in range(4))


MAKERS = {
    "email": email, "phone": phone, "cn_mobile": mobile, "card": card, "iban": iban, "ipv4": address,
    "cn_id": chinese_id,
}  # fmt: skip


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in text)


def corpus(seed: int, rounds: int) -> list[tuple[str, str, str]]:
    """(text, kind, value); kind is "" for a look-alike."""
    rng, rows = random.Random(seed), []
    for _ in range(rounds):
        for kind, sentences in SENTENCES.items():
            for sentence in sentences:
                value = MAKERS[kind](rng)
                if rng.random() < 0.05:
                    value = full_width(value)
                rows.append((sentence.format(value), kind, value))
        for sentence in LOOKALIKES:
            filled = sentence.format(
                digits8=digits(rng, "dddddddd"), digits10=digits(rng, "dddddddddd"),
                digits12=digits(rng, "2024dddddddd"),
                digits20=digits(rng, "d" * 20), stamp=str(rng.randrange(1_600_000_000, 1_800_000_000)),
                bad_card=card(rng, valid=False), bad_id=chinese_id(rng, valid=False), bad_iban=iban(rng, valid=False),
            )  # fmt: skip
            rows.append((filled, "", ""))
    return rows


def test_recall_and_precision_on_generated_sentences():
    rows, redactor = corpus(seed=7, rounds=30), Redactor()
    wanted, right, found_right, found = Counter(), Counter(), 0, 0
    misses, extras = [], []
    for text, kind, value in rows:
        spans = redactor.find(text)
        hits = [span for span in spans if span.text == value and span.kind == kind]
        wanted[kind] += bool(kind)
        right[kind] += bool(hits)
        found, found_right = found + len(spans), found_right + len(hits)
        if kind and not hits:
            misses.append((kind, text))
        extras += [(span.kind, span.text, text) for span in spans if span not in hits]
    total = sum(wanted.values())
    recall, precision = sum(right.values()) / total, found_right / found
    print(f"{total} spans, recall {recall:.4f}, precision {precision:.4f}")
    print({kind: f"{right[kind]}/{wanted[kind]}" for kind in SENTENCES})
    assert total >= 1000
    structured = ("email", "card", "iban", "ipv4", "cn_id", "cn_mobile")
    assert sum(right[k] for k in structured) / sum(wanted[k] for k in structured) >= 0.98, misses[:20]
    assert recall >= 0.98, misses[:20]
    assert precision >= 0.95, extras[:20]


def test_redacted_text_holds_no_identifier_and_stays_as_it_is_when_done_twice():
    redactor = Redactor()
    for text, kind, value in corpus(seed=11, rounds=5):
        once = redactor.redact(text)
        assert redactor.redact(once) == once
        assert not kind or value not in once


def test_placeholders_name_the_kind_and_the_rest_is_untouched():
    text = "我是李雷，邮箱 li@example.com，卡号4111 1111 1111 1111 12/26，身份证11010519491231002X。"
    assert Redactor().redact(text) == "我是李雷，邮箱 [EMAIL]，卡号[CARD] 12/26，身份证[CN_ID]。"


def test_only_the_kinds_asked_for():
    text = "a@b.com from 10.0.0.7"
    assert Redactor(["ipv4"]).redact(text) == "a@b.com from [IPV4]"
    assert [span.kind for span in Redactor().find(text)] == ["email", "ipv4"]


def test_offsets_point_into_the_given_text_also_with_full_width_digits():
    text = "手机号１３８１２３４５６７８，谢谢"
    (span,) = Redactor().find(text)
    assert text[span.start : span.end] == span.text == "１３８１２３４５６７８"


def test_a_card_is_found_beside_other_digits():
    assert Redactor().redact("4111 1111 1111 1111 3rd try") == "[CARD] 3rd try"
    assert Redactor().redact("07 4111-1111-1111-1111") == "07 [CARD]"


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(UnknownName, match=r"No kind of identifier named 'mail'\. Did you mean 'email'\? Known: card"):
        Redactor(["mail"])
    assert set(Redactor().kinds) == set(KINDS)


@pytest.mark.parametrize(
    "unit",
    ["1", "1 ", "a", "a.", "a@", "1.", "+1", "(2", "DE89 ", "电话号码", "call number is ", "4111-", "0 ", "a@b."],
)
def test_time_grows_with_length_only(unit):
    text = unit * (20_000 // len(unit))
    start = time.process_time()
    Redactor().find(text)
    assert time.process_time() - start < 2.0
