"""Dropout lowers the test loss of a network that fits its training set."""

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, error, nll, trained
from thinnet.reproductions.pictures import Pictures

LOSS, ERROR = "test loss, dropout minus none, nats", "test error, dropout minus none, points"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains with p = 0.5 at both hidden layers, and without."""
    data = pictures.split(seed, 900).flat()
    plain, dropout = (
        trained(classifier(data, (256, 256), site), data.x, data.y, seed, 80) for site in (None, lambda: Dropout(0.5))
    )
    test = data.x_test, data.y_test
    return {LOSS: nll(dropout, *test) - nll(plain, *test), ERROR: error(dropout, *test) - error(plain, *test)}


CLAIM = Claim(
    name="lower-loss",
    source="Srivastava et al. 2014, JMLR 15:1929, section 6.1",
    says="Networks with dropout generalise better than those without, trained for as long.",
    task="A perceptron of 2 x 256 units on 900 pictures, 80 epochs.",
    parts=(Part(LOSS, high=0.0), Part(ERROR, high=0.0)),
    measure=measure,
)
