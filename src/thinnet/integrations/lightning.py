"""Named coins under Lightning's Trainer."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from thinnet.coins import Coins
from thinnet.data import split


class CoinsCallback(Callback):
    """Goes to the step and the samples of each training batch, and saves the coins in the Trainer's checkpoints.

    Args:
        coins: bound to the LightningModule when the training starts, unless they are bound already.
        ids: how the ids are found in a batch; `thinnet.data.split` if left out.
    """

    def __init__(self, coins: Coins, ids: Callable[[Any], Tensor] | None = None) -> None:
        self.coins = coins
        self.ids = ids if ids is not None else lambda batch: split(batch)[0]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Binds the coins."""
        if not self.coins.sites:
            self.coins.bind(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Goes to the place of the batch; its training step counts as one forward pass."""
        self.coins.at(trainer.global_step, self.ids(batch))
        self.coins.clock.calls.begin()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Ends the forward pass."""
        self.coins.clock.calls.end()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the coins."""
        return self.coins.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks the saved state against the model and goes on from it."""
        self.coins.load_state_dict(state_dict)
