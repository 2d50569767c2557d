"""Methods whose coin decides an element."""

from thinnet.methods.elementwise import alpha_dropout, batchwise_dropout, dropout, gaussian_dropout, uniform_dropout
from thinnet.methods.facts import Method

METHODS = (
    Method(dropout.FACTS, dropout.Dropout, dropout.dropout, lambda x: dropout.dropout(x, 0.3, training=True)),
    Method(
        batchwise_dropout.FACTS,
        batchwise_dropout.BatchwiseDropout,
        batchwise_dropout.batchwise_dropout,
        lambda x: batchwise_dropout.batchwise_dropout(x, 0.3, training=True),
    ),
    Method(
        alpha_dropout.FACTS,
        alpha_dropout.AlphaDropout,
        alpha_dropout.alpha_dropout,
        lambda x: alpha_dropout.alpha_dropout(x, 0.3, training=True),
    ),
    Method(alpha_dropout.FEATURE_FACTS, alpha_dropout.FeatureAlphaDropout, alpha_dropout.feature_alpha_dropout),
    Method(
        gaussian_dropout.FACTS,
        gaussian_dropout.GaussianDropout,
        gaussian_dropout.gaussian_dropout,
        lambda x: gaussian_dropout.gaussian_dropout(x, 0.3, training=True),
    ),
    Method(
        uniform_dropout.FACTS,
        uniform_dropout.UniformDropout,
        uniform_dropout.uniform_dropout,
        lambda x: uniform_dropout.uniform_dropout(x, 0.3, training=True),
    ),
)
