from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_false, keyword
from thinnet.lint.fixes import Fix, remove_keyword
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class CheckpointWithoutRngState(LintRule[cst.Call]):
    """## What it does
    Finds `checkpoint(..., preserve_rng_state=False)`.

    ## Why is this bad?
    The backward pass computes the block again. Without the saved state of the generator it draws another mask than the
    forward pass, so the gradients are wrong. No error is raised.

    ## Example
    ```python
    y = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
    ```

    ## Use instead
    ```python
    y = checkpoint(block, x, use_reentrant=False)
    ```

    ## Fix safety
    Unsafe: the gradients change, and saving the state costs time even if the block is not random.

    ## References
    - allenai/OLMo-core#828, openai/guided-diffusion#167
    """

    code = "THN401"
    words = ("preserve_rng_state",)

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if tree.name(node.func) != "torch.utils.checkpoint.checkpoint":
            return
        given = keyword(node, "preserve_rng_state")
        if given is not None and is_false(given.value):
            fix = Fix((remove_keyword(node, "preserve_rng_state"),), safe=False)
            problem = "recomputation draws other masks than the forward pass"
            yield Report(node, f"{problem}; remove `preserve_rng_state=False`", fix)
