from collections.abc import Iterator

from thinnet.lint.dataflow import ACTIVATIONS, DROPOUTS, NORMS, POOLS, RESHAPES, Operation, before
from thinnet.lint.rates import is_active
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule, follows_norm
from thinnet.lint.tree import Tree


class DropoutBeforeBatchNorm(OperationRule):
    """## What it does
    Finds dropout before batch normalisation, with at most activations and pools in between.

    ## Why is this bad?
    Dropout increases the variance of its output, in training only. The running variance of batch normalisation is then
    too large in eval mode, and accuracy drops.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.BatchNorm1d(64), nn.ReLU())
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5))
    ```

    ## Fix safety
    None: another order of layers is another network.

    ## References
    - Li et al. 2019, arXiv:1801.05134
    """

    code = "THN201"
    words = ("ropout", "BatchNorm|batch_norm")
    operations = NORMS

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        for prior in before(tree, op, RESHAPES | ACTIVATIONS | POOLS):
            if is_active(tree, prior, DROPOUTS) and not follows_norm(tree, prior):
                message = "dropout before batch normalisation shifts its variance in eval mode; drop after the norm"
                yield Report(prior.node, message, cause=prior.options)
