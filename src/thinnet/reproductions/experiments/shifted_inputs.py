"""Monte-Carlo dropout knows a shifted input."""

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from thinnet.inference import sample
from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import classifier, trained
from thinnet.reproductions.pictures import Pictures

KNOWS = "AUROC of the entropy of 50 draws: noisy against clean pictures"
MORE = "AUROC, 50 draws minus one deterministic pass"
NOISE = 0.25


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Tells noisy test pictures from clean ones by the entropy of the predicted classes."""
    data = pictures.split(seed, 900).flat()
    model = trained(classifier(data, (256, 256), lambda: Dropout(0.5)), data.x, data.y, seed, 60)
    noise = torch.randn(data.x_test.shape, generator=torch.Generator().manual_seed(seed))
    both = torch.cat([data.x_test, data.x_test + NOISE * noise])
    shifted = torch.arange(len(both)) >= len(data.x_test)
    with torch.no_grad():
        once = _entropy(model(both).softmax(-1))
    draws = float(roc_auc_score(shifted, sample(model, both, n=50, seed=seed, progress=False).entropy))
    return {KNOWS: draws, MORE: draws - float(roc_auc_score(shifted, once))}


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp_min(1e-30).log()).sum(-1)


CLAIM = Claim(
    name="shifted-inputs",
    source="Gal and Ghahramani 2016, arXiv:1506.02142; Ovadia et al. 2019, arXiv:1906.02530",
    says="Monte-Carlo dropout is less certain on shifted inputs, and shows it better than one deterministic pass.",
    task="A perceptron of 2 x 256 units on 900 pictures; test pictures with noise of 0.25 of the range of a pixel.",
    parts=(Part(KNOWS, low=0.5), Part(MORE, low=0.0)),
    measure=measure,
)
