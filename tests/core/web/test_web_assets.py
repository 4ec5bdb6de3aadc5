from __future__ import annotations

import hashlib
import json
import re
from importlib import resources

ASSETS = resources.files("mercat.web") / "assets"


def test_vendored_files_are_those_that_were_recorded() -> None:
    vendor = ASSETS / "vendor"
    recorded = json.loads((vendor / "vendor.json").read_text())
    present = {item.name for item in vendor.iterdir()} - {"vendor.json"}
    assert present == set(recorded)
    for name, row in recorded.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == row["sha256"], name
    for package in {row["package"] for row in recorded.values()}:
        assert any(row["path"].startswith("LICENSE") for row in recorded.values() if row["package"] == package), package


def test_no_template_has_code_or_styles_inline() -> None:
    for package in ("mercat.web", "mercat.serve"):
        for template in (resources.files(package) / "templates").iterdir():
            html = template.read_text()
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", html), template.name
            assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html)), template.name
            assert "| safe" not in html
            assert "|safe" not in html


def test_our_own_assets_reach_for_nothing_outside() -> None:
    for name in ("mercat.css", "mercat.js", "logo.svg", "vendor/pico.min.css", "vendor/uPlot.min.css"):
        text = (ASSETS / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"url\(\s*[\"']?https?:|@import|import\(|eval\(", text), name


def test_both_languages_have_the_same_texts() -> None:
    for package in ("mercat.web", "mercat.serve"):
        texts = {
            code: json.loads((resources.files(package) / "messages" / f"{code}.json").read_text())
            for code in ("en", "zh")
        }
        assert set(texts["en"]) == set(texts["zh"]), package
        for key, text in texts["en"].items():
            assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", texts["zh"][key]), key
        used = set()
        for template in (resources.files(package) / "templates").iterdir():
            used |= set(re.findall(r"\bt\([\"']([a-z_.]+)[\"']", template.read_text()))
        assert {key for key in used if not key.endswith(".")} <= set(texts["en"]) | set(_core_texts()), package


def _core_texts() -> dict[str, str]:
    found: dict[str, str] = json.loads((resources.files("mercat.web") / "messages" / "en.json").read_text())
    return found
