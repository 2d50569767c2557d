import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_false, keyword
from thinnet.lint.fixes import Fix, remove_keyword
from thinnet.lint.literals import literal
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree
from thinnet.lint.values import values

NAME = "preserve_rng_state"
CHECKPOINT = re.compile("checkpoint|ckpt|remat|recompute", re.IGNORECASE)


class CheckpointWithoutRngState(LintRule[cst.Call | cst.DictElement]):
    """## What it does
    Finds `preserve_rng_state=False` in calls of `checkpoint`, `checkpoint_wrapper` and functions that pass it on.

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
    kinds = (cst.Call, cst.DictElement)

    def check(self, node: cst.Call | cst.DictElement, tree: Tree) -> Iterator[Report]:
        problem = "recomputation draws other masks than the forward pass"
        if isinstance(node, cst.DictElement):
            if literal(node.key) == NAME and is_false(node.value):
                yield Report(node, f"{problem}; remove the key")
            return
        given = keyword(node, NAME) if CHECKPOINT.search(tree.name(node.func) or tree.code(node)) else None
        off = next((value for value in values(tree, given.value) if is_false(value)), None) if given is not None else None
        if given is not None and off is not None:
            fix = Fix((remove_keyword(node, NAME),), safe=False) if off is given.value else None
            yield Report(node, f"{problem}; remove `{NAME}=False`", fix, off)
