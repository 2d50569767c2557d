"""Early dropout lowers the training loss of a network that underfits; dropout to the end raises it."""

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import built, classifier, epochs, nll
from thinnet.reproductions.pictures import Pictures
from thinnet.schedules import Early

EARLY, ALWAYS = "final training loss, early dropout minus none, nats", "final training loss, dropout minus none, nats"
RATE, NUMBER, BATCH = 0.1, 40, 64


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains a small network without dropout, with early dropout, and with dropout to the end."""
    data = pictures.split(seed, 900).flat()
    steps = NUMBER * -(-len(data.x) // BATCH)
    found = []
    for rate, schedules in ((0.0, None), (RATE, {"*": Early(RATE, cutoff=steps // 6)}), (RATE, None)):
        model = built(seed, classifier(data, (8, 8), lambda rate=rate: Dropout(rate)))
        for _ in epochs(model, data.x, data.y, seed, NUMBER, batch=BATCH, schedules=schedules):
            pass
        found.append(nll(model, data.x, data.y))
    none, early, always = found
    return {EARLY: early - none, ALWAYS: always - none}


CLAIM = Claim(
    name="early-dropout",
    source="Liu et al. 2023, arXiv:2303.01500",
    says="Where a network underfits, early dropout lowers the final training loss; dropout to the end raises it.",
    task="A perceptron of 2 x 8 units on 900 pictures, 40 epochs, p = 0.1; the early phase is a sixth of the training.",
    parts=(Part(EARLY, high=0.0), Part(ALWAYS, low=0.0)),
    measure=measure,
)
