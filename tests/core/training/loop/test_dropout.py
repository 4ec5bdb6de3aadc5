"""Dropout of one byte per element: the rate, the mean, the gradient, and who draws."""

import pytest

torch = pytest.importorskip("torch")

from mercat.training.loop.dropout import dropout, quick_dropout  # noqa: E402

ROWS = 200_000


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_the_rate_is_that_of_a_256th_and_the_mean_stays(rate):
    found = dropout(torch.ones(ROWS), rate)
    wanted = round(rate * 256) / 256
    assert float((found == 0).float().mean()) == pytest.approx(wanted, abs=0.005)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.02)
    assert set(found.unique().tolist()) == {0.0, float(torch.tensor(1 / (1 - wanted)))}


def test_elements_are_dropped_independently_of_their_neighbours():
    kept = (dropout(torch.ones(ROWS), 0.5) != 0).float()
    for apart in (1, 2, 7, 8):
        pairs = torch.stack([kept[:-apart], kept[apart:]])
        assert abs(float(torch.corrcoef(pairs)[0, 1])) < 0.02, apart


def test_gradients_pass_just_where_values_did():
    given = torch.randn(3, 5, 7, requires_grad=True)
    found = dropout(given, 0.4)
    found.sum().backward()
    scale = 256 / (256 - round(0.4 * 256))
    assert torch.equal(given.grad, (found != 0).float() * scale)


def test_a_rate_of_nothing_and_of_everything():
    given = torch.randn(11)
    assert dropout(given, 0.0) is given
    assert not dropout(given, 1.0).any()


def test_the_draw_follows_the_generator():
    torch.manual_seed(3)
    one = dropout(torch.ones(100), 0.3)
    other = dropout(torch.ones(100), 0.3)
    torch.manual_seed(3)
    assert torch.equal(one, dropout(torch.ones(100), 0.3))
    assert not torch.equal(one, other)


def test_a_model_drops_in_training_alone_and_is_itself_again_afterwards():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
    given = torch.randn(6, 4)
    with quick_dropout(model):
        assert (model.train()(given) == 0).any()
        assert torch.equal(model.eval()(given), model[0](given))
        assert "forward" in vars(model[1])
    assert "forward" not in vars(model[1])
