"""A penalty on the divergence between two passes makes the prediction better and the passes alike."""

import torch
from torch.nn.functional import kl_div

from thinnet.inference import sample
from thinnet.losses import r_drop_loss
from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import built, classifier, error, trained
from thinnet.reproductions.pictures import Pictures
from thinnet.rng import DropoutRNG
from thinnet.study.training.epoch import adam

ERROR = "test error, R-Drop minus dropout, points"
ALIKE = "divergence between two passes on test pictures, R-Drop divided by dropout"
NUMBER, ALPHA = 60, 1.0


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains at p = 0.5 with the loss of one pass, and with R-Drop."""
    data = pictures.split(seed, 900).flat()
    network = classifier(data, (256, 256), lambda: Dropout(0.5))
    plain, alike = trained(network, data.x, data.y, seed, NUMBER), built(seed, network)
    shuffle, optimizer, rng = torch.Generator().manual_seed(seed), adam(alike, 1e-3), DropoutRNG(seed).bind(alike)
    step = 0
    for _ in range(NUMBER):
        for rows in torch.randperm(len(data.x), generator=shuffle).split(64):
            rng.at(step, samples=rows)
            first = alike(data.x[rows])
            with rng.view(1):
                second = alike(data.x[rows])
            optimizer.zero_grad()
            r_drop_loss(first, second, data.y[rows], alpha=ALPHA).backward()
            optimizer.step()
            step += 1
    rng.unbind()
    test = data.x_test, data.y_test
    return {
        ERROR: error(alike, *test) - error(plain, *test),
        ALIKE: _divergence(alike, data.x_test) / _divergence(plain, data.x_test),
    }


def _divergence(model: torch.nn.Module, x: torch.Tensor) -> float:
    first, second = sample(model, x, n=2, progress=False).draws.log_softmax(-1)
    return float(kl_div(first, second, log_target=True, reduction="batchmean"))


CLAIM = Claim(
    name="r-drop",
    source="Wu et al. 2021, arXiv:2106.14448",
    says="Training two passes to agree makes sub-networks more alike, and the test error lower than dropout alone.",
    task="A perceptron of 2 x 256 units on 900 pictures, p = 0.5, alpha = 1, 60 epochs.",
    parts=(Part(ERROR, high=0.0), Part(ALIKE, high=1.0)),
    measure=measure,
)
