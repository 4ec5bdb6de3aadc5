"""Saving a body draws no bar, and changes nothing for whoever draws bars in the same process."""

import threading

import pytest

pytest.importorskip("transformers")

from mercat.encoders.saving import save_body
from mercat.encoders.transformer import Transformer


@pytest.fixture
def bars():
    """Bars are on, as where nobody touched them; whatever a test does is undone."""
    from transformers.utils import logging

    was, hook = logging.is_progress_bar_enabled(), logging.set_tqdm_hook(None)
    logging.enable_progress_bar()
    yield logging
    logging.set_tqdm_hook(hook)
    if not was:
        logging.disable_progress_bar()


@pytest.fixture
def body(tiny):
    return Transformer(str(tiny), device="cpu").load_for_training()


def save(body, folder):
    return save_body(*body, folder, pooling="mean", max_tokens=20)


def test_no_bar_is_drawn_and_bars_are_on_afterwards(bars, body, tmp_path, capfd):
    save(body, tmp_path / "ours")
    assert capfd.readouterr() == ("", "")
    body[0].save_pretrained(tmp_path / "theirs")
    assert "Writing model shards" in capfd.readouterr().err, "nothing to silence: this test has lost its point"


def test_a_hook_of_the_process_is_put_back_even_after_an_error(bars, body, tmp_path):
    def theirs(bar, args, options):
        return bars.EmptyTqdm(*args, **options)

    bars.set_tqdm_hook(theirs)
    save(body, tmp_path / "ours")
    assert bars.set_tqdm_hook(theirs) is theirs

    class Full:
        state_dict = dict

        def save_pretrained(self, folder):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        save((Full(), body[1]), tmp_path / "full")
    assert bars.set_tqdm_hook(None) is theirs


def test_bars_of_other_threads_go_on(bars, body, tmp_path, capfd):
    class Meanwhile:
        """A body that is being saved while another thread draws a bar."""

        config = body[0].config
        state_dict = dict

        def save_pretrained(self, folder):
            list(bars.tqdm([1], desc="of this thread"))
            other = threading.Thread(target=lambda: list(bars.tqdm([1], desc="of another thread")))
            other.start()
            other.join()

    save((Meanwhile(), body[1]), tmp_path / "ours")
    told = capfd.readouterr().err
    assert "of another thread" in told
    assert "of this thread" not in told
