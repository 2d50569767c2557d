"""All claims, those of the usual introductions first."""

from collections.abc import Sequence
from importlib import import_module

from thinnet.report.mistakes import Mistake
from thinnet.reproductions.claim import Claim

INTRODUCTIONS = ("best_epoch_later", "shared_masks", "weight_scaling", "shifted_inputs")
PAPERS = (
    "lower_loss",
    "gaussian_noise",
    "flat_rate",
    "constant_kept_units",
    "data_size",
    "monte_carlo",
    "sparse_features",
    "ridge",
    "early_dropout",
    "variance_shift",
    "stochastic_depth",
    "recurrent",
    "blocks",
    "r_drop",
    "sparse_weights",
    "regression",
    "edges",
)


def claims(names: Sequence[str] = ()) -> list[Claim]:
    """Returns the claims with these names; all if there are none.

    Raises:
        Mistake: a name is unknown.

    Example:
        >>> [claim.name for claim in claims(["ridge"])]
        ['ridge']
    """
    known = {name.replace("_", "-"): name for name in (*INTRODUCTIONS, *PAPERS)}
    for name in names:
        if name not in known:
            raise Mistake(f"thinnet reproduce: NAME must be one of {', '.join(known)}; got {name!r}. Choose one of them.")
    files = (known[name] for name in names or known)
    return [import_module(f"thinnet.reproductions.experiments.{file}").CLAIM for file in files]
