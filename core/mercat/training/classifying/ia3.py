"""The recipe `ia3`: keys, values and inner activations are rescaled (Liu et al. 2022, https://arxiv.org/abs/2205.05638)."""

from __future__ import annotations

import re
from typing import Any

from mercat.encoders.adapters import ENDS_FEED_FORWARD
from mercat.errors import ConfigError
from mercat.training.classifying.beside import PeftRecipe

KEYS_AND_VALUES = r".*\.(key|value|k_lin|v_lin|key_proj|value_proj|attn\.k|attn\.v)"


class Ia3(PeftRecipe):
    """Fine-tunes one factor per key, value and inner activation of each layer, with PEFT, and a linear head.

    The fewest weights of all: 0.06 % of a MiniLM. The factors are merged, so serving costs what `full` costs; alone
    they lie in `adapter/`. `weight_decay` pulls factors to 0, not to 1: leave it at 0. For the families of BERT,
    DistilBERT, MPNet and DeBERTa; raises ConfigError, before training, for a body whose layers have other names.
    """

    def configuration(self, body: Any) -> Any:
        """Return PEFT's configuration. Raises ConfigError for a body without keys, values and inner activations."""
        from peft import IA3Config

        names = [name for name, _ in body.named_modules()]
        for pattern in (KEYS_AND_VALUES, ENDS_FEED_FORWARD):
            if not any(re.fullmatch(pattern, name) for name in names):
                found = f"A {type(body).__name__} has no layers named like '{pattern}'"
                raise ConfigError("The recipe 'ia3' rescales keys, values and inner activations", found, "use = 'lora'")
        # what ends the feed-forward part takes the inner activations, so there it is the input that is rescaled
        return IA3Config(target_modules=f"{KEYS_AND_VALUES}|{ENDS_FEED_FORWARD}", feedforward_modules=ENDS_FEED_FORWARD)
