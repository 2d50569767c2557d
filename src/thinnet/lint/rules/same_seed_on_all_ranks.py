"""THN402."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

SEEDERS = frozenset(
    "torch.manual_seed torch.cuda.manual_seed torch.cuda.manual_seed_all lightning.seed_everything "
    "pytorch_lightning.seed_everything transformers.set_seed accelerate.utils.set_seed".split()
)


class SameSeedOnAllRanks(Rule):
    """## What it does
    Finds a constant seed in a file that starts a process group, and no other seed with the rank in it.

    ## Why is this bad?
    All ranks draw the same masks. The batch is as large as ever, but its parts share their noise.

    ## Example
    ```python
    dist.init_process_group("nccl")
    torch.manual_seed(0)
    ```

    ## Use instead
    ```python
    dist.init_process_group("nccl")
    torch.manual_seed(0)  # the same weights on all ranks
    model = DistributedDataParallel(make_model())
    torch.manual_seed(1 + dist.get_rank())  # and masks of their own
    ```

    ## Fix safety
    None: weights that are drawn afterwards may need the same seed on all ranks.

    ## References
    - huggingface/transformers#31412, huggingface/accelerate#114
    """

    code = "THN402"
    words = ("init_process_group", "seed")
    preview = True

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the seeds that are the same everywhere."""
        if not isinstance(node, cst.Call) or tree.name(node.func) not in SEEDERS or not node.args:
            return
        calls = [call for call in tree.kinds[cst.Call] if isinstance(call, cst.Call)]
        if not any(tree.name(call.func) == "torch.distributed.init_process_group" for call in calls):
            return
        seeds = [call.args[0].value for call in calls if tree.name(call.func) in SEEDERS and call.args]
        ranked = any("rank" in name.value.lower() for seed in seeds for name in tree.under(seed, cst.Name))
        if tree.number(node.args[0].value) is not None and not ranked:
            yield Report(node, "all ranks draw the same masks; seed again with the rank in it once the weights are drawn")
