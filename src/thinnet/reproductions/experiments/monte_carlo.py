"""The average of about 50 sampled networks is as good as weight scaling."""

from thinnet.inference import sample
from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, error, trained, wrong
from thinnet.reproductions.pictures import Pictures

ONE, FIFTY = "test error, 1 draw minus weight scaling, points", "test error, 50 draws minus weight scaling, points"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Compares the averages of 1 and of 50 draws with the deterministic pass."""
    data = pictures.split(seed, 900).flat()
    model = trained(classifier(data, (256, 256), lambda: Dropout(0.5)), data.x, data.y, seed, 60)
    scaled = error(model, data.x_test, data.y_test)
    draws = sample(model, data.x_test, n=50, seed=seed, progress=False).draws.softmax(-1)
    return {ONE: wrong(draws[0], data.y_test) - scaled, FIFTY: wrong(draws.mean(0), data.y_test) - scaled}


CLAIM = Claim(
    name="monte-carlo",
    source="Srivastava et al. 2014, JMLR 15:1929, section 7.5 and figure 11",
    says="Around 50 sampled networks are as good as the approximate average; few are worse.",
    task="A perceptron of 2 x 256 units on 900 pictures, p = 0.5. As good means within half a point.",
    parts=(Part(ONE, low=0.0), Part(FIFTY, -0.5, 0.5)),
    measure=measure,
)
