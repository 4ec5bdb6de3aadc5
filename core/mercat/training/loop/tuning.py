"""How recipes change the body that they fine-tune for a purpose of their own: all of it, or a little beside it.

What the purpose needs on top (tags of tokens, pairs of texts, numbers) is the recipe's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from mercat.encoders.adapters import adapters_of
from mercat.errors import ConfigError, missing_extra
from mercat.training.base import Run
from mercat.training.classifying.model import freeze
from mercat.training.estimating import Estimate, Trial
from mercat.training.loop.adversary import Adversary
from mercat.training.loop.checkpoint import Checkpoints
from mercat.training.loop.loop import Outcome
from mercat.training.loop.objective import Objective
from mercat.training.loop.rehearsal import loop_estimate
from mercat.training.loop.running import Telling, notes_of, run_loop, seeded, shape_of
from mercat.training.loop.settings import LoopSettings

Adapt = Literal["full", "lora"]
_ADAPTER = "adapter"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a recipe fine-tunes the body of its encoder.

    `adapt` "full" lets every weight learn, "lora" matrices of `rank` beside all linear layers, merged at the end (Hu et
    al. 2021, https://arxiv.org/abs/2106.09685). Texts are cut after `max_tokens`. Raises ConfigError for settings out
    of range.
    """

    settings: LoopSettings
    adapt: Adapt
    rank: int
    max_tokens: int
    device: str
    telling: Telling

    def __post_init__(self) -> None:
        for name, found, least in (("max_tokens", self.max_tokens, 8), ("rank", self.rank, 1)):
            if found < least:
                raise ConfigError(f"{name} = {found}", f"It is at least {least}", f"{name} = {least}")
        if self.adapt not in get_args(Adapt):
            raise ConfigError(f"adapt = '{self.adapt}'", f"Known: {', '.join(get_args(Adapt))}", "adapt = 'full'")

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {
            "loop": shape_of(self.settings),
            "adapt": self.adapt,
            "rank": self.rank if self.adapt == "lora" else 0,
            "max_tokens": self.max_tokens,
        }

    def adapted(self, body: Any, *, seed: int) -> Any:
        """Return the body as it learns. Raises ConfigError for one with bottleneck adapters, MissingExtra."""
        if self.adapt == "full":
            freeze(body, layers=0)
            return body
        if adapters_of(body):
            found = "It has bottleneck adapters, which cannot be merged with others"
            raise ConfigError("adapt = 'lora' on this encoder", found, "adapt = 'full', or the encoder before them")
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError as error:
            raise missing_extra("adapt = 'lora'", "peft", "train") from error
        beside: dict[str, Any] = {"r": self.rank, "lora_alpha": 2 * self.rank, "lora_dropout": 0.05}
        with seeded(seed):
            unused = r"pooler.*" if hasattr(body, "pooler") else None  # PEFT warns of what is not there
            return get_peft_model(body, LoraConfig(**beside, target_modules="all-linear", exclude_modules=unused))

    def merged(self, body: Any, folder: Path) -> Any:
        """Return the body as it is saved; what LoRA learned lies alone in `adapter/` of the folder as well."""
        if self.adapt == "full":
            return body
        body.save_pretrained(folder / _ADAPTER, safe_serialization=True)
        (folder / _ADAPTER / "README.md").unlink(missing_ok=True)  # an empty model card
        return body.merge_and_unload()

    def place(self, run: Run, model: torch.nn.Module) -> None:
        """Put the model on the device that it learns on."""
        model.to(run.world.device(self.device).name)

    def estimate(
        self,
        trial: Trial,
        model: torch.nn.Module,
        objective: Objective,
        *,
        seed: int,
        validation: Iterable[Sized],
    ) -> Estimate:
        """Return what `fit` and all stages of the trial would cost; `validation` has the tokens of each row."""
        return loop_estimate(
            trial,
            model,
            self.settings,
            objective=objective,
            seed=seed,
            validation=validation,
            adversary=self._adversary(model),
        )

    def fit(self, run: Run, model: torch.nn.Module, objective: Objective, checkpoints: Checkpoints) -> Outcome:
        """Run the loop over a model whose pretrained part is `model.body`; all processes but the first end here."""
        outcome = run_loop(
            run,
            model,
            self.settings,
            objective=objective,
            checkpoints=checkpoints,
            telling=self.telling,
            adversary=self._adversary(model),
        )
        run.world.leave_to_first()
        return outcome

    def _adversary(self, model: torch.nn.Module) -> Adversary | None:
        size, body = self.settings.adversarial, getattr(model, "body", None)
        return Adversary(body.get_input_embeddings(), size=size) if size and body is not None else None

    def notes(self, run: Run, outcome: Outcome) -> list[str]:
        """Return what a person should know of a run."""
        return [*notes_of(outcome, self.settings.epochs), *self.telling.boards(run)]
