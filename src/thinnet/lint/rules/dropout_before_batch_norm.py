from collections.abc import Iterator

from thinnet.lint.dataflow import ACTIVATIONS, DROPOUTS, NORMS, RESHAPES, Operation, predecessors
from thinnet.lint.rates import is_active
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree

LINEAR = frozenset("linear conv1d conv2d conv3d convtranspose1d convtranspose2d convtranspose3d".split())
POOLS = frozenset(f"{kind}pool{n}d" for kind in ("max", "avg", "adaptiveavg", "adaptivemax") for n in (1, 2, 3))


class DropoutBeforeBatchNorm(OperationRule):
    """## What it does
    Finds dropout before batch normalisation, with at most linear layers, activations and pools in between.

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
        for prior in predecessors(tree, op):
            if is_active(tree, prior, DROPOUTS):
                message = "dropout before batch normalisation shifts its variance in eval mode; drop after the last norm"
                yield Report(prior.call, message)
            if prior.name not in LINEAR | POOLS | RESHAPES | ACTIVATIONS:
                return
