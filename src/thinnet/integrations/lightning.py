"""Addressed masks with Lightning's Trainer."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from thinnet.integrations.keyword import bind_to
from thinnet.rng import DropoutRNG
from thinnet.rng.sample_ids import split


class DropoutRNGCallback(Callback):
    """Sets the step and the sample ids of each training batch, and saves the rng in the Trainer's checkpoints.

    The step is `trainer.global_step`: a second `fit` of a Trainer goes on, and that of a new Trainer starts at step 0.

    Args:
        rng: bound to the LightningModule when a training starts, unless it is bound to it already.
        ids: returns the ids of a batch; `thinnet.rng.sample_ids.split` if left out.
    """

    def __init__(self, rng: DropoutRNG, ids: Callable[[Any], Tensor] | None = None) -> None:
        self.rng = rng
        self.ids = ids if ids is not None else lambda batch: split(batch)[0]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Binds the rng."""
        if stage == "fit" or not self.rng.sites:
            bind_to(self.rng, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Sets the step and the ids; the training step counts as one forward pass."""
        self.rng.at(trainer.global_step, self.ids(batch))
        self.rng.context.calls.begin()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Ends the forward pass."""
        self.rng.context.calls.end()

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Ends a forward pass without a loss."""
        self.rng.context.calls.end()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the rng."""
        return self.rng.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks the saved state against the model and loads it."""
        self.rng.load_state_dict(state_dict)
