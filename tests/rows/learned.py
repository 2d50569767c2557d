"""Rows of the methods with learned rates. The rate of a row is the start of learning; all are multiples of 1/65536."""

import math

import torch
from torch import Tensor, nn

from rows.row import METHODS, Row
from thinnet.methods.learned.concrete_dropout import ConcreteDropout
from thinnet.methods.learned.information_dropout import LEAST, InformationDropout
from thinnet.methods.learned.learned_dropout import LearnedDropout
from thinnet.methods.learned.sparse_variational_dropout import SparseVariationalDropout
from thinnet.methods.learned.variational_dropout import VariationalDropout
from thinnet.methods.learned.variational_weight_dropout import VariationalWeightDropout

WEIGHT = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
LEARNED = dict(edges=(), outside=())
LIMIT = 0.999  # of alpha, so that 0 of the side layer means 0.5


class Through(nn.Linear):
    """A layer that returns its input, so that the output is the noisy input."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class ThroughMaps(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Same(nn.Module):
    """A side layer with one value for all units."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        share = (alpha - LEAST) / (LIMIT - LEAST)
        self.odds = nn.Parameter(torch.tensor(math.log(share / (1 - share))))

    def forward(self, x: Tensor) -> Tensor:
        return self.odds.expand(x.shape)


def linear() -> nn.Linear:
    layer = nn.Linear(7, 5, bias=False)
    layer.weight = nn.Parameter(WEIGHT.clone())
    return layer


ROWS: tuple[Row, ...] = (
    Row(
        METHODS["ConcreteDropout"],
        ((5, 7), (2, 3, 4, 7)),
        dict(temperature=0.1),
        rates=(0.125, 0.5, 0.75),
        build=lambda p: ConcreteDropout(Through(7, 7), p, temperature=0.1),
        learned=("logit", torch.sigmoid),
        kept=2 * 4 * 64 * 7 + 64,
        state=("logit", "weight", "bias"),
        **LEARNED,
    ),
    Row(
        METHODS["ConcreteDropout"],
        ((4, 8, 5, 3), (2, 130, 1, 2)),
        dict(temperature=2 / 3, spatial=True),
        rates=(0.125, 0.5),
        build=lambda p: ConcreteDropout(ThroughMaps(8, 8, 1), p),
        learned=("logit", torch.sigmoid),
        kept=2 * 4 * 64 * 8 + 64,
        state=("logit", "weight", "bias"),
        **LEARNED,
    ),
    *(
        Row(
            METHODS["LearnedDropout"],
            ((5, 7), (2, 3, 4, 7)),
            dict(estimator=estimator),
            rates=(0.125, 0.5, 0.75),
            build=lambda p, estimator=estimator: LearnedDropout(Through(7, 7), p, estimator=estimator),
            learned=("logit", torch.sigmoid),
            kept=6 * 4 * 64 * 7 + 64,
            state=("logit", "weight", "bias"),
            derivative=False,
            twice=False,
            **LEARNED,
        )
        for estimator in ("reinmax", "straight_through")
    ),
    Row(
        METHODS["VariationalDropout"],
        ((5, 7), (2, 3, 4, 7)),
        rates=(0.125, 0.25, 0.5),
        build=lambda p: VariationalDropout(7, p),
        learned=("log_alpha", torch.sigmoid),
        kept=2 * 4 * 64 * 7 + 64,
        state=("log_alpha",),
        **LEARNED,
    ),
    Row(
        METHODS["VariationalWeightDropout"],
        ((4, 7), (2, 3, 7)),
        dict(weight=WEIGHT),
        rates=(0.125, 0.25, 0.5),
        build=lambda p: VariationalWeightDropout(linear(), p, per="weight"),
        learned=("log_alpha", torch.sigmoid),
        state=("log_alpha", "weight"),
        kept=4 * (3 * 35 + 64 * 7 + 2 * 64 * 5) + 64 * 5 + 64,
        resized=True,
        rounded=False,
        **LEARNED,
    ),
    Row(
        METHODS["SparseVariationalDropout"],
        ((4, 7), (2, 3, 7)),
        dict(weight=WEIGHT),
        rates=(0.125, 0.5, 0.75),
        build=lambda sigma2: SparseVariationalDropout(linear(), math.log(sigma2)),
        learned=("log_sigma2", torch.exp),
        state=("log_sigma2", "weight"),
        kept=4 * (3 * 35 + 64 * 7 + 2 * 64 * 5) + 64 * 5 + 64,
        resized=True,
        rounded=False,
        **LEARNED,
    ),
    Row(
        METHODS["InformationDropout"],
        ((5, 7), (2, 3, 4, 7)),
        rates=(0.125, 0.25, 0.5),
        build=lambda alpha: InformationDropout(Same(alpha), limit=LIMIT),
        learned=("side.odds", lambda odds: LEAST + (LIMIT - LEAST) * odds.sigmoid()),
        state=("side.odds",),
        kept=4 * 4 * 64 * 7 + 64,
        **LEARNED,
    ),
)

OWN_TESTS: dict[str, str] = {}
