"""Variational dropout in recurrent networks: one mask on the input and one on the state, for all time steps."""

from typing import TYPE_CHECKING

from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.recurrent.layers import GRULayers, Layers, LSTMLayers, Options
from thinnet.methods.recurrent.sites import Input, Read

if TYPE_CHECKING:
    from typing_extensions import Unpack

FACTS = Facts(used_by=(Use("Keras", "keras.layers.LSTM(dropout, recurrent_dropout)"),))


class _Variational(Layers):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p_input: float = 0.3,
        p_hidden: float = 0.3,
        p_output: float = 0.0,
        tied: bool = True,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, **options)
        gates = 1 if tied else self.gates
        self.place("input", "p_input", p_input, Input, gates)
        self.place("hidden", "p_hidden", p_hidden, Read, self.state_size, gates)
        self.add_module("output", Input(self.checked("p_output", p_output)))


class VariationalLSTM(_Variational, LSTMLayers):
    """An LSTM that drops features of its input and of the state its gates read, with one mask each for all steps.

        i, f, g, o = W_ih (m_x x_t) + W_hh (m_h h_{t-1}) + b,  m_x, m_h ~ Bernoulli(1 - p) / (1 - p)
        c_t = f c_{t-1} + i g;  h_t = o tanh c_t

    Weights and results are those of `torch.nn.LSTM`, which runs in eval and at rates 0. Each mask has a site: `input0`,
    `hidden0`, `input1`, ..., and `output`. So `lstm.input1.p = 0.3` is the rate between the first two layers. Both directions
    read the same masked input; each has its own mask of the state.

    Noise shape: one decision per feature of a sequence; with `tied=False` per feature of a sequence and gate.
    Use when: in place of an LSTM or a GRU that overfits, or for uncertainty: left on, it samples sub-networks.
    Avoid when: training is stateful over pieces of a sequence, which then have different masks; or there is no weight decay.
    Start with: 0.3 on input and state, 0.5 on the first input and the output of large word models; tied.
    Cost: thinnet's own loop over the steps: benchmarks/results/recurrent.json; on a GPU slower than cuDNN's LSTM.
    Other implementations: Keras LSTM and GRU: dropout, recurrent_dropout. PyTorch's dropout= draws at each step, and only
        between layers.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: number of stacked layers.
        p_input: probability that a feature of a layer's input is dropped.
        p_hidden: probability that a feature of the state that the gates read is dropped.
        p_output: probability that a feature of the output is dropped.
        tied: whether all gates share a mask. If False each gate has its own, of the input and of the state.
        **options: bias, batch_first, bidirectional, proj_size, device and dtype, as in `torch.nn.LSTM`.

    Shapes: as in `torch.nn.LSTM`: `(T, B, D)`, `(B, T, D)`, `(T, D)` or a `PackedSequence`, and the two states.

    Raises: ValueError if a rate is not in [0, 1]; RuntimeError for shapes that `torch.nn.LSTM` refuses, and for second
        derivatives.

    Source: Gal, Ghahramani 2016, NeurIPS, arXiv:1512.05287.

    >>> import torch
    >>> lstm = VariationalLSTM(8, 16, num_layers=2, p_input=0.5, p_hidden=0.3)
    >>> y, (h, c) = lstm(torch.randn(5, 3, 8))
    >>> y.shape, h.shape
    (torch.Size([5, 3, 16]), torch.Size([2, 3, 16]))
    >>> lstm.load_state_dict(torch.nn.LSTM(8, 16, 2).state_dict())
    <All keys matched successfully>
    """


class VariationalGRU(_Variational, GRULayers):
    """`VariationalLSTM` as a GRU: r, z, n read the masked input and state, and the state that z copies has no mask.

    Shapes: as in `torch.nn.GRU`.

    >>> import torch
    >>> y, h = VariationalGRU(8, 16, p_hidden=0.5)(torch.randn(5, 3, 8))
    >>> y.shape, h.shape
    (torch.Size([5, 3, 16]), torch.Size([1, 3, 16]))
    """


METHODS = (
    Method(FACTS, VariationalLSTM, title="Variational dropout of a recurrent network"),
    Method(FACTS, VariationalGRU),
)
