"""With very few samples dropout gains little."""

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, error, trained
from thinnet.reproductions.pictures import Pictures

GAIN = "gain in test error, 500 samples minus 50 samples, points"
STEPS = 1000


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Measures the gain of p = 0.5 with 50 and with 500 samples, after the same number of steps."""
    return {GAIN: _gain(seed, pictures, 500) - _gain(seed, pictures, 50)}


def _gain(seed: int, pictures: Pictures, samples: int) -> float:
    data = pictures.split(seed, samples).flat()
    epochs = STEPS // -(-samples // 64)
    plain, dropout = (
        error(
            trained(classifier(data, (256, 256), lambda rate=rate: Dropout(rate)), data.x, data.y, seed, epochs),
            data.x_test,
            data.y_test,
        )
        for rate in (0.0, 0.5)
    )
    return plain - dropout


CLAIM = Claim(
    name="data-size",
    source="Srivastava et al. 2014, JMLR 15:1929, section 7.4 and figure 10",
    says="On extremely small data sets dropout gives no improvement; the gain rises with the size, up to a point.",
    task="A perceptron of 2 x 256 units on 50 and on 500 pictures, 1,000 steps.",
    parts=(Part(GAIN, low=0.0),),
    measure=measure,
)
