"""THN204."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.flow import ACTIVATIONS, back, operation
from thinnet.lint.rates import drops
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

NOT_MAPS = frozenset("linear embedding layernorm conv1d batchnorm1d multiheadattention".split())


class ChannelDropoutOnFeatures(Rule):
    """## What it does
    Finds `Dropout2d` and `Dropout3d` on what is no feature map: after `Linear`, `Embedding`, `LayerNorm` or `Conv1d`.

    ## Why is this bad?
    They drop whole channels of `(N, C, H, W)`. Of `(B, T, D)` they drop whole time steps or samples, and of `(N, D)`
    single elements, with a warning at best.

    ## Example
    ```python
    x = F.dropout2d(F.relu(self.linear(x)), 0.5, self.training)
    ```

    ## Use instead
    ```python
    x = F.dropout(F.relu(self.linear(x)), 0.5, self.training)
    ```

    ## Fix safety
    None: which axes shall share a coin is for the author to say.

    ## References
    - pytorch/pytorch#69801, pytorch/pytorch#77081, braindecode/braindecode#1111
    """

    code = "THN204"
    words = ("ropout2d|ropout3d",)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the dropouts of channels that are not there."""
        op = operation(tree, node) if isinstance(node, cst.Call) else None
        if op is None or not drops(tree, op, "dropout2d", "dropout3d"):
            return
        source = next((prior for prior in back(tree, op) if prior.name not in ACTIVATIONS), None)
        if source is not None and source.name in NOT_MAPS:
            what = f"`{op.name}` drops channels of feature maps, and this comes from `{source.name}`"
            yield Report(op.at, f"{what}; use `Dropout` for elements, `Dropout1d` for channels of (N, C, L)")
