"""What a body multiplies in while it learns: what is chosen, what stays float32, and that it learns the same."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mercat.compute import device as devices  # noqa: E402
from mercat.errors import ConfigError  # noqa: E402
from mercat.training.loop.precision import computing, learning_dtype  # noqa: E402
from mercat.training.loop.settings import LoopSettings  # noqa: E402


class Body(torch.nn.Module):
    """Remembers the number format of its product."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)

    def forward(self, given):
        found = self.layer(given)
        self.dtype = found.dtype
        return {"last_hidden_state": found, "places": torch.arange(3)}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = Body(), torch.nn.Linear(8, 2)

    def forward(self, given):
        return self.head(self.body(given)["last_hidden_state"])


@pytest.mark.parametrize(
    ("flags", "wanted"), [({"avx2"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")]
)
def test_auto_takes_bfloat16_only_where_the_cpu_computes_it(monkeypatch, flags, wanted):
    monkeypatch.setattr(devices, "cpu_flags", lambda: frozenset(flags))
    assert learning_dtype("auto", torch.device("cpu")) == wanted


def test_auto_takes_float32_on_a_gpu_that_has_no_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "old")
    for native, wanted in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert learning_dtype("auto", torch.device("cuda:0")) == wanted


def test_what_is_asked_for_is_taken():
    assert learning_dtype("float32", torch.device("cpu")) == "float32"
    assert learning_dtype("bfloat16", torch.device("cpu")) == "bfloat16"


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigError, match="Known: auto, float32, bfloat16"):
        LoopSettings(dtype="float16")


def test_the_body_multiplies_in_bfloat16_and_everything_else_stays_float32():
    model, given = Model(), torch.randn(3, 8)
    with computing(model, "bfloat16"):
        found = model(given)
        assert (model.body.dtype, found.dtype) == (torch.bfloat16, torch.float32)
        found.sum().backward()
    assert model.body.layer.weight.grad.dtype == model.body.layer.weight.dtype == torch.float32
    exact = model(given)
    assert model.body.dtype == torch.float32
    assert not torch.equal(exact, found)
    assert torch.allclose(exact, found, atol=0.05)


def test_float32_changes_nothing():
    model = Model()
    with computing(model, "float32"):
        assert "forward" not in vars(model.body)


def test_a_body_that_was_given_another_forward_pass_keeps_it():
    model = Model()
    own = model.body.forward
    model.body.forward = lambda given: own(given)
    mine = model.body.forward
    with computing(model, "bfloat16"):
        model(torch.randn(1, 8))
    assert model.body.forward is mine


def test_the_forward_pass_is_itself_again_after_an_error():
    model = Model()
    with pytest.raises(RuntimeError), computing(model, "bfloat16"):
        model(torch.randn(3, 9))
    assert "forward" not in vars(model.body)
    assert not torch.is_autocast_enabled("cpu")


def test_it_learns_as_well_in_bfloat16():
    rows = torch.tensor(np.random.default_rng(0).normal(size=(64, 8)), dtype=torch.float32)
    labels = (rows[:, 0] > 0).long()
    losses = {}
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = Model()
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
        with computing(model, dtype):
            for _ in range(60):
                loss = torch.nn.functional.cross_entropy(model(rows), labels)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
        losses[dtype] = float(loss.detach())
    assert losses["float32"] < 0.1
    assert losses["bfloat16"] < 0.1
