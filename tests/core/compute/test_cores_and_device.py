import os

import pytest

from mercat.compute import choose_device, cores, cpu_flags, share, threads
from mercat.errors import ConfigError


def test_cores_follow_the_affinity_mask(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert cores() == 3


def test_cores_follow_the_quota_of_the_container(monkeypatch):
    monkeypatch.setattr(threads, "_affinity", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: 1.5)
    assert cores() == 2


def test_cores_follow_the_wish_of_the_user(monkeypatch):
    monkeypatch.setattr(threads, "_affinity", lambda: 64)
    monkeypatch.setattr(threads, "_quota", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert cores() == 7


@pytest.mark.parametrize(("text", "quota"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("nonsense", None)])
def test_the_quota_file_is_read(tmp_path, text, quota):
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert threads._quota(file, tmp_path / "none", tmp_path / "none") == quota


def test_the_older_quota_files_are_read(tmp_path):
    limit, period = tmp_path / "quota", tmp_path / "period"
    limit.write_text("250000")
    period.write_text("100000")
    assert threads._quota(tmp_path / "none", limit, period) == 2.5
    limit.write_text("-1")
    assert threads._quota(tmp_path / "none", limit, period) is None


def test_shares_fill_the_cores_once(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    assert [share(1), share(3), share(100)] == [8, 2, 1]


def test_a_named_device_and_format_are_kept():
    chosen = choose_device("cpu", dtype="bfloat16")
    assert (chosen.name, chosen.dtype) == ("cpu", "bfloat16")


@pytest.mark.parametrize(
    ("flags", "dtype"), [({"avx2"}, "float32"), ({"avx2", "amx_bf16"}, "bfloat16"), ({"avx512_bf16"}, "bfloat16")]
)
def test_auto_takes_bfloat16_only_where_the_cpu_computes_it(monkeypatch, flags, dtype):
    monkeypatch.setattr("mercat.compute.device.cpu_flags", lambda: frozenset(flags))
    chosen = choose_device("cpu")
    assert chosen.dtype == dtype
    assert dtype in chosen.why


def test_a_device_that_is_not_there_is_an_error_not_another_device():
    pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(ConfigError, match="cuda:99"):
        choose_device("cuda:99")
    with pytest.raises(ConfigError, match="toaster"):
        choose_device("toaster")


def test_an_unknown_format_is_an_error():
    with pytest.raises(ConfigError, match="Known: auto, float32"):
        choose_device("cpu", dtype="int8")


def test_the_flags_of_this_cpu_are_words():
    assert all(flag and " " not in flag for flag in cpu_flags())
