"""Addressed masks with skorch."""

from typing import Any

from skorch.callbacks import Callback

from thinnet.integrations.keyword import KeywordIds
from thinnet.rng import DropoutRNG
from thinnet.rng.sample_ids import KEY


class DropoutRNGCallback(Callback):
    """Sets the next step and the sample ids of each training batch.

    `fit` starts at step 0, as it makes a new module; `partial_fit` and `warm_start` go on after the last step.

    `X` is a dict of the module's arguments and of the ids under `key`: they stay with their rows in every split.

    Args:
        rng: bound to the module whenever a training starts with a new one.
        key: the name of the ids in `X`.
    """

    def __init__(self, rng: DropoutRNG, key: str = KEY) -> None:
        self.rng, self.key = rng, key

    def initialize(self) -> "DropoutRNGCallback":
        """Starts at step 0."""
        self.rng.context.at(None)
        self.ids_ = KeywordIds(self.rng, self.key)
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Binds the rng."""
        self.ids_.begin(net.module_)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Ends the training."""
        self.ids_.end()

    def on_batch_begin(self, net: Any, batch: Any = None, training: Any = None, **kwargs: Any) -> None:
        """Sets the next step."""
        if training:
            step = self.rng.step
            self.ids_.step = 0 if step is None else step + 1
