"""The recipe `bitfit`: of the encoder only the biases learn (Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199)."""

from __future__ import annotations

from typing import Any

from mercat.errors import ConfigError
from mercat.training.classifying.partial import PartialRecipe


class BitFit(PartialRecipe):
    """Fine-tunes the biases of the encoder, those of its norms too, together with a linear head.

    About 0.1 % of a BERT. Serving costs what `full` costs. Raises ConfigError, before training, for an encoder that has
    no biases.
    """

    def adapted(self, body: Any) -> Any:
        """Return the body with all frozen but its biases. Raises ConfigError if it has none."""
        body.requires_grad_(False)
        biases = [
            weight
            for name, weight in body.named_parameters()
            if name.rpartition(".")[2] == "bias" and not name.startswith("pooler.")
        ]
        if not biases:
            raise ConfigError("The recipe 'bitfit' trains biases", "This encoder has none", "use = 'lora'")
        for weight in biases:
            weight.requires_grad_(True)
        return body
