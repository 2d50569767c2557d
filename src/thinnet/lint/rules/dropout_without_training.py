from thinnet.lint.rule_bases import MissingTrainingRule


class DropoutWithoutTraining(MissingTrainingRule):
    """## What it does
    Finds calls without `training` of functions that drop by default, such as `F.dropout`.

    ## Why is this bad?
    `training` is `True` by default. The call drops in eval mode too, so predictions are random. Training looks normal.

    ## Example
    ```python
    x = F.dropout(x, p=0.5)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, p=0.5, training=self.training)
    ```

    ## Fix safety
    Safe: training is unchanged, and eval mode becomes deterministic. For dropout in eval mode on purpose, write
    `training=True`. Outside of a module there is no fix.

    ## References
    - pytorch/pytorch#26338, facebookresearch/DME#3
    """

    code = "THN101"
    may_be_intended = True
    default = True
    effect = "drops in eval mode too"
    safe = True
