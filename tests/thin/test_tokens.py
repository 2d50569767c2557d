"""Linear layers on the kept tokens equal those on all tokens; layers behind PatchDropout cost the share of kept tokens."""

import copy
import pickle
from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from branched import assert_alike, results
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import thinnet
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Edit
from thinnet.models.thin.tokens import tokens


class Heads(nn.Module):
    """Two layers and a sum that read the same tokens."""

    def __init__(self, p: float, bias: bool = True, inplace: bool = False) -> None:
        super().__init__()
        self.drop, self.query, self.key = thinnet.nn.TokenDropout(p, inplace), nn.Linear(6, 5, bias), nn.Linear(6, 5, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x * 2)
        return self.query(x) * self.key(x) + x.sum(-1, keepdim=True) + self.query(x + 1)


def thinned(model: nn.Module, x: Tensor, leave: str = "", taken: Any = ()) -> tuple[Edit, list[Any]]:
    found, notes = tokens(model, lambda: model(x), lambda name: name == leave, 0, taken)
    edit = apply_changes(model, [change for piece in found for change in piece.changes], notes)
    return edit, [piece.switch for piece in found]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 1.0])
def test_thinned_layers_equal_masked_layers(p: float, bias: bool, inplace: bool) -> None:
    for dtype in (torch.float64, torch.float32):
        model = nn.Sequential(Heads(p, bias, inplace)).to(dtype)
        edit, (switch,) = thinned(model, torch.randn(2, 3, 6, dtype=dtype))
        rng = thinnet.DropoutRNG(3).bind(model)
        for step, size in enumerate((1, 2, 7)):
            rng.at(step, torch.randperm(30)[:size] if step else None)
            x, seen = torch.randn(size, 5, 6, dtype=dtype), []
            for switch.on in (True, False):
                seen.append(results(model, x))
            assert_alike(*seen)
        assert len(edit) == 1 and "query and 0.key run" in str(edit)


def test_the_work_is_that_of_the_kept_tokens() -> None:
    model, x = nn.Sequential(thinnet.nn.TokenDropout(0.5), nn.Linear(6, 5)), torch.randn(4, 32, 6)
    edit, (switch,) = thinned(model, x)
    rng = thinnet.DropoutRNG(3).bind(model).at(0)
    share, flops = float(rng.mask("0", step=0, samples=range(4), shape=(32,)).double().mean()), []
    for switch.on in (True, False):
        with FlopCounterMode(display=False) as counter:
            results(model, x)
        flops.append(counter.get_total_flops())
    assert flops[0] / flops[1] == pytest.approx(share) and share < 0.7
    keys, y = list(model.state_dict()), model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        thinnet.rng_of(twin).at(0)
        assert_same_bits(twin(x), y)
    off = model.eval()(x)
    edit.undo()
    assert list(model.state_dict()) == keys and not any("forward" in vars(module) for module in model)
    assert_same_bits(model(x), off)


def test_compiled_layers_run_on_all_tokens() -> None:
    model, x = nn.Sequential(thinnet.nn.TokenDropout(0.5), nn.Linear(6, 5)), torch.randn(4, 8, 6)
    thinned(model, x)
    thinnet.DropoutRNG(3).bind(model).at(0)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(x), model(x))


def test_other_readers_stay_unchanged_and_give_a_reason() -> None:
    encoder = nn.Sequential(thinnet.nn.TokenDropout(0.5), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    edit, _ = thinned(encoder, torch.randn(2, 3, 8))
    assert not edit and "attention and sums read the zeros of dropped tokens" in edit.notes[0]
    model = nn.Sequential(thinnet.nn.TokenDropout(0.5), nn.Linear(6, 5))
    assert "leave=" in thinned(model, torch.randn(2, 3, 6), leave="0")[0].notes[0]
    assert "belong to a chain" in thinned(model, torch.randn(2, 3, 6), taken={model[1]})[0].notes[0]
    assert not thinned(nn.Sequential(nn.Linear(6, 5)), torch.randn(2, 3, 6))[0].notes


def test_layers_behind_patch_dropout_see_only_kept_tokens() -> None:
    x, flops = torch.randn(4, 1 + 32, 8), []
    model = nn.Sequential(
        thinnet.nn.PatchDropout(0.75), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)
    )
    shapes: list[torch.Size] = []
    model[2].register_forward_hook(lambda module, args, output: shapes.append(args[0].shape))
    for model[0].p in (0.75, 0.0):
        with FlopCounterMode(display=False) as counter:
            model(x).sum().backward()
        flops.append(counter.get_total_flops())
    assert [shape[1] for shape in shapes] == [9, 33]
    assert flops[0] / flops[1] <= 9 / 33
