from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from mercat.evaluation.base import Metric
from mercat.training.base import Evaluation, Report
from mercat.training.compare import defined, differences, label_f1, mean_f1
from mercat.training.progress import RichProgress, silent
from mercat.training.report import evaluation_text, load_report, report_text, save_report
from mercat.training.tracking import Tracked


def test_a_report_comes_back_from_its_file(tmp_path):
    report = Report(
        metrics={"accuracy": Metric(0.9412, 0.93, 0.95, 3080)},
        counts={"train": 9002, "updates": 846},
        seconds=421.3,
        notes=("a leak",),
        details={"history": [1, 2]},
    )
    save_report(tmp_path, report)
    assert load_report(tmp_path) == report
    assert json.loads((tmp_path / "report.json").read_text())["metrics"]["accuracy"]["n"] == 3080
    text = report_text(report)
    assert "| accuracy | 0.9412 | 0.9300 to 0.9500 | 3,080 |" in text
    assert "train 9,002, updates 846; 7 min 1 s" in text
    assert text.endswith("- a leak")


def test_an_evaluation_shows_the_difference_with_its_sign():
    evaluation = Evaluation(
        metrics={"accuracy": Metric(0.94, 0.93, 0.95, 100), "ece": Metric(0.02, 0.01, 0.03, 100)},
        baseline="simple",
        baseline_metrics={"accuracy": Metric(0.9, 0.88, 0.92, 100)},
        differences={"accuracy": Metric(0.04, 0.02, 0.06, 100)},
        counts={"test": 100},
    )
    lines = evaluation_text(evaluation).splitlines()
    assert lines[0] == "| test | this model | simple | difference | rows |"
    assert lines[2].endswith("| 0.9000 [0.8800, 0.9200] | +0.0400 [+0.0200, +0.0600] | 100 |")
    assert lines[3] == "| ece | 0.0200 [0.0100, 0.0300] |  |  | 100 |"


def test_differences_are_paired_and_have_the_sign_of_ours():
    true = ["a", "b"] * 100
    theirs = [*true[:150], *(["c"] * 50)]
    found = differences(true, true, theirs)
    assert found["accuracy"].value == pytest.approx(0.25)
    assert 0.15 < found["accuracy"].low < 0.25 < found["accuracy"].high < 0.35
    assert found["macro_f1"].low > 0
    assert differences(true, theirs, theirs)["macro_f1"] == Metric(0.0, 0.0, 0.0, 200)


def test_f1_per_label_agrees_with_scikit_learn():
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    true, guessed = random.integers(0, 4, 300), random.integers(0, 4, 300)
    names = [f"l{number}" for number in true], [f"l{number}" for number in guessed]
    expected = f1_score(true, guessed, average=None)
    found = label_f1(*names)
    assert [found[f"f1.l{number}"].value for number in range(4)] == pytest.approx(list(expected))
    assert found["f1.l2"].n == int((true == 2).sum())
    assert mean_f1(true, guessed, 4) == pytest.approx(expected.mean())


def test_figures_without_a_value_are_left_out():
    nan = float("nan")
    assert defined({"a": Metric(1.0, 1.0, 1.0, 2), "b": Metric(nan, nan, nan, 0)}).keys() == {"a"}


def test_progress_is_drawn_with_its_figures():
    screen = io.StringIO()
    with RichProgress(Console(file=screen, force_terminal=True, width=120)) as progress:
        progress("train", 30, 300, loss=0.51234, accuracy=0.9, eta_s=95.0)
    shown = screen.getvalue()
    assert "train" in shown
    assert "30/300" in shown
    assert "loss 0.5123" in shown
    assert "eta 1:35" in shown
    assert silent("train", 1, 2, loss=1.0) is None


def test_trackers_hear_what_progress_hears():
    heard, logged = [], []

    class Tracker:
        def begin(self, run):
            pass

        def log(self, stage, step, figures):
            logged.append((stage, step, dict(figures)))

        def close(self):
            pass

    tell = Tracked(lambda stage, done, total, **figures: heard.append((stage, done, total)), [Tracker()])
    tell("train", 3, 9, loss=0.5)
    assert heard == [("train", 3, 9)]
    assert logged == [], "a kill now would have the point made again"
    tell.release()
    tell.release()
    assert logged == [("train", 3, {"loss": 0.5})]


def test_tensorboard_files_are_written(tmp_path):
    pytest.importorskip("tensorboard")
    from mercat.training.tracking import TensorBoard

    board = TensorBoard(tmp_path / "board")
    board.log("train", 1, {"loss": 0.5})
    board.close()
    assert [path.name.startswith("events.") for path in (tmp_path / "board").iterdir()] == [True]
