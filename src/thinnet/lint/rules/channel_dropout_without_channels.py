from collections.abc import Iterator

from thinnet.lint.dataflow import ACTIVATIONS, Operation, predecessors
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree

WITHOUT_MAPS = frozenset("linear embedding layernorm conv1d batchnorm1d multiheadattention".split())


class ChannelDropoutWithoutChannels(OperationRule):
    """## What it does
    Finds `Dropout2d` and `Dropout3d` on the output of `Linear`, `Embedding`, `LayerNorm` or `Conv1d`.

    ## Why is this bad?
    These layers drop whole channels of `(N, C, H, W)`. On `(B, T, D)` they drop whole time steps or samples, and on
    `(N, D)` single elements, at best with a warning.

    ## Example
    ```python
    x = F.dropout2d(F.relu(self.linear(x)), 0.5, self.training)
    ```

    ## Use instead
    ```python
    x = F.dropout(F.relu(self.linear(x)), 0.5, self.training)
    ```

    ## Fix safety
    None: the author has to decide which axes share a mask value.

    ## References
    - pytorch/pytorch#69801, pytorch/pytorch#77081, braindecode/braindecode#1111
    """

    code = "THN204"
    words = ("ropout2d|ropout3d",)
    operations = frozenset({"dropout2d", "dropout3d"})

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        source = next((prior for prior in predecessors(tree, op) if prior.name not in ACTIVATIONS), None)
        if source is not None and source.name in WITHOUT_MAPS:
            problem = f"`{op.name}` drops channels of feature maps, but its input comes from `{source.name}`"
            yield Report(op.call, f"{problem}; use `Dropout` for elements, or `Dropout1d` for channels of (N, C, L)")
