"""The contract of a generator: inherit `GeneratorContract`, say how one is made, and the tests come along."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import pytest

from mercat.errors import ConfigError
from mercat.generators.base import Generated, Generator, Prompt
from mercat.testing.contract import Contract


class GeneratorContract(Contract):
    """What every generator must do. `prompts` are texts that it has something to say to, in `length` tokens."""

    prompts: Sequence[str] = ("Once upon a time", "The parcel", "a", "One day a little cat saw a big red ball and")
    length = 12
    _made: Generator

    @abstractmethod
    def generator(self) -> Generator:
        """Return a new generator that has not loaded anything yet."""

    @pytest.fixture
    def shared(self) -> Generator:
        """One generator for all tests of a class: weights are slow to load."""
        kind = type(self)
        if "_made" not in vars(kind):
            kind._made = self.generator()
        return kind._made

    def greedy(self, generator: Generator, prompts: Sequence[Prompt | str]) -> list[Generated]:
        """Answer with the likeliest tokens."""
        return generator.generate_many(prompts, max_tokens=self.length)

    def test_it_is_a_generator(self, shared: Generator) -> None:
        assert isinstance(shared, Generator)

    def test_every_prompt_has_its_answer_in_order(self, shared: Generator) -> None:
        found = self.greedy(shared, self.prompts)
        assert len(found) == len(self.prompts)
        assert len({each.text for each in found}) > 1
        assert self.greedy(shared, self.prompts[::-1]) == found[::-1]

    def test_an_answer_does_not_repeat_its_prompt_and_is_counted(self, shared: Generator) -> None:
        for prompt, found in zip(self.prompts, self.greedy(shared, self.prompts), strict=True):
            assert not found.text.startswith(prompt)
            assert found.finish in ("stop", "length")
            assert found.tokens is None or 0 < found.tokens <= self.length
            assert found.prompt_tokens is None or found.prompt_tokens > 0

    def test_a_batch_of_one_equals_a_batch_of_many(self, shared: Generator) -> None:
        assert [self.greedy(shared, [prompt])[0] for prompt in self.prompts] == self.greedy(shared, self.prompts)

    def test_a_text_is_a_prompt_without_more(self, shared: Generator) -> None:
        assert self.greedy(shared, [Prompt(self.prompts[0])]) == self.greedy(shared, self.prompts[:1])

    def test_no_prompts_give_no_answers(self, shared: Generator) -> None:
        assert shared.generate_many([]) == []

    def test_fewer_tokens_are_the_beginning(self, shared: Generator) -> None:
        (whole,), (short,) = (shared.generate_many(self.prompts[:1], max_tokens=most) for most in (self.length, 3))
        assert whole.text.startswith(short.text)
        assert len(short.text) < len(whole.text)
        assert short.finish == "length"

    def test_an_answer_ends_before_a_stop_text(self, shared: Generator) -> None:
        (whole,) = self.greedy(shared, self.prompts[:1])
        stop = whole.text[len(whole.text) // 2 :][:3]
        (cut,) = shared.generate_many(self.prompts[:1], max_tokens=self.length, stop=["\x00never", stop])
        assert cut.text == whole.text[: whole.text.find(stop)]
        assert cut.finish == "stop"
        *_, last = shared.stream(self.prompts[0], max_tokens=self.length, stop=["\x00never", stop])
        assert last.done is not None
        assert last.done.text == cut.text

    def test_a_stream_is_the_same_answer_in_pieces(self, shared: Generator) -> None:
        (whole,) = self.greedy(shared, self.prompts[:1])
        pieces = list(shared.stream(self.prompts[0], max_tokens=self.length))
        assert "".join(piece.text for piece in pieces) == whole.text
        assert len([piece for piece in pieces if piece.text]) > 2
        assert [piece.done for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
        assert pieces[-1].done == whole

    def test_the_same_seed_draws_the_same_tokens(self, shared: Generator) -> None:
        def drawn(seed: int) -> list[Generated]:
            return shared.generate_many(self.prompts, max_tokens=self.length, temperature=1.0, seed=seed)

        assert drawn(1) == drawn(1)
        assert len({found.text for seed in range(5) for found in drawn(seed)[:1]}) > 1

    @pytest.mark.parametrize(
        "wrong", [{"max_tokens": 0}, {"temperature": -0.1}, {"temperature": float("nan")}, {"stop": ["a", ""]}]
    )
    def test_values_out_of_range_are_refused_in_three_parts(self, shared: Generator, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError) as caught:
            shared.generate_many(self.prompts, **wrong)
        assert all([caught.value.asked, caught.value.found, caught.value.next])
        with pytest.raises(ConfigError):
            list(shared.stream(self.prompts[0], **wrong))

    def test_threads_may_share_it(self, shared: Generator) -> None:
        fresh, found = self.generator(), {}
        wanted = self.greedy(shared, self.prompts)

        def work(number: int) -> None:
            found[number] = self.greedy(fresh, self.prompts)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == dict.fromkeys(range(3), wanted)

    def test_info_says_what_it_runs_as(self, shared: Generator) -> None:
        shared.warm_up()
        info = shared.info()
        assert all([info.model, info.backend, info.device])
