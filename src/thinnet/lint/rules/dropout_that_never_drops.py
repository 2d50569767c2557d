from thinnet.lint.rule_bases import MissingTrainingRule


class DropoutThatNeverDrops(MissingTrainingRule):
    """## What it does
    Finds calls without `training` of functions that do not drop by default, such as `F.alpha_dropout`.

    ## Why is this bad?
    `training` is `False` by default, unlike in `F.dropout`. The call always returns its input.

    ## Example
    ```python
    x = F.alpha_dropout(x, p=0.1)
    ```

    ## Use instead
    ```python
    x = F.alpha_dropout(x, p=0.1, training=self.training)
    ```

    ## Fix safety
    Unsafe: training starts to drop. Outside of a module there is no fix.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.alpha_dropout.html>
    """

    code = "THN102"
    words = ("alpha_dropout|drop_path",)
    default = False
    effect = "never drops"
    safe = False
