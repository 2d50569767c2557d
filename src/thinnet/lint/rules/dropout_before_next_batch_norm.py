from collections.abc import Iterator

from thinnet.lint.dataflow import ACTIVATIONS, DROPOUTS, LINEAR, NORMS, POOLS, RESHAPES, Operation, before
from thinnet.lint.rates import is_active, numbers, rate
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule, follows_norm
from thinnet.lint.tree import Tree

BETWEEN = RESHAPES | ACTIVATIONS | POOLS
LOWEST_RATE = 0.5


class DropoutBeforeNextBatchNorm(OperationRule):
    """## What it does
    Finds dropout with a rate of 0.5 or more whose output reaches the batch normalisation of the next block through linear
    layers or convolutions.

    ## Why is this bad?
    Dropout increases the variance of its output, in training only. A linear layer passes part of this on, so the running
    variance of the next normalisation is too large in eval mode.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5))
    ```

    ## Fix safety
    None: another order of layers is another network.

    ## References
    - Li et al. 2019, arXiv:1801.05134
    """

    code = "THN208"
    words = ("ropout", "BatchNorm|batch_norm")
    preview = True
    operations = NORMS

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        for layer in before(tree, op, BETWEEN):
            for prior in before(tree, layer, BETWEEN | LINEAR) if layer.name in LINEAR else ():
                sizes = [size for size, _ in numbers(tree, rate(tree, prior.options))]
                is_high = bool(sizes) and min(sizes) >= LOWEST_RATE
                if is_high and is_active(tree, prior, DROPOUTS) and not follows_norm(tree, prior):
                    message = "this shifts the variance of the next batch normalisation in eval mode; drop after the last norm"
                    yield Report(prior.node, message, cause=prior.options)
