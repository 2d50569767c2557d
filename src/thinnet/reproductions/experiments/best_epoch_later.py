"""With dropout the best epoch comes later, and it is better."""

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import built, classifier, epochs, nll
from thinnet.reproductions.pictures import Pictures, Split

LOSS, EPOCHS = "test loss at the best epoch, dropout minus none, nats", "best epoch, dropout minus none"
NUMBER, HELD_OUT = 120, 300


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains with and without dropout. The epoch is chosen on a validation set, and the loss is that of the test set."""
    data = pictures.split(seed, 900).flat()
    (plain, first), (dropout, second) = (_best(data, rate, seed) for rate in (0.0, 0.5))
    return {LOSS: dropout - plain, EPOCHS: second - first}


def _best(data: Split, rate: float, seed: int) -> tuple[float, int]:
    model = built(seed, classifier(data, (256, 256), lambda: Dropout(rate)))
    x, y, held = data.x[HELD_OUT:], data.y[HELD_OUT:], (data.x[:HELD_OUT], data.y[:HELD_OUT])
    curve = [
        (nll(model, *held), nll(model, data.x_test, data.y_test), epoch)
        for epoch, _ in enumerate(epochs(model, x, y, seed, NUMBER), start=1)
    ]
    _, test, epoch = min(curve)
    return test, epoch


CLAIM = Claim(
    name="best-epoch-later",
    source="the usual introductions to dropout; Srivastava et al. 2014, appendix A",
    says="Dropout lowers the test loss, but training takes longer: the best epoch comes later.",
    task="A perceptron of 2 x 256 units on 600 pictures; the best of 120 epochs on 300 others.",
    parts=(Part(LOSS, high=0.0), Part(EPOCHS, low=0.0)),
    measure=measure,
)
