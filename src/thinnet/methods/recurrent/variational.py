"""Variational dropout in recurrent networks: one mask on the input and one on the state, the same at every time step.

    gates_t = W_ih (m_x x_t) + W_hh (m_h h_{t-1}) + b,  m_x, m_h ~ Bernoulli(1 - p) / (1 - p), one a sequence

With a mask for each gate they are "untied". Gal, Ghahramani 2016, NeurIPS, arXiv:1512.05287.
"""

from typing import Any

from thinnet.methods.facts import Facts, Method
from thinnet.methods.recurrent.layers import GRULayers, Layers, LSTMLayers
from thinnet.methods.recurrent.sites import Input, Read

FACTS = Facts(
    name="Variational dropout of a recurrent network",
    summary="Drops features of the input and of the state that the gates read, by one mask each for all steps of a sequence.",
    equation="gates_t = W_ih (m_x x_t) + W_hh (m_h h_{t-1}) + b,  m_x, m_h ~ Bernoulli(1 - p) / (1 - p), one a sequence",
    paper="Gal, Ghahramani 2016, arXiv:1512.05287",
    grain="feature of a sequence; with tied=False of a sequence and a gate",
    place="in place of an LSTM or a GRU that overfits, and where its uncertainty is wanted: left on, it samples networks",
    avoid="in stateful training over pieces of a sequence, where each piece has other masks; without weight decay",
    default="0.3 on input and state, 0.5 on the first input and the output of large word models; tied",
    cost="a loop of ours over the steps: benchmarks/results/recurrent.json; on a GPU slower than cuDNN's LSTM",
    elsewhere="Keras LSTM and GRU: dropout, recurrent_dropout; PyTorch's dropout= is fresh at each step, between layers alone",
)


class VariationalLSTM(LSTMLayers):
    """An LSTM that drops features of its input and of the state that its gates read, by one mask for all steps of a sequence.

    i, f, g, o = W_ih (m_x x_t) + W_hh (m_h h_{t-1}) + b; c_t = f c_{t-1} + i g; h_t = o tanh c_t

    Its weights and results are those of `torch.nn.LSTM`; in eval, and with all rates 0, that is what runs. Each mask has a
    site: `input0`, `hidden0`, `input1`, ..., and `output`, so `lstm.input1.p = 0.3` is the rate between the first two layers.
    Both directions read one masked input; each has its own mask of the state.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many layers follow each other.
        p_input: fraction of the features of each layer's input that are dropped.
        p_hidden: fraction of the features of the last state that the gates do not read.
        p_output: fraction of the features of the output that are dropped.
        tied: whether all gates have one mask. With False each has its own, of the input and of the state.
        bias, batch_first, bidirectional, proj_size, device, dtype: as of `torch.nn.LSTM`.

    Shapes: as of `torch.nn.LSTM`: `(T, B, D)`, `(B, T, D)`, `(T, D)` or a `PackedSequence`, and the two states.

    Raises: ValueError where a rate is not in [0, 1]; RuntimeError at shapes that `torch.nn.LSTM` refuses, and where a gradient
        is differentiated again.

    Source: Gal, Ghahramani 2016, arXiv:1512.05287.

    >>> import torch
    >>> lstm = VariationalLSTM(8, 16, num_layers=2, p_input=0.5, p_hidden=0.3)
    >>> y, (h, c) = lstm(torch.randn(5, 3, 8))
    >>> y.shape, h.shape
    (torch.Size([5, 3, 16]), torch.Size([2, 3, 16]))
    >>> lstm.load_state_dict(torch.nn.LSTM(8, 16, 2).state_dict())
    <All keys matched successfully>
    """

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
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers)
        super().__init__("LSTM", sizes, bias, batch_first, bidirectional, proj_size, device, dtype)
        _place(self, p_input, p_hidden, p_output, tied)


class VariationalGRU(GRULayers):
    """A GRU that drops features of its input and of the state that its gates read, by one mask for all steps of a sequence.

    r, z, n = gates of W_ih (m_x x_t) and W_hh (m_h h_{t-1}); h_t = (1 - z) n + z h_{t-1}

    Its weights and results are those of `torch.nn.GRU`; in eval, and with all rates 0, that is what runs. The state that z
    copies has no mask. Each mask has a site: `input0`, `hidden0`, `input1`, ..., and `output`.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many layers follow each other.
        p_input: fraction of the features of each layer's input that are dropped.
        p_hidden: fraction of the features of the last state that the gates do not read.
        p_output: fraction of the features of the output that are dropped.
        tied: whether all gates have one mask. With False each has its own, of the input and of the state.
        bias, batch_first, bidirectional, device, dtype: as of `torch.nn.GRU`.

    Shapes: as of `torch.nn.GRU`: `(T, B, D)`, `(B, T, D)`, `(T, D)` or a `PackedSequence`, and the state.

    Raises: ValueError where a rate is not in [0, 1]; RuntimeError at shapes that `torch.nn.GRU` refuses, and where a gradient
        is differentiated again.

    Source: Gal, Ghahramani 2016, arXiv:1512.05287.

    >>> import torch
    >>> y, h = VariationalGRU(8, 16, p_hidden=0.5)(torch.randn(5, 3, 8))
    >>> y.shape, h.shape
    (torch.Size([5, 3, 16]), torch.Size([1, 3, 16]))
    """

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
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("GRU", (input_size, hidden_size, num_layers), bias, batch_first, bidirectional, 0, device, dtype)
        _place(self, p_input, p_hidden, p_output, tied)


def _place(layers: Layers, p_input: float, p_hidden: float, p_output: float, tied: bool) -> None:
    gates = 1 if tied else layers.gates
    layers.place("input", "p_input", p_input, Input, gates)
    layers.place("hidden", "p_hidden", p_hidden, Read, layers.state_size, gates)
    layers.add_module("output", Input(layers.checked("p_output", p_output)))


METHODS = (
    Method(FACTS, VariationalLSTM),
    Method(FACTS, VariationalGRU),
)
