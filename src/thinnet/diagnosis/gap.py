"""The gap between training and held-out data, with the training loss measured in eval mode.

The loss that a training loop prints has the coins on. It is higher than that of the network that is used, and held-out loss
minus it is no gap: it may well be negative.
"""

from dataclasses import dataclass

from thinnet.diagnosis.scores import Score


@dataclass(frozen=True)
class Gap:
    """Losses, and accuracies where there are any, with standard errors over samples where the loss gives one number a sample.

    Args:
        train: in eval mode.
        coins_on: the same samples with the coins on, mean over draws.
        held_out: in eval mode; None without held-out data.
    """

    train: Score
    coins_on: Score
    held_out: Score | None

    @property
    def gap(self) -> float | None:
        """Held-out loss minus training loss, both in eval mode."""
        return None if self.held_out is None else self.held_out.loss - self.train.loss

    @property
    def naive(self) -> float | None:
        """Held-out loss minus training loss with the coins on: what a training loop shows."""
        return None if self.held_out is None else self.held_out.loss - self.coins_on.loss

    @property
    def error(self) -> float | None:
        """The standard error of `gap`, the samples of both being independent."""
        if self.held_out is None or self.held_out.error is None or self.train.error is None:
            return None
        return (self.held_out.error**2 + self.train.error**2) ** 0.5

    @property
    def price(self) -> float:
        """What the coins cost on the training samples: loss with them on minus loss in eval mode."""
        return self.coins_on.loss - self.train.loss
