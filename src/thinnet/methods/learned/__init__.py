"""Methods whose noise is learned with the weights, and whose penalty belongs in the loss."""

from thinnet.methods.facts import Method
from thinnet.methods.learned import (
    concrete_dropout,
    information_dropout,
    sparse_variational_dropout,
    variational_dropout,
    variational_weight_dropout,
)

METHODS: tuple[Method, ...] = (
    Method(
        concrete_dropout.FACTS,
        concrete_dropout.ConcreteDropout,
        concrete_dropout.concrete_dropout,
        lambda x: concrete_dropout.concrete_dropout(x, 0.3, training=True),
    ),
    Method(
        variational_dropout.FACTS,
        variational_dropout.VariationalDropout,
        variational_dropout.variational_dropout,
        lambda x: variational_dropout.variational_dropout(x, 0.3, training=True),
    ),
    Method(variational_weight_dropout.FACTS, variational_weight_dropout.VariationalWeightDropout),
    Method(sparse_variational_dropout.FACTS, sparse_variational_dropout.SparseVariationalDropout),
    Method(
        information_dropout.FACTS,
        information_dropout.InformationDropout,
        information_dropout.information_dropout,
        lambda x: information_dropout.information_dropout(x, 0.5, training=True),
    ),
)
