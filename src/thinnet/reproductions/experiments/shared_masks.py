"""One mask for a whole batch regularises as well as one for each sample."""

from thinnet.nn import BatchwiseDropout, Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, error, nll, trained
from thinnet.reproductions.pictures import Pictures

LOSS, ERROR = "test loss, shared minus own masks, nats", "test error, shared minus own masks, points"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains at p = 0.5 with a mask for each sample, and with one for the batch."""
    data = pictures.split(seed, 900).flat()
    own, shared = (
        trained(classifier(data, (256, 256), lambda kind=kind: kind(0.5)), data.x, data.y, seed, 80)
        for kind in (Dropout, BatchwiseDropout)
    )
    test = data.x_test, data.y_test
    return {LOSS: nll(shared, *test) - nll(own, *test), ERROR: error(shared, *test) - error(own, *test)}


CLAIM = Claim(
    name="shared-masks",
    source="Graham, Reizenstein and Robinson 2015, arXiv:1502.02478",
    says="Masks that all samples of a batch share regularise as well as a mask for each sample.",
    task="A perceptron of 2 x 256 units on 900 pictures, batch 64, 80 epochs. As well means within 0.02 nats and half a point.",
    parts=(Part(LOSS, high=0.02), Part(ERROR, high=0.5)),
    measure=measure,
)
