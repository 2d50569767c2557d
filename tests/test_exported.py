"""Graphs that leave PyTorch, of `torch.jit` and ONNX: the rate and the expectation of the layer, or a refusal at once."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thinnet

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::UserWarning")
DROP_INS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
SHAPES = {"Dropout1d": (64, 128, 4), "Dropout3d": (64, 128, 2, 2, 2)}
LAYERS = [getattr(thinnet.nn, name) for name in (*DROP_INS, "GaussianDropout", "UniformDropout", "DropPath", "DropBlock2d")]
each_layer = pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)


def ones(cls: type[nn.Module]) -> Tensor:
    return torch.ones(SHAPES.get(cls.__name__, (64, 128, 7, 7)))


def assert_drops_as_the_layer(cls: type[nn.Module], y: Tensor, again: Tensor) -> None:
    """Two outputs for ones are those of the layer at rate 0.3: fraction of zeros, mean and spread, each time another mask."""
    expected = cls(0.3)(ones(cls))
    tolerance = 6 / (64 if cls.__name__ == "DropPath" else 64 * 128) ** 0.5  # decisions
    for measure in (lambda z: (z == 0).double().mean(), lambda z: z.double().mean(), lambda z: z.double().std()):
        assert abs(float(measure(y)) - float(measure(expected))) < tolerance
    assert not torch.equal(y, again)


@each_layer
def test_a_torchscript_trace_in_training_drops(cls: type[nn.Module]) -> None:
    x = ones(cls)
    traced = torch.jit.trace(cls(0.3), x, check_trace=False)
    assert_drops_as_the_layer(cls, traced(x), traced(x))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    graph = torch.jit.load(io.BytesIO(buffer.getvalue())).inlined_graph
    assert {node.kind().split("::")[0] for node in graph.nodes()} <= {"aten", "prim"}  # it runs without thinnet


def test_a_layer_that_counts_units_can_be_traced() -> None:
    layer, x = thinnet.nn.PatchDropout(0.5), torch.randn(4, 16, 8)
    traced = torch.jit.trace(layer, x, check_trace=False)
    assert traced(x).shape == layer(x).shape and not torch.equal(traced(x), traced(x))


def test_a_trace_differentiates_and_follows_the_batch() -> None:
    traced = torch.jit.trace(nn.Sequential(nn.Linear(4, 64), thinnet.nn.Dropout(0.5)), torch.randn(2, 4), check_trace=False)
    x = torch.randn(9, 4, requires_grad=True)
    y = traced(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    weight = traced.state_dict()["0.weight"]
    torch.testing.assert_close(gradient, 2.0 * (y != 0).float() @ weight)


@pytest.mark.parametrize("name", DROP_INS)
def test_a_drop_in_scripts_as_pytorchs(name: str) -> None:
    cls = getattr(thinnet.nn, name)
    model, x = nn.Sequential(nn.Identity(), cls(0.3)), ones(cls)
    scripted = torch.jit.script(model)
    assert type(model[1]) is cls  # the model is unchanged
    assert_drops_as_the_layer(cls, scripted(x), scripted(x))
    assert torch.equal(scripted.eval()(x), x)


def test_what_torchscript_cannot_hold_is_refused_at_once() -> None:
    model = nn.Sequential(thinnet.nn.Dropout(0.5))
    thinnet.DropoutRNG(0).bind(model).at(0)
    for export in (torch.jit.script, lambda model: torch.jit.trace(model, torch.ones(2, 4))):
        with pytest.raises(RuntimeError, match=r"no addressed masks.*rng.unbind"):
            export(model)
    with pytest.raises(TypeError, match=r"DropPath.*thinnet.strip"):
        torch.jit.script(nn.Sequential(thinnet.nn.DropPath(0.5)))


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", ["Dropout", "Dropout2d", "AlphaDropout", "GaussianDropout"])
def test_onnx_in_training_drops(dynamo: bool, name: str, tmp_path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    cls = getattr(thinnet.nn, name)
    x, file = ones(cls), str(tmp_path / "model.onnx")
    options = {} if dynamo else {"training": torch.onnx.TrainingMode.PRESERVE}
    torch.onnx.export(cls(0.3), (x,), file, dynamo=dynamo, verbose=False, **options)
    session = runtime.InferenceSession(file)
    inputs = {session.get_inputs()[0].name: x.numpy()}
    y, again = (torch.from_numpy(np.array(session.run(None, inputs)[0])) for _ in range(2))
    assert_drops_as_the_layer(cls, y, again)
