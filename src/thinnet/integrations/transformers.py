"""Addressed masks with Hugging Face's Trainer; `register_attention` for its models."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from thinnet.integrations.keyword import KeywordIds
from thinnet.integrations.transformers_attention import register_attention as register_attention
from thinnet.rng import DropoutRNG
from thinnet.rng.sample_ids import KEY


class DropoutRNGCallback(TrainerCallback):
    """Sets the step and the sample ids of each training batch.

    The step is `state.global_step`: each `train()` starts at step 0, and a resumed one where it was cut off.

    The data sets are wrapped by `thinnet.rng.sample_ids.indexed`, and `data_collator` is
    `collate(function, key=KEY)` of the same module.

    Args:
        rng: bound to the model when a training starts, unless it is bound to it already.
        key: the name of the ids in a batch.
    """

    def __init__(self, rng: DropoutRNG, key: str = KEY) -> None:
        self.ids = KeywordIds(rng, key)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Binds the rng."""
        self.ids.begin(kwargs["model"])

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Notes the step; the ids come with the forward passes, of which gradient accumulation makes several."""
        self.ids.step = state.global_step

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ends the training."""
        self.ids.end()
