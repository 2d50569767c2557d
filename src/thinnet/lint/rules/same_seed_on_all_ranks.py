from collections.abc import Iterator

import libcst as cst

from thinnet.lint.evaluation import shows_calm_models
from thinnet.lint.literals import called_name
from thinnet.lint.model_modes import unit
from thinnet.lint.rates import number
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import SEED_FUNCTIONS, ConstantSeedRule
from thinnet.lint.tree import Tree
from thinnet.lint.values import route


class SameSeedOnAllRanks(ConstantSeedRule):
    """## What it does
    Finds a seed in a file that starts a process group for data-parallel training and sets no seed that depends on the rank.

    ## Why is this bad?
    All ranks draw the same masks, so the parts of a batch share their noise.

    ## Example
    ```python
    dist.init_process_group("nccl")
    torch.manual_seed(0)
    model = DistributedDataParallel(make_model())
    ```

    ## Use instead
    ```python
    dist.init_process_group("nccl")
    torch.manual_seed(0)  # the same weights on all ranks
    model = DistributedDataParallel(make_model())
    torch.manual_seed(1 + dist.get_rank())  # other masks on each rank
    ```

    ## Fix safety
    None: weights that are initialised later may need the same seed on all ranks.

    ## References
    - huggingface/transformers#31412, huggingface/accelerate#114
    """

    code = "THN402"
    words = ("init_process_group", "seed", "DistributedDataParallel|DDP|FullyShardedDataParallel|FSDP|fully_shard")
    preview = True

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        is_given = tree.name(node.func) in SEED_FUNCTIONS and bool(node.args) and not isinstance(node.args[0].value, cst.Call)
        if not is_given or shows_calm_models(tree) or self._starts_ranks(tree, node):
            return
        if number(tree, node.args[0].value) is not None or "ropout" in tree.text:
            yield from self.check_seed(node, tree)

    def _starts_ranks(self, tree: Tree, node: cst.Call) -> bool:
        """Returns whether the seed is that of the process that spawns the ranks, which do not inherit it."""
        here = unit(tree, node)
        spawns = [call for call in tree.kinds[cst.Call] if isinstance(call, cst.Call) and called_name(call) == "spawn"]
        return any(here in (tree.module, unit(tree, call)) for call in spawns)

    def check_seed(self, call: cst.Call, tree: Tree) -> Iterator[Report]:
        calls = [other for other in tree.kinds[cst.Call] if isinstance(other, cst.Call)]
        if not any(tree.name(other.func) == "torch.distributed.init_process_group" for other in calls):
            return
        seeds = [other.args[0].value for other in calls if tree.name(other.func) in SEED_FUNCTIONS and other.args]
        names = [name for seed in seeds for value in route(tree, seed) for name in tree.under(value, cst.Name)]
        parts = [part for name in names for value in route(tree, name) for part in tree.under(value, cst.Name)]
        if not any("rank" in part.value.lower() for part in parts):
            message = "all ranks draw the same masks; set a seed that depends on the rank after the weights are initialised"
            yield Report(call, message)
