"""What the recipes share that learn with PEFT: little weights beside frozen ones, merged at the end."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from mercat.encoders.adapters import adapters_of
from mercat.errors import ConfigError, missing_extra
from mercat.training.classifying.classifier import ADAPTER
from mercat.training.classifying.partial import PartialRecipe


class PeftRecipe(PartialRecipe):
    """Fine-tunes what one configuration of PEFT adds, together with a linear head.

    Serving costs what `full` costs, because what was learned is merged into the body; alone, in `adapter/`, it is small
    enough to keep one per customer.
    """

    @abstractmethod
    def configuration(self, body: Any) -> Any:
        """Return PEFT's configuration for this body."""

    def adapted(self, body: Any) -> Any:
        """Return the body with its weights frozen and new ones beside them.

        Raises MissingExtra without PEFT, and ConfigError for a body with bottleneck adapters.
        """
        recipe = type(self).__name__.lower()
        try:
            from peft import get_peft_model
        except ImportError as error:
            raise missing_extra(f"The recipe '{recipe}'", "peft", "train") from error
        if adapters_of(body):
            found = "It has bottleneck adapters, which cannot be merged with others"
            raise ConfigError(
                f"The recipe '{recipe}' on this encoder", found, "use = 'full', or the encoder before them"
            )
        return get_peft_model(body, self.configuration(body))

    def merged(self, body: Any, folder: Path) -> Any:
        """Write what was learned alone into `adapter/`, and return the body with it merged in."""
        body.save_pretrained(folder / ADAPTER, safe_serialization=True)
        (folder / ADAPTER / "README.md").unlink(missing_ok=True)  # an empty model card
        return body.merge_and_unload()
