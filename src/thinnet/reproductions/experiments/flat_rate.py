"""Between keep probabilities of 0.4 and 0.8 the rate hardly matters."""

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, error, trained
from thinnet.reproductions.pictures import Pictures

LOW, HIGH = "test error, p = 0.2 minus p = 0.5, points", "test error, p = 0.6 minus p = 0.5, points"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains at three rates."""
    data = pictures.split(seed, 900).flat()
    low, middle, high = (
        error(
            trained(classifier(data, (256, 256), lambda rate=rate: Dropout(rate)), data.x, data.y, seed, 80),
            data.x_test,
            data.y_test,
        )
        for rate in (0.2, 0.5, 0.6)
    )
    return {LOW: low - middle, HIGH: high - middle}


CLAIM = Claim(
    name="flat-rate",
    source="Srivastava et al. 2014, JMLR 15:1929, section 7.3 and figure 9a",
    says="The test error is flat for keep probabilities from 0.4 to 0.8.",
    task="A perceptron of 2 x 256 units on 900 pictures, 80 epochs. Flat means within half a point.",
    parts=(Part(LOW, -0.5, 0.5), Part(HIGH, -0.5, 0.5)),
    measure=measure,
)
