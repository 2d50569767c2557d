"""Gaussian noise of the same mean and variance regularises as well as dropout."""

from thinnet.nn import Dropout, GaussianDropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, error, nll, trained
from thinnet.reproductions.pictures import Pictures

ERROR, LOSS = "test error, Gaussian minus Bernoulli, points", "test loss, Gaussian minus Bernoulli, nats"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains with either noise at p = 0.5."""
    data = pictures.split(seed, 900).flat()
    bernoulli, gaussian = (
        trained(classifier(data, (256, 256), lambda kind=kind: kind(0.5)), data.x, data.y, seed, 80)
        for kind in (Dropout, GaussianDropout)
    )
    test = data.x_test, data.y_test
    return {ERROR: error(gaussian, *test) - error(bernoulli, *test), LOSS: nll(gaussian, *test) - nll(bernoulli, *test)}


CLAIM = Claim(
    name="gaussian-noise",
    source="Srivastava et al. 2014, JMLR 15:1929, section 10 and table 10",
    says="Multiplying by Gaussian noise works as well as dropout at the same variance, or slightly better.",
    task="A perceptron of 2 x 256 units on 900 pictures, 80 epochs.",
    parts=(Part(ERROR, high=0.5), Part(LOSS, high=0.02)),
    measure=measure,
)
