"""Methods whose coin decides a weight."""

from thinnet.methods.facts import Method
from thinnet.methods.weights import drop_connect, max_norm, mixout, weight_drop

METHODS: tuple[Method, ...] = (
    Method(drop_connect.FACTS, drop_connect.DropConnect, drop_connect.drop_connect),
    Method(weight_drop.FACTS, weight_drop.WeightDrop),
    Method(mixout.FACTS, mixout.Mixout, mixout.mixout),
    Method(max_norm.FACTS, None, max_norm.max_norm_),
)
