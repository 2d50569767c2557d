from collections.abc import Iterator

from thinnet.lint.dataflow import ACTIVATIONS, Operation, before
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree

WITHOUT_MAPS = frozenset("linear embedding layernorm conv1d batchnorm1d multiheadattention".split())
WITHOUT_SEQUENCES = frozenset({"linear"})  # (N, C): a sample is taken for a channel


class ChannelDropoutWithoutChannels(OperationRule):
    """## What it does
    Finds `Dropout2d` and `Dropout3d` on the output of `Linear`, `Embedding`, `LayerNorm` or `Conv1d`, and `Dropout1d` on the
    output of `Linear`.

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
    words = ("ropout1d|ropout2d|ropout3d",)
    operations = frozenset({"dropout1d", "dropout2d", "dropout3d"})

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        one = op.name == "dropout1d"
        wrong = WITHOUT_SEQUENCES if one else WITHOUT_MAPS
        sources = before(tree, op, ACTIVATIONS | {"batchnorm1d"} if one else ACTIVATIONS)
        if sources and all(source.name in wrong for source in sources):
            problem = f"`{op.name}` drops channels, but its input comes from `{sources[0].name}`"
            remedy = "use `Dropout` for elements" + ("" if one else ", or `Dropout1d` for channels of (N, C, L)")
            yield Report(op.node, f"{problem}; {remedy}", cause=op.options)
