"""Which kinds of dropout the Monte-Carlo dropout of other libraries misses, on the model of test_mc_mode.py."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from inference.test_mc_mode import KINDS, Everything, X
from torch import Tensor, nn

from thinnet.inference import mc_mode, sample

OURS, THEIRS, FUNCTION, SDPA, HAND, ENCODER, LSTM, HUGGING = KINDS


def torch_uncertainty() -> Any:
    """Their file alone: the other imports of the package may be missing."""
    package = importlib.util.find_spec("torch_uncertainty")
    if package is None or importlib.util.find_spec("einops") is None:
        pytest.skip("torch_uncertainty is not installed: pip install thinnet[dev]")
    (folder,) = package.submodule_search_locations or ()
    spec = importlib.util.spec_from_file_location("mc_dropout", Path(folder) / "methods" / "mc_dropout.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_only(kind: str) -> nn.Module:
    """The model with the rates of all other kinds at zero."""
    model = Everything().eval()
    model.ours.p *= kind == OURS
    model.theirs.p = 0.3 if kind == THEIRS else 1e-12  # a peer refuses a model with all rates at zero
    model.function.p *= kind == FUNCTION
    model.attention.p *= kind == SDPA
    model.mask = model.mask if kind == HAND else nn.Identity()
    model.encoder.self_attn.dropout *= kind == ENCODER
    model.lstm.dropout *= kind == LSTM
    for module in model.bert.modules():
        for name in vars(module).keys() & {"p", "dropout_prob"}:
            setattr(module, name, 0.3 * (kind == HUGGING and "attention_probs" in name))
    model.bert.attention.self.dropout.p = 0.3 * (kind == HUGGING)
    return model


def seen(draws: Callable[[nn.Module], tuple[Tensor, Tensor]]) -> set[str]:
    """The kinds of dropout by which two draws differ."""
    found = set()
    with torch.no_grad():
        for kind in KINDS:
            one, other = draws(with_only(kind))
            if not torch.equal(one, other):
                found.add(kind)
    return found


def test_thinnet_sees_all_of_them() -> None:
    def inside(model: nn.Module) -> tuple[Tensor, Tensor]:
        with mc_mode(model):
            return model(X), model(X)

    assert seen(inside) == KINDS.keys()
    assert seen(lambda model: tuple(sample(model, X, n=2).draws)) == KINDS.keys()  # type: ignore[arg-type, return-value]


def test_training_mode_sees_them_and_moves_the_norms() -> None:
    def training(model: nn.Module) -> tuple[Tensor, Tensor]:
        model.train()
        return model(X), model(X)

    assert seen(training) == KINDS.keys()
    model = Everything().eval()
    plain, before = model(X), model.norm.running_mean.clone()
    assert (model.train()(X) - plain).abs().max() > 0.01 and not torch.equal(model.norm.running_mean, before)
    assert not torch.equal(model.eval()(X), plain)  # the next plain prediction differs


def test_torch_uncertainty_sees_dropout_modules_alone() -> None:
    methods = torch_uncertainty()

    def wrapped(model: nn.Module) -> tuple[Tensor, Tensor]:
        out = methods.mc_dropout(model, num_estimators=2, on_batch=False).eval()(X)
        return out[: len(X)], out[len(X) :]

    assert seen(wrapped) == {THEIRS, OURS}  # ours are subclasses of those of PyTorch
    for without in (nn.Sequential(nn.LSTM(8, 8, 2, dropout=0.5)), nn.Sequential(nn.MultiheadAttention(8, 2, dropout=0.5))):
        with pytest.raises(ValueError, match="No dropout module found"):
            methods.mc_dropout(without, num_estimators=2)


def test_baal_sees_no_recurrent_layer_and_no_attention() -> None:
    dropout = pytest.importorskip("baal.bayesian.dropout")

    def patched(model: nn.Module) -> tuple[Tensor, Tensor]:
        model = dropout.patch_module(model, inplace=False).eval()
        return model(X), model(X)

    assert THEIRS in seen(patched) and not seen(patched) & {FUNCTION, SDPA, HAND, ENCODER, LSTM}
