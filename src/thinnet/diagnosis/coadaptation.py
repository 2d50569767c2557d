"""Co-adaptation of the units of a layer, measured by their correlations.

With the activations a of n samples and D units, C their covariance and R their correlation matrix:

    off-diagonal energy   (‖R‖² - D) / (D (D - 1)),   1 / (n - 1) for independent units
    mean correlation      mean of |R_ij| over i ≠ j
    participation ratio   (tr C)² / ‖C‖²,             the number of directions that carry the variance, 1 to D
    DeCov loss            ½ (‖C‖² - ‖diag C‖²)

Source: Cogswell et al. 2016, arXiv:1511.06068 (DeCov).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CONSTANT = 1e-12  # the share of the largest variance below which a unit counts as constant


@dataclass(frozen=True)
class CoAdaptation:
    """The co-adaptation of one layer.

    Args:
        energy: off-diagonal energy of the correlation matrix, 0 to 1.
        null: the expected energy of independent units at this number of samples.
        mean_correlation: mean of |correlation| over pairs.
        participation: participation ratio, 1 to the number of units.
        participation_share: the same as a fraction of the units that vary.
        decov: DeCov loss; it grows with the scale of the activations.
        constant: the number of units without variance, which are left out.
    """

    energy: float
    null: float
    mean_correlation: float
    participation: float
    participation_share: float
    decov: float
    constant: int


def coadaptation(activations: Tensor) -> CoAdaptation | None:
    """Returns the measures of co-adaptation; None if fewer than two units vary.

    Args:
        activations: `(n, D)`, one row per sample and one column per unit.

    Raises:
        ValueError: `activations` has not two axes, or fewer than three samples.

    Source: Cogswell et al. 2016, arXiv:1511.06068 (DeCov).

    >>> twins = torch.randn(50, 1).expand(50, 4)
    >>> round(coadaptation(twins).energy, 6), round(coadaptation(twins).participation, 6)
    (1.0, 1.0)
    """
    if activations.ndim != 2 or len(activations) < 3:
        shape = tuple(activations.shape)
        raise ValueError(f"coadaptation: activations must be (samples, units), with three samples or more; got {shape}.")
    c = covariance(activations)
    variances = c.diagonal()
    varies = variances > CONSTANT * variances.max()
    units = int(varies.sum())
    if units < 2:
        return None
    c = c[varies][:, varies]
    r = c / torch.outer(c.diagonal(), c.diagonal()).sqrt()
    pairs = r[~torch.eye(units, dtype=torch.bool, device=r.device)]
    participation = float(participation_ratio(c))
    return CoAdaptation(
        energy=float(pairs.square().mean()),
        null=1 / (len(activations) - 1),
        mean_correlation=float(pairs.abs().mean()),
        participation=participation,
        participation_share=participation / units,
        decov=float(decov(activations)),
        constant=len(varies) - units,
    )


def covariance(activations: Tensor) -> Tensor:
    """Returns the covariance of the units in double precision, `(D, D)`, with 1 / n as in DeCov."""
    centred = activations.double() - activations.double().mean(0)
    return centred.T @ centred / len(activations)


def participation_ratio(covariance: Tensor) -> Tensor:
    """Returns (Σ λ)² / Σ λ² of the eigenvalues of a covariance: k for k equal ones.

    >>> float(participation_ratio(torch.diag(torch.tensor([2.0, 2.0, 2.0, 0.0]))))
    3.0
    """
    return covariance.trace().square() / covariance.square().sum()


def decov(activations: Tensor) -> Tensor:
    """Returns ½ (‖C‖² - ‖diag C‖²) of the covariance C of the activations `(n, D)`.

    Source: Cogswell et al. 2016, arXiv:1511.06068.
    """
    c = covariance(activations)
    return (c.square().sum() - c.diagonal().square().sum()) / 2
