"""Another index or another encoder behind a retriever while it answers: beside, compared, switched, and back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import mercat
from mercat.errors import ArtifactError, ConfigError, MercatError
from mercat.jobs import drop_deleted, move_index, serving_of, swap_encoder, switch, switch_back
from mercat.retrieval.serving import Pair
from mercat.values import Document

CONFIG = """
[mercat]
folder = "workspace"

[encoders.old]
use = "hashing"
dimensions = 128

[encoders.new]
use = "hashing"
dimensions = 64

[indexes.help]
use = "exact"

[indexes.other]
use = "faiss"
device = "cpu"

[retrievers.help]
use = "dense"
encoder = "old"
index = "help"
collection = "help"
fresh_s = 0.01

[retrievers.both]
use = "hybrid"
encoder = "old"
index = "both"
collection = "help"
fresh_s = 0.01

[indexes.both]
use = "exact"
"""
THINGS = ("card", "parcel", "refund", "account", "transfer", "password", "invoice", "delivery")


def documents(count: int, *, start: int = 0) -> list[Document]:
    return [
        Document(f"d{n}", text=f"about the {THINGS[n % 8]} of customer number {n} and the {THINGS[(n // 8) % 8]} too")
        for n in range(start, start + count)
    ]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mercat.toml").write_text(CONFIG)
    with mercat.open(tmp_path / "mercat.toml") as app:
        app.store.upsert(documents(300), collection="help")
        for name in ("help", "both"):
            app.get("retrievers", name).refresh()
    return tmp_path


@pytest.fixture
def app(place: Path) -> Any:
    with mercat.open(place / "mercat.toml") as app:
        yield app


def best(app: Any, text: str = "about the invoice of customer number 70 and the card too", name: str = "help") -> str:
    return str(app.get("retrievers", name).search(text, k=1)[0].id)


def test_a_move_fills_compares_and_changes_nothing_until_it_is_switched(app: Any) -> None:
    prepared = move_index(app, "help", "other")
    assert (prepared.now, prepared.then) == (Pair("old", "help"), Pair("old", "other"))
    assert prepared.moved is not None
    assert (prepared.moved.upserted, prepared.refreshed.upserted) == (300, 0)
    found = prepared.shadow
    assert (found.questions, found.overlap, found.filtered_recall, found.filtered_recall_now) == (200, 1.0, 1.0, 1.0)
    assert app.get("retrievers", "help").infos()[0].backend == "exact"
    switch(app, prepared)
    time.sleep(0.02)
    assert app.get("retrievers", "help").infos()[0].backend == "faiss"
    assert best(app) == "d70"


def test_a_second_move_writes_only_what_came_since(app: Any) -> None:
    move_index(app, "help", "other")
    again = move_index(app, "help", "other")
    assert again.moved is not None
    assert (again.moved.upserted, again.moved.unchanged) == (0, 300)
    app.store.upsert(documents(3, start=300), collection="help")
    app.store.upsert([Document("d0", text="an entirely new text")], collection="help")
    later = move_index(app, "help", "other")
    assert later.moved is not None
    assert later.moved.upserted + later.refreshed.upserted == 4
    assert later.refreshed.sequence == app.store.last_sequence("documents", "help")


def test_what_answers_worse_is_not_switched_to(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    prepared = move_index(app, "help", "other")
    worse = replace(prepared, shadow=replace(prepared.shadow, filtered_recall=0.7))
    with pytest.raises(ArtifactError, match=r"filtered recall 0.700; at least 0.95 is needed.*--least"):
        switch(app, worse)
    with pytest.raises(ArtifactError, match=r"overlap@10 is 0\.500"):
        switch(app, replace(prepared, shadow=replace(prepared.shadow, overlap=0.5)))
    assert best(app) == "d70"
    assert app.get("retrievers", "help").infos()[0].backend == "exact"
    switch(app, worse, least=0.5)


def test_going_back_takes_in_what_came_meanwhile(app: Any) -> None:
    switch(app, move_index(app, "help", "other"))
    app.store.upsert([Document("late", text="a giraffe at the counter")], collection="help")
    time.sleep(0.02)
    app.get("retrievers", "help").refresh()
    record = switch_back(app, "help")
    assert (record.now, record.before) == (Pair("old", "help"), ())
    time.sleep(0.02)
    assert app.get("retrievers", "help").infos()[0].backend == "exact"
    assert best(app, "giraffe at the counter") == "late"
    with pytest.raises(ConfigError, match="Nothing was switched"):
        switch_back(app, "help")


def test_encoder_and_index_are_switched_together(app: Any) -> None:
    prepared = swap_encoder(app, "help", "new")
    assert prepared.then == Pair("new", "help@new")
    assert prepared.moved is None
    assert prepared.refreshed.upserted == 300
    assert 0 < prepared.shadow.overlap < 1, "another encoder finds others"
    assert prepared.shadow.filtered_recall == 1.0
    switch(app, prepared)
    time.sleep(0.02)
    (info,) = app.get("retrievers", "help").infos()
    assert (info.dimensions, info.fingerprint) == (64, app.get("encoders", "new").fingerprint)
    assert app.get("retrievers", "help").encoder.dimensions == 64
    assert best(app) == "d70"
    assert (app.folder / "indexes" / "help@new").is_dir()
    switch_back(app, "help")
    time.sleep(0.02)
    assert app.get("retrievers", "help").encoder.dimensions == 128


def test_an_index_beside_of_an_encoder_that_changed_since_is_built_anew(app: Any, place: Path) -> None:
    swap_encoder(app, "help", "new")
    path = place / "mercat.toml"
    path.write_text(CONFIG.replace("dimensions = 64", "dimensions = 32"))
    with mercat.open(path) as again:
        prepared = swap_encoder(again, "help", "new")
        assert prepared.refreshed.upserted == 300
        switch(again, prepared)
        time.sleep(0.02)
        assert again.get("retrievers", "help").index.info().dimensions == 32
        assert best(again) == "d70"


def test_what_is_erased_leaves_what_answered_before_too(app: Any, caplog: Any) -> None:
    switch(app, move_index(app, "help", "other"))
    switch(app, swap_encoder(app, "help", "new"))
    with app.store.transaction() as change:
        change.delete("documents", ["d70", "d71"], collection="help")
    app.store.upsert(documents(1, start=900), collection="help")
    drop_deleted(app)
    for encoder, name in (("old", "help"), ("old", "other"), ("new", "help@new")):
        part = app.get("encoders", encoder)
        index = app.get("indexes", name).open(part.dimensions, part.fingerprint)
        held = {key for ids, _ in index.export() for key in ids}
        assert not {"d70", "d71"} & held
        assert ("d900" in held) == (name == "help@new"), "the others are brought up to date when they answer again"
    assert not caplog.records
    switch_back(app, "help")
    time.sleep(0.02)
    assert len(app.get("retrievers", "help").index) == 299
    with app.store.transaction() as change:
        change.delete("documents", ["d72"], collection="help")
    drop_deleted(app)
    part = app.get("encoders", "new")
    left = app.get("indexes", "help@new").open(part.dimensions, part.fingerprint)
    assert "d72" not in {key for ids, _ in left.export() for key in ids}, "one that was left by going back"


def test_the_dense_leg_of_a_hybrid_is_switched_too(app: Any) -> None:
    switch(app, swap_encoder(app, "both", "new"))
    time.sleep(0.02)
    hybrid = app.get("retrievers", "both")
    assert (hybrid.dense.encoder.dimensions, hybrid.infos()[0].dimensions) == (64, 64)
    assert best(app, name="both") == "d70"


def test_searches_through_a_swap_see_one_encoder_or_the_other(app: Any) -> None:
    """Threads ask without a pause while rows change, the encoder is swapped, and swapped back."""
    retriever, problems, asked = app.get("retrievers", "help"), [], [0]
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                (hits,) = retriever.search_many(["about the invoice of customer number 70 and the card too"], k=3)
                if hits[0].id != "d70" or len(hits) != 3:
                    problems.append(str(hits))
            except MercatError as error:
                problems.append(str(error))
            asked[0] += 1

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(3):
            app.store.upsert(documents(5, start=400 + 5 * turn), collection="help")
            switch(app, swap_encoder(app, "help", "new", questions=20))
            time.sleep(0.05)
            switch_back(app, "help")
            time.sleep(0.05)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not problems
    assert asked[0] > 20


def test_a_process_that_runs_takes_a_switch_up_by_itself(app: Any, place: Path) -> None:
    code = """
    import sys, mercat
    with mercat.open("mercat.toml") as app:
        for line in sys.stdin:
            hit = app.get("retrievers", "help").search(line.strip(), k=1)[0]
            print(hit.id, app.get("retrievers", "help").infos()[0].dimensions, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=place, stdin=-1, stdout=-1, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None

        def ask() -> list[str]:
            other.stdin.write("about the invoice of customer number 70 and the card too\n")
            other.stdin.flush()
            return other.stdout.readline().split()

        assert ask() == ["d70", "128"]
        switch(app, swap_encoder(app, "help", "new"))
        time.sleep(0.05)
        assert ask() == ["d70", "64"]
        switch_back(app, "help")
        time.sleep(0.05)
        assert ask() == ["d70", "128"]
        other.stdin.close()


DYING = """
import os, signal, sys, mercat
from mercat.artifacts import files
from mercat.indexes import move
from mercat.jobs import drop_deleted, move_index, swap_encoder, switch
from mercat.retrieval import serving

where, job = sys.argv[1:]
def die(*given, **named):
    os.kill(os.getpid(), signal.SIGKILL)
real = serving.write_durably
def half(path, text):
    path.with_name(".half").write_text(text[: len(text) // 2])
    die()
with mercat.open("mercat.toml") as app:
    if where == "copying":
        index = app.get("indexes", "other")
        opened = type(index).open
        def open_(self, *given, **named):
            made = opened(self, *given, **named)
            if self is index:
                made.upsert, count = (lambda put: lambda *g: (put(*g), die()))(made.upsert), 0
            return made
        type(index).open = open_
    if where == "recording":
        serving.write_durably = half
    if where == "recorded":
        serving.write_durably = lambda path, text: (real(path, text), die())
    prepared = move_index(app, "help", "other") if job == "move" else swap_encoder(app, "help", "new")
    if where == "compared":
        die()
    switch(app, prepared)
"""


@pytest.mark.parametrize(
    ("where", "job"),  # a swap encodes by a refresh, whose kills have tests of their own
    [
        ("copying", "move"),
        *((where, job) for where in ("compared", "recording", "recorded") for job in ("move", "swap")),
    ],
)
def test_a_kill_at_any_point_leaves_the_old_pair_or_the_new_one(place: Path, where: str, job: str) -> None:
    killed = subprocess.run([sys.executable, "-c", DYING, where, job], cwd=place, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with mercat.open(place / "mercat.toml") as app:
        serving = serving_of(app, "help")
        assert serving is not None
        then = Pair("old", "other") if job == "move" else Pair("new", "help@new")
        assert serving.now() == (then if where == "recorded" else Pair("old", "help"))
        assert best(app) == "d70"
        if where != "recorded":
            again = move_index(app, "help", "other") if job == "move" else swap_encoder(app, "help", "new")
            switch(app, again)
        time.sleep(0.02)
        assert serving.now() == then
        assert best(app) == "d70"
        assert len(app.get("retrievers", "help").index) == 300


def test_whoever_changes_the_section_has_the_last_word(app: Any, place: Path) -> None:
    switch(app, move_index(app, "help", "other"))
    path = place / "mercat.toml"
    path.write_text(CONFIG.replace('index = "help"', 'index = "other"'))
    with mercat.open(path) as again:
        assert again.get("retrievers", "help").infos()[0].backend == "faiss"
        serving = serving_of(again, "help")
        assert serving is not None
        assert serving.record() is None


def test_a_section_that_is_gone_after_a_switch_is_named(app: Any, place: Path) -> None:
    switch(app, move_index(app, "help", "other"))
    path = place / "mercat.toml"
    path.write_text(CONFIG.replace("[indexes.other]", "[indexes.renamed]"))
    with (
        mercat.open(path) as again,
        pytest.raises(ConfigError, match=r"was switched to encoder 'old' and index 'other'.*mercat index back help"),
    ):
        best(again)
    with mercat.open(path) as again:
        switch_back(again, "help")
    with mercat.open(path) as again:
        assert best(again) == "d70"


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 9, "now": {}, "before": []}'])
def test_a_record_that_cannot_be_read_is_named(app: Any, text: str) -> None:
    serving = serving_of(app, "help")
    assert serving is not None
    serving.path.parent.mkdir(parents=True, exist_ok=True)
    serving.path.write_text(text)
    with pytest.raises(ArtifactError, match=r"serving.json' cannot be read.*remove the file"):
        best(app)


def test_a_running_retriever_goes_on_when_what_was_switched_to_cannot_be_opened(app: Any, caplog: Any) -> None:
    assert best(app) == "d70"
    serving = serving_of(app, "help")
    assert serving is not None
    serving.path.parent.mkdir(parents=True)
    serving.path.write_text(
        json.dumps(
            {
                "schema": 1,
                "now": {"encoder": "new", "index": "help"},
                "before": [],
                "configured": {"encoder": "old", "index": "help"},
            }
        )
    )
    time.sleep(0.02)
    assert best(app) == "d70"
    assert "was switched and goes on as before" in caplog.text


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda app: move_index(app, "help", "help"), "It is there"),
        (lambda app: swap_encoder(app, "help", "new", index="help"), "answers with vectors of 'old'"),
        (lambda app: move_index(app, "help", "otter"), "Did you mean 'other'"),
        (lambda app: swap_encoder(app, "help", "mew"), "Did you mean 'new'"),
    ],
)
def test_what_cannot_be_is_refused(app: Any, act: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        act(app)


def test_learned_weights_are_not_left_with_another_encoder(app: Any, place: Path) -> None:
    path = place / "mercat.toml"
    path.write_text(CONFIG.replace('index = "both"\n', 'index = "both"\nartifact = "weights"\n'))
    with mercat.open(path) as again, pytest.raises(ConfigError, match="learned from the scores of the encoder"):
        swap_encoder(again, "both", "new")


def test_two_that_switch_at_once_leave_one_record(app: Any, place: Path) -> None:
    prepared = [move_index(app, "help", "other"), swap_encoder(app, "help", "new")]
    failed: list[MercatError] = []

    def run(one: Any) -> None:
        try:
            switch(app, one)
        except MercatError as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in prepared]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    serving = serving_of(app, "help")
    assert serving is not None
    record = serving.record()
    assert record is not None
    assert record.now in (prepared[0].then, prepared[1].then)
    assert len(record.before) == 2 - len(failed)
    assert [path.name for path in serving.path.parent.iterdir() if path.name.startswith((".", "serving"))] == [
        "serving.json"
    ]
