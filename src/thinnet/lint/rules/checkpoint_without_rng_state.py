"""THN401."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import is_false, keyword
from thinnet.lint.changes import drop_keyword
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree


class CheckpointWithoutRngState(Rule):
    """## What it does
    Finds `checkpoint(..., preserve_rng_state=False)`.

    ## Why is this bad?
    The backward pass computes the block again. Without the state of the generator it draws other masks than the forward
    pass, and the gradients belong to a network that was never run. Nothing fails; the model is worse.

    ## Example
    ```python
    y = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
    ```

    ## Use instead
    ```python
    y = checkpoint(block, x, use_reentrant=False)
    ```

    ## Fix safety
    Unsafe: the gradients change, and a block that draws nothing pays for keeping the state.

    ## References
    - allenai/OLMo-core#828, openai/guided-diffusion#167
    """

    code = "THN401"
    words = ("preserve_rng_state",)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the checkpoints that draw anew."""
        if not isinstance(node, cst.Call) or tree.name(node.func) != "torch.utils.checkpoint.checkpoint":
            return
        given = keyword(node, "preserve_rng_state")
        if given is not None and is_false(given.value):
            fix = Fix((drop_keyword(node, "preserve_rng_state"),), safe=False)
            yield Report(node, "recomputation draws other masks than forward did; leave out `preserve_rng_state=False`", fix)
