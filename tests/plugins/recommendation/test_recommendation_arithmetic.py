"""The pure parts: logs, popularity, ties, the text map, the blend, spreading, cuts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mercat.errors import DataError
from mercat.values import Document, Interaction
from mercat_recommendation import popularity
from mercat_recommendation.catalogue import Catalogue, categories_of
from mercat_recommendation.collaborative import (
    busiest,
    ease,
    factors,
    following,
    likeness,
    recency,
    strongest,
    together,
)
from mercat_recommendation.events import DAY_S, build_log, joined
from mercat_recommendation.features import NAMES, SHARED, History, both, personal, popular
from mercat_recommendation.protocol import cut_times
from mercat_recommendation.ranker import Choice, choice, fit_blend, popularity_blend
from mercat_recommendation.reasons import shared_words
from mercat_recommendation.spread import mmr, top, with_discovery
from mercat_recommendation.text_map import fit_map, placed
from mercat_recommendation.ties import Ties, TieSettings

DAY0 = datetime(2026, 1, 1, tzinfo=UTC)
T0 = DAY0.timestamp()


def event(number, user, item, day=0.0, *, kind="click", weight=1.0):
    return Interaction(f"e{number}", user, item, kind, DAY0 + timedelta(days=day), weight)


def log_of(rows, items="abcdef", **options):
    return build_log(rows, {name: number for number, name in enumerate(items)}, **options)


class TestLog:
    def test_equal_times_keep_the_order_of_arrival(self):
        log, _ = log_of([event(1, "u", "c", 1), event(2, "u", "a", 0), event(3, "u", "b", 1), event(4, "u", "d", 1)])
        assert log.item.tolist() == [0, 2, 1, 3]

    def test_what_cannot_be_used_is_counted_by_reason(self):
        rows = [
            event(1, "u", "a"),
            event(2, "u", "nowhere"),
            event(3, "u", "a", kind="sneeze"),
            event(4, "", "a"),
            event(5, "u", "b", day=1),
        ]
        log, rejected = log_of(rows, born={"b": T0 + 2 * DAY_S})
        assert len(log) == 1
        assert rejected == {"unknown item": 1, "unknown kind": 1, "no user": 1, "before the item existed": 1}

    def test_before_leaves_out_the_very_moment(self):
        log, _ = log_of([event(1, "u", "a", 0), event(2, "u", "b", 1)])
        assert log.before(T0 + DAY_S).item.tolist() == [0]
        assert log.between(T0 + DAY_S, T0 + 2 * DAY_S).item.tolist() == [1]

    def test_joining_equals_building_at_once(self):
        rows = [event(n, f"u{n % 3}", "abc"[n % 3], day=(n * 7) % 5) for n in range(12)]
        whole, _ = log_of(rows)
        (first, _), (second, _) = log_of(rows[:5]), log_of(rows[5:])
        both_parts = joined(first, second)
        assert both_parts.at.tolist() == whole.at.tolist()
        assert both_parts.item.tolist() == whole.item.tolist()
        assert [both_parts.users[u] for u in both_parts.user] == [whole.users[u] for u in whole.user]

    def test_a_no_is_seen_and_has_no_influence(self):
        log, _ = log_of([event(1, "u", "a", weight=-1.0), event(2, "u", "b")])
        history = History.of(log, np.arange(2))
        assert history.seen.tolist() == [0, 1]
        assert history.liked.tolist() == [1]
        assert popularity.in_window(log, 3, at=T0 + 1, days=7).tolist() == [0, 1, 0]

    def test_of_repeats_the_latest_counts(self):
        history = History.from_items(np.array([3, 1, 3, 2]), np.ones(4, dtype=np.float32))
        assert history.liked.tolist() == [1, 3, 2]


class TestPopularity:
    def test_the_window_ends_before_the_time_asked(self):
        log, _ = log_of([event(1, "u", "a", 0), event(2, "v", "a", 6.5), event(3, "w", "b", 8)])
        found = popularity.in_window(log, 3, at=T0 + 8 * DAY_S, days=7)
        assert found.tolist() == [1, 0, 0]

    def test_decay_halves_at_the_half_life(self):
        log, _ = log_of([event(1, "u", "a", 0), event(2, "v", "b", 3)])
        found = popularity.decayed(log, 2, at=T0 + 3 * DAY_S + 0.001, half_life_days=3)
        assert found == pytest.approx([0.5, 1.0], abs=1e-4)

    def test_quality_is_drawn_to_the_mean(self):
        log, _ = log_of([event(n, f"u{n}", "a", weight=5.0) for n in range(5)] + [event(9, "u", "b", weight=1.0)])
        found = popularity.quality(log, 3, at=T0 + 1)
        assert found[0] > found[2] > found[1]


class TestTies:
    def test_counts_do_not_depend_on_chunks(self, monkeypatch):
        rng = np.random.default_rng(0)
        rows = [event(n, f"u{rng.integers(30)}", "abcdef"[rng.integers(6)], n) for n in range(200)]
        log, _ = log_of(rows)
        chosen = busiest(log, 6, most=10)
        at_once = together(log, chosen)
        monkeypatch.setattr("mercat_recommendation.collaborative._USERS_AT_ONCE", 7)
        assert np.array_equal(at_once, together(log, chosen))
        assert at_once[0, 0] == len(set(log.user[log.item == 0]))

    def test_ease_is_the_closed_form(self):
        """Each column of EASE is ridge regression on the other items (Steck 2019)."""
        rng = np.random.default_rng(1)
        x = (rng.random((50, 5)) < 0.4).astype(np.float32)
        found = ease(x.T @ x, strength=3.0)
        for item in range(5):
            rest = [each for each in range(5) if each != item]
            left = x[:, rest].T @ x[:, rest] + 3.0 * np.eye(4)
            assert found[rest, item] == pytest.approx(np.linalg.solve(left, x[:, rest].T @ x[:, item]), abs=1e-4)
        assert np.diag(found).tolist() == [0] * 5

    def test_following_looks_forward_within_one_user(self):
        log, _ = log_of([event(1, "u", "a", 0), event(2, "u", "b", 1), event(3, "v", "c", 2)])
        found = following(log, np.arange(3), shrink=0.0001)
        assert found[0, 1] > 0.9
        assert found[1, 0] == 0
        assert found[1, 2] == 0

    def test_kept_ties_score_as_the_whole_table(self):
        rng = np.random.default_rng(2)
        table = rng.standard_normal((6, 6)).astype(np.float32)
        kept = strongest(table, np.arange(6), items=6, keep=6)
        history, weights = np.array([1, 4]), np.array([0.25, 0.75], dtype=np.float32)
        assert kept.scores(history, weights) == pytest.approx(weights @ table[history], abs=1e-5)
        assert kept.tie(3, history) == pytest.approx(table[history, 3])

    def test_factors_come_back_to_the_table(self):
        rng = np.random.default_rng(3)
        true = rng.standard_normal((40, 3)).astype(np.float32)
        found = factors(true @ true.T, dimensions=3, seed=0)
        assert found @ found.T == pytest.approx(true @ true.T, abs=1e-2)

    def test_recency_halves_and_sums_to_one(self):
        weights = recency(3, half_life_items=1.0)
        assert weights == pytest.approx([1 / 7, 2 / 7, 4 / 7])
        assert len(recency(0, half_life_items=5.0)) == 0

    def test_likeness_with_lean_half_is_symmetric(self):
        counts = np.array([[4, 2], [2, 9]], dtype=np.float32)
        found = likeness(counts, lean=0.5, shrink=0.0)
        assert found[0, 1] == pytest.approx(2 / 6)
        assert found[0, 1] == found[1, 0]

    def test_the_busiest_are_kept(self):
        log, _ = log_of([event(n, "u", "a", n) for n in range(3)] + [event(9, "u", "b"), event(10, "u", "d")])
        assert busiest(log, 6, most=1).tolist() == [0]
        assert busiest(log, 6, most=9).tolist() == [0, 1, 3]

    def test_they_come_back_from_files_and_grow(self, tmp_path):
        log, _ = log_of([event(n, f"u{n % 5}", "abcdef"[n % 6], n) for n in range(40)])
        vectors = np.eye(6, 8, dtype=np.float32)
        ties = Ties.fit(log, vectors, settings=TieSettings(dimensions=3))
        ties.save(tmp_path)
        read = Ties.load(tmp_path)
        assert np.array_equal(read.ease.values, ties.ease.values)
        grown = read.grown(np.array([1, -1, 0]), np.eye(3, 8, dtype=np.float32))
        assert np.array_equal(grown.places[0], ties.places[1])
        assert np.array_equal(grown.places[1], np.eye(8, dtype=np.float32)[1] @ ties.mapping)
        assert grown.ease.tie(0, np.array([2]))[0] == pytest.approx(ties.ease.tie(1, np.array([0]))[0])
        assert grown.ease.scores(np.array([1]), np.ones(1, dtype=np.float32)).any() == False  # noqa: E712


class TestTextMap:
    def test_an_unseen_text_lands_where_the_map_says(self):
        rng = np.random.default_rng(4)
        vectors, mapping = rng.standard_normal((50, 8)), rng.standard_normal((8, 3))
        counts = np.full(50, 20.0)
        counts[-1] = 0
        fitted = fit_map(vectors.astype(np.float32), (vectors @ mapping).astype(np.float32), counts, strength=0.01)
        there = placed(vectors.astype(np.float32), np.zeros((50, 3), dtype=np.float32), counts, fitted)
        assert there[-1] == pytest.approx(vectors[-1] @ mapping, abs=0.05)

    def test_without_events_there_is_no_map(self):
        assert not fit_map(np.ones((2, 3), np.float32), np.ones((2, 2), np.float32), np.zeros(2)).any()


class TestFeatures:
    def catalogue(self):
        return Catalogue.of([Document(name, "", metadata={"category": "x", "price": 1}) for name in "abcdef"])

    def test_the_future_changes_nothing(self):
        rows = [event(n, f"u{n % 4}", "abcdef"[n % 5], n) for n in range(30)]
        items, vectors, at = self.catalogue(), np.eye(6, dtype=np.float32), T0 + 15 * DAY_S
        (past, _), (whole, _) = log_of(rows[:15]), log_of(rows)
        assert np.array_equal(popular(past, items, at=at), popular(whole, items, at=at))
        before = whole.before(at)
        ties = [Ties.fit(log, vectors, settings=TieSettings()) for log in (past, before)]
        assert np.array_equal(ties[0].ease.values, ties[1].ease.values)

    def test_nobody_gets_zeros(self):
        log, _ = log_of([event(1, "u", "a")])
        items, vectors = self.catalogue(), np.eye(6, dtype=np.float32)
        nobody = History.from_items(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
        own = personal(nobody, Ties.fit(log, vectors, settings=TieSettings()), items, vectors)
        found = both(popular(log, items, at=T0 + 1), own)
        assert found.shape == (6, len(NAMES))
        assert not found[:, len(SHARED) :].any()

    def test_categories_are_split_however_they_are_joined(self):
        for joined_by in ("tea|cup", "tea, cup", "cup;tea", "tea、cup", ["cup", "tea"]):
            assert categories_of(Document("1", "", metadata={"category": joined_by})) == ["cup", "tea"]

    def test_shared_words_are_categories_then_titles(self):
        one = Document("1", "", title="Cedar Guitar Strings", metadata={"category": "music"})
        other = Document("2", "", title="Old Guitar", metadata={"category": "music|wood"})
        assert shared_words(one, other) == ["music", "guitar"]


class TestBlend:
    def choices(self, count=80):
        """People take the item with the highest second feature."""
        rng, found = np.random.default_rng(5), []
        for _ in range(count):
            features = rng.standard_normal((12, len(NAMES))).astype(np.float32)
            taken = np.zeros(12)
            taken[np.argmax(features[:, 1])] = 1.0
            found.append(Choice(features, taken, np.zeros(12)))
        return found

    def test_it_finds_what_people_go_by(self):
        weights = fit_blend(self.choices(), strength=0.01).weights
        assert np.argmax(weights) == 1
        assert weights[1] > 4 * np.abs(np.delete(weights, 1)).max()

    def test_weak_penalty_does_not_run_away(self):
        assert np.isfinite(fit_blend(self.choices(20), strength=1e-6).weights).all()

    def test_features_that_are_not_used_weigh_nothing(self):
        weights = fit_blend(self.choices(), strength=0.01, use=SHARED).weights
        assert not weights[len(SHARED) :].any()

    def test_sampling_is_corrected(self):
        """With half of what was left alone sampled, its offset says that there was twice as much."""
        features = np.zeros((11, len(NAMES)), dtype=np.float32)
        taken = np.arange(11) == 3
        rng = np.random.default_rng(0)
        found = choice(features, np.ones(11, dtype=bool), taken, left=5, rng=rng)
        assert len(found.taken) == 6
        assert found.offset.tolist() == [0.0] + [pytest.approx(np.log(2))] * 5

    def test_the_baseline_is_the_last_seven_days(self):
        features = np.random.default_rng(6).standard_normal((9, len(NAMES))).astype(np.float32)
        order = np.argsort(-popularity_blend().scores(features))
        assert order.tolist() == np.argsort(-features[:, NAMES.index("popular_7d")]).tolist()


class TestSpread:
    def test_top_keeps_order_of_equals_and_leaves_closed_ones(self):
        scores = np.array([1, 3, 3, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0], dtype=np.float32)
        open_ = np.ones(13, dtype=bool)
        open_[1] = False
        assert top(scores, open_, 2).tolist() == [2, 4]
        assert top(scores, np.zeros(13, dtype=bool), 2).tolist() == []
        assert len(top(scores, open_, 99)) == 12

    def test_without_diversity_nothing_moves(self):
        ranked = np.array([2, 0, 1])
        assert mmr(ranked, np.array([2.0, 1, 3], np.float32), np.eye(3, dtype=np.float32), 2, diversity=0).tolist() == [
            2,
            0,
        ]

    def test_a_copy_gives_way(self):
        vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
        scores = np.array([1.0, 0.99, 0.5], np.float32)
        assert mmr(np.arange(3), scores, vectors, 2, diversity=0.6).tolist() == [0, 2]

    def test_the_last_places_of_ten_are_for_discovery(self):
        listed, finds = np.arange(20), np.array([3, 50, 51, 52, 53])
        found, came = with_discovery(listed, finds, k=10, places=2)
        assert found.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 50, 51]
        assert came == {50, 51}
        short, came = with_discovery(np.arange(4), np.array([], dtype=np.int64), k=10, places=2)
        assert short.tolist() == [0, 1, 2, 3]
        assert not came


class TestCuts:
    def test_validation_lies_before_test_and_windows_do_not_overlap(self):
        log, _ = log_of([event(n, "u", "a", n) for n in range(200)])
        cuts = cut_times(log, window_days=7)
        times = [*cuts.first, *cuts.validation, *cuts.test]
        assert len(cuts.test) >= 5
        assert np.diff(times) == pytest.approx(np.full(len(times) - 1, 7 * DAY_S))
        assert cuts.test[-1] + cuts.window_s > log.at[-1]

    def test_a_short_log_is_refused_with_a_window_that_fits(self):
        log, _ = log_of([event(n, "u", "a", n) for n in range(40)])
        with pytest.raises(DataError, match="window_days = 2"):
            cut_times(log, window_days=7)
        assert cut_times(log, window_days=2.2)
