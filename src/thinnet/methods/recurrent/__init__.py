"""Methods for the time steps of recurrent networks."""

from thinnet.methods.facts import Method
from thinnet.methods.recurrent import locked_dropout, recurrent_dropout, rnn_drop, variational, zoneout

METHODS: tuple[Method, ...] = (
    Method(
        locked_dropout.FACTS,
        locked_dropout.LockedDropout,
        locked_dropout.locked_dropout,
        lambda x: locked_dropout.locked_dropout(x[:, None], 0.3, training=True)[:, 0],
    ),
    Method(variational.FACTS, variational.VariationalLSTM),
    Method(variational.FACTS, variational.VariationalGRU),
    Method(recurrent_dropout.FACTS, recurrent_dropout.RecurrentDropoutLSTM),
    Method(recurrent_dropout.FACTS, recurrent_dropout.RecurrentDropoutGRU),
    Method(rnn_drop.FACTS, rnn_drop.RNNDropLSTM),
    Method(
        zoneout.FACTS,
        zoneout.Zoneout,
        zoneout.zoneout,
        lambda x: zoneout.zoneout(x, 0.3, old=x.roll(8, 1), training=True),
    ),
    Method(zoneout.LAYER_FACTS, zoneout.ZoneoutLSTM),
    Method(zoneout.LAYER_FACTS, zoneout.ZoneoutGRU),
)
