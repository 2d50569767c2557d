"""A deep residual network that skips blocks in training ends with a lower test error."""

from torch import Tensor, nn

from thinnet.nn import StochasticDepth
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import error, nll, trained
from thinnet.reproductions.pictures import Pictures, Split

LOSS, ERROR = "test loss, stochastic minus constant depth, nats", "test error, stochastic minus constant depth, points"
BLOCKS, WIDTH, LAST = 24, 64, 0.5


class Block(nn.Module):
    """A residual block whose branch is skipped with a probability."""

    def __init__(self, p: float) -> None:
        super().__init__()
        branch = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.branch = StochasticDepth(branch, p)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x)


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains 24 blocks with rates that rise linearly to 0.5, and without."""
    data = pictures.split(seed, 900).flat()
    constant, stochastic = (
        trained(lambda last=last: _network(data, last), data.x, data.y, seed, 60, decays=True) for last in (0.0, LAST)
    )
    test = data.x_test, data.y_test
    return {LOSS: nll(stochastic, *test) - nll(constant, *test), ERROR: error(stochastic, *test) - error(constant, *test)}


def _network(data: Split, last: float) -> nn.Module:
    blocks = [Block(last * number / BLOCKS) for number in range(1, BLOCKS + 1)]
    return nn.Sequential(nn.Linear(data.x.shape[1], WIDTH), *blocks, nn.Linear(WIDTH, data.classes))


CLAIM = Claim(
    name="stochastic-depth",
    source="Huang et al. 2016, arXiv:1603.09382",
    says="Dropping whole residual blocks in training reduces the test error, with rates that rise with depth to 0.5.",
    task="24 residual blocks of 64 units on 900 pictures, 60 epochs with a learning rate that falls to zero.",
    parts=(Part(LOSS, high=0.0), Part(ERROR, high=0.0)),
    measure=measure,
)
