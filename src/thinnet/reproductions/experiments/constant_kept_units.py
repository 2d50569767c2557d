"""At a high rate, a layer needs more units: the number of kept ones counts."""

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, error, trained
from thinnet.reproductions.pictures import Pictures

ERROR = "test error at p = 0.9, ten times as wide minus same width, points"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains at p = 0.9 with 64 units a layer, and with 640."""
    data = pictures.split(seed, 900).flat()
    narrow, wide = (
        error(
            trained(classifier(data, (width, width), lambda: Dropout(0.9)), data.x, data.y, seed, 60), data.x_test, data.y_test
        )
        for width in (64, 640)
    )
    return {ERROR: wide - narrow}


CLAIM = Claim(
    name="constant-kept-units",
    source="Srivastava et al. 2014, JMLR 15:1929, section 7.3 and figure 9b",
    says="High rates do much better where the expected number of kept units is held constant.",
    task="A perceptron of 2 x 64 or 2 x 640 units on 900 pictures, 60 epochs.",
    parts=(Part(ERROR, high=0.0),),
    measure=measure,
)
