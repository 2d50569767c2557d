"""Names that other papers and libraries use: for methods here, and for what is done with dropout elsewhere in thinnet."""

from typing import NamedTuple


class Topic(NamedTuple):
    """Something that is done with dropout, and is no method of its own.

    Args:
        title: its name.
        summary: what it is, in one sentence.
        use: the function or class that does it.
        call: one line of code.
        page: the page of the documentation.
    """

    title: str
    summary: str
    use: str
    call: str
    page: str


MONTE_CARLO = Topic(
    "Monte-Carlo dropout",
    "Averages passes in which dropout is on at inference, and measures how much they disagree.",
    "thinnet.inference.sample",
    "thinnet.inference.sample(model, x, n=50)",
    "docs/inference.md",
)
SCHEDULE = Topic(
    "Rate schedules",
    "Change the rate of any method over the training: Linear, Cosine, Piecewise, Early, Late, Curriculum, Annealed, DepthWise.",
    "thinnet.schedules",
    'thinnet.DropoutRNG(0, schedules={"*": thinnet.schedules.Linear(0.0, 0.5, steps=1000)}).bind(model)',
    "docs/rng.md#rate-schedules",
)
THINNED = Topic(
    "Thinned execution",
    "Skips the work of dropped units in training, so that a step takes less time.",
    "thinnet.thin",
    "thinnet.thin(model, x)",
    "docs/thin.md",
)
DISTILLED = Topic(
    "Dropout distillation",
    "Trains one network without dropout on the average of the sub-networks.",
    "thinnet.inference.distill",
    "thinnet.inference.distill(model, loader)",
    "docs/inference.md",
)
SCALED = Topic(
    "Weight scaling",
    "Predicts with all units in one pass, which is what eval mode does. `weight_scaled` makes a network without dropout of it.",
    "thinnet.inference.weight_scaled",
    "thinnet.inference.weight_scaled(model)",
    "docs/inference.md",
)

TOPICS = {
    MONTE_CARLO: "mc dropout, mcd, bayesian dropout, test-time dropout, dropout at inference, dropout ensemble, uncertainty",
    SCHEDULE: "scheduled dropout, scheduled drop path, curriculum dropout, annealed dropout, early dropout, late dropout",
    THINNED: "thinned network, sparse dropout, sparsedrop",
    DISTILLED: "distillation",
    SCALED: "weight scaling inference",
}
METHODS = {
    "Dropout": "vanilla dropout, standard dropout, inverted dropout, bernoulli dropout, plain dropout, nn.Dropout, F.dropout",
    "Dropout1d": "spatial dropout 1d, 1d dropout",
    "Dropout2d": "spatial dropout, spatial dropout 2d, channel dropout, feature map dropout, 2d dropout",
    "Dropout3d": "spatial dropout 3d, 3d dropout",
    "AlphaDropout": "selu dropout",
    "GaussianNoise": "additive noise, additive gaussian noise, input noise",
    "GaussianDropout": "multiplicative gaussian noise",
    "Standout": "adaptive dropout",
    "DropBlock2d": "block dropout",
    "MaxPoolDropout2d": "max pool dropout, pooling dropout",
    "SpecAugment": "spectrogram augmentation, time masking, frequency masking",
    "LoRADropout": "lora_dropout, adapter dropout",
    "QuantNoise": "quantization noise",
    "DropFilter": "filter dropout",
    "WeightDrop": "weight dropout, awd lstm, dropconnect of a recurrent network",
    "DropPath": "path dropout, timm drop path, efficientnet drop connect",
    "StochasticDepth": "random depth",
    "FractalJoin": "fractalnet",
    "LayerDrop": "layer dropout, structured dropout",
    "AttentionDropout": "attention probability dropout, attention weight dropout",
    "DropHead": "head dropout",
    "DropKey": "key dropout",
    "VariationalLSTM": "gal dropout, variational rnn dropout, variational recurrent dropout, recurrent_dropout of keras",
    "RecurrentDropoutLSTM": "recurrent dropout",
    "VariationalDropout": "variational, variational gaussian dropout",
    "SparseVariationalDropout": "sparse vd",
    "ConcreteDropout": "relaxed dropout",
    "LearnedDropout": "learnable dropout, learnable bernoulli dropout, adaptive rate dropout",
    "WordDropout": "unk dropout",
    "EmbeddingDropout": "embedded dropout, vocabulary dropout",
    "TokenDropout": "position dropout, timestep dropout",
    "PatchDropout": "token dropping, patch dropping",
    "SpanMasking": "mask_time_prob, time step masking, span dropout",
    "ConditionDropout": "classifier-free guidance, label dropout, caption dropout, cfg dropout, class dropout",
    "FeatureDropout": "column dropout, mask feature, input feature dropout",
    "ModalityDropout": "moddrop, missing modality",
    "NEFTune": "noisy embeddings, embedding noise",
    "RouterJitter": "jitter noise, router noise, input jitter",
    "ExpertDropout": "expert drop",
    "TokenBypass": "random-ltd, layer token dropping, token skipping",
    "GradDrop": "gradient sign dropout",
    "DropEdge": "edge dropout",
    "DropWalks": "dropout_path of torch_geometric, path masking, random walk dropout",
    "DropNode": "node dropout",
    "r_drop_loss": "r-drop, regularized dropout",
    "propagate": "moment matching, sampling-free dropout",
    "max_norm_": "max norm constraint",
}
"""Other names of the methods, by their names in `thinnet.nn`, `functional` or `losses`."""


def plain(name: str) -> str:
    """Returns the letters and digits of a name, so that "DropPath", "drop-path" and "drop_path" are the same.

    >>> plain("Drop-path 2D")
    'droppath2d'
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def split(names: str) -> list[str]:
    """Returns the names in a text that separates them by commas.

    >>> split("mc dropout, mcd")
    ['mc dropout', 'mcd']
    """
    return [name.strip() for name in names.split(",")]
