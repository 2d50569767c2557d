"""Branches on the kept samples equal branches on the whole batch, forward and backward, with less work."""

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from assertions import assert_same_bits
from branched import assert_alike, results, rows_seen
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.methods.residual.drop_path import DropPath
from thinnet.methods.residual.layer_drop import LayerDrop
from thinnet.methods.residual.stochastic_depth import StochasticDepth
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Edit
from thinnet.models.thin.branch_plan import branches
from thinnet.models.thin.notes import notes_on


class Attention(nn.Module):
    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj, self.drop = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return self.drop(self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)))


class Block(nn.Module):
    """A block of a vision transformer, with a site for each branch or one for both."""

    def __init__(self, p: float = 0.5, width: int = 8, one: bool = False) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width), Attention(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, width))
        self.drop1 = DropPath(p)
        self.drop2 = self.drop1 if one else DropPath(p)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop1(self.attn(self.norm1(x)))
        return x + self.drop2(self.mlp(self.norm2(x)))


class Custom(nn.Module):
    """A residual block with a custom forward method."""

    def __init__(self, call: Callable[..., Tensor], p: float = 0.5, **parts: nn.Module) -> None:
        super().__init__()
        self.call = call
        self.norm, self.inner, self.drop = nn.LayerNorm(8), nn.Linear(8, 8), DropPath(p)
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        return self.call(self, x, *rest)


def skipped(model: nn.Module, *example: Any, leave: Callable[[str], bool] = lambda name: False) -> tuple[Edit, list[Any]]:
    """Thins the branches of a model; returns the edit and the switches."""
    found, notes = branches(model, lambda: model(*example), leave, seed=0)
    edit = apply_changes(model, [change for piece in found for change in piece.changes], notes)
    return edit, [piece.switch for piece in found]


def both(model: nn.Module, switches: Sequence[Any], *given: Any) -> None:
    """Compares the thinned network with the masked one, with the same masks."""
    seen = []
    for on in (True, False):
        for switch in switches:
            switch.on = on
        seen.append(results(model, *given))
    for switch in switches:
        switch.on = True
    assert_alike(*seen)


@pytest.mark.parametrize("one", [False, True], ids=["two sites", "one site"])
@pytest.mark.parametrize(
    ("p", "dtype"), [(0.5, torch.float64), (0.5, torch.float32), (1.0, torch.float64), (0.03, torch.float64)]
)
def test_thinned_blocks_equal_masked_blocks(p: float, dtype: torch.dtype, one: bool) -> None:
    model = nn.Sequential(Block(p, one=one), Block(p, one=one)).to(dtype)
    edit, switches = skipped(model, torch.randn(4, 3, 8, dtype=dtype))
    assert len(edit) == len(switches) == (2 if one else 4) and not edit.notes
    rng, rows = thinnet.DropoutRNG(2).bind(model), rows_seen(model[1].mlp[0])
    for step, size in enumerate((1, 2, 7, 7)):
        rng.at(step, torch.randperm(50)[:size] if step else None)
        both(model, switches, torch.randn(size, 3, 8, dtype=dtype))
        kept = int(rng.mask("1.drop1" if one else "1.drop2", step=step, samples=[0] if not step else [1], shape=(1,)).sum())
        assert rows[-2] <= size and rows[-1] == size and kept <= 1
    assert sum(rows[::2]) < sum(rows[1::2]) or p < 0.1
    assert max(rows[::2]) == 1 or p < 1  # where none is kept, one runs and is dropped


def test_only_the_kept_samples_run() -> None:
    model = nn.Sequential(Block())
    skipped(model, torch.randn(4, 3, 8))
    rng, rows, ids = thinnet.DropoutRNG(2).bind(model), rows_seen(model[0].mlp[0]), torch.randperm(50)[:16]
    for step in range(4):
        rng.at(step, ids)
        model(torch.randn(16, 3, 8))
        assert rows[-1] == int(rng.mask("0.drop2", step=step, samples=ids, shape=(1,)).sum())


def test_undo_eval_and_state_dict_are_unchanged() -> None:
    model, x = nn.Sequential(Block()), torch.randn(4, 3, 8)
    before = {name: (module, dict(vars(module)), len(module._forward_pre_hooks)) for name, module in model.named_modules()}
    keys, off = list(model.state_dict()), model.eval()(x)
    edit, _ = skipped(model.train(), x)
    assert list(model.state_dict()) == keys
    assert_same_bits(model.eval()(x), off)
    twin = pickle.loads(pickle.dumps(model.train()))
    for each in (twin, copy.deepcopy(model)):
        thinnet.DropoutRNG(1).bind(each).at(0)
        rows = rows_seen(each[0].mlp[0])
        each(torch.randn(16, 3, 8))
        assert rows[0] < 16
    edit.undo()
    for name, (module, attributes, hooks) in before.items():
        assert model.get_submodule(name) is module
        assert vars(module).keys() == attributes.keys() and len(module._forward_pre_hooks) == hooks
        assert not module._forward_pre_hooks_with_kwargs


def test_schedules_and_batchwise_dropout_in_a_branch_still_work() -> None:
    model = nn.Sequential(Block())
    model[0].mlp[2] = thinnet.nn.BatchwiseDropout(0.5)
    _, switches = skipped(model, torch.randn(4, 3, 8))
    assert len(switches) == 2
    schedules = {"0.drop*": thinnet.schedules.Linear(0.0, 0.9, steps=3)}
    rng = thinnet.DropoutRNG(2, schedules=schedules).bind(model)
    for step in range(4):
        rng.at(step, [8, 3, 5, 9, 1])
        both(model, switches, torch.randn(5, 3, 8))


def test_compiled_branches_are_one_graph() -> None:
    model = nn.Sequential(Custom(lambda self, x: x + self.drop(self.inner(self.norm(x)))))
    _, switches = skipped(model, torch.randn(4, 8))
    counter = torch._dynamo.testing.CompileCounterWithBackend("eager")
    rng, compiled = thinnet.DropoutRNG(2).bind(model), torch.compile(model, backend=counter, fullgraph=True)
    assert len(switches) == 1
    for step in range(4):
        model[0].drop.p = (step + 1) / 7
        rng.at(step, [8, 3, 5, 9])
        x = torch.randn(4, 8)
        torch.testing.assert_close(compiled(x), model(x))
    assert counter.frame_count == 1


def test_a_checkpoint_around_a_block_works_and_one_inside_is_refused() -> None:
    def into(self: Any, x: Tensor) -> Tensor:
        return x + checkpoint(lambda x: self.drop(self.inner(x)), self.norm(x), use_reentrant=False)

    around, cut = (nn.Sequential(Custom(call)) for call in (lambda self, x: x + self.drop(self.inner(self.norm(x))), into))
    x = torch.randn(6, 8, requires_grad=True)
    assert skipped(around, x)[1]
    thinnet.DropoutRNG(2).bind(around).at(1)
    plain = torch.autograd.grad(around(x).square().sum(), x)[0]
    assert_same_bits(plain, torch.autograd.grad(checkpoint(around, x, use_reentrant=False).square().sum(), x)[0])
    edit, _ = skipped(cut, x)
    assert not edit and "a checkpoint begins inside it" in edit.notes[0]


def _remembers(self: Any, x: Tensor) -> Tensor:
    size = len(x)
    return x + self.drop(self.inner(self.norm(x)).view(size, 8))


OBSTACLES: tuple[tuple[str, Callable[..., Tensor], tuple[tuple[int, ...], ...], dict[str, nn.Module]], ...] = (
    ("no shortcut is added", lambda self, x: self.drop(self.inner(x)), ((4, 8),), {}),
    ("the example has one sample", lambda self, x: x + self.drop(self.inner(x)), ((1, 8),), {}),
    ("norm .* combines several", lambda self, x: x + self.drop(self.bn(self.inner(x))), ((4, 8),), {"bn": nn.BatchNorm1d(8)}),
    ("also reads the output of inner", lambda self, x: x + self.drop(y := self.inner(x)) + y, ((4, 8),), {}),
    (
        "dropout in the model draws noise without an address",
        lambda self, x: x + self.drop(F.dropout(self.inner(x))),
        ((4, 8),),
        {},
    ),
    ("reads its entry outside a module", lambda self, x: x + self.drop(self.inner(x * 2)), ((4, 8),), {}),
    ("inner also runs elsewhere", lambda self, x: (y := self.inner(x)) + self.drop(self.inner(y)), ((4, 8),), {}),
    ("every second sample dropped, RuntimeError: shape", _remembers, ((4, 8),), {}),
    ("every second sample dropped, it differs", lambda self, x: x + self.drop((y := self.inner(x)) - y.mean(0)), ((4, 8),), {}),
    ("also reads an argument of the model", lambda self, x, m: x + self.drop(self.inner(x) * m), ((4, 8), (4, 1)), {}),
    ("the example does not reach it", lambda self, x: self.inner(x), ((4, 8),), {}),
    ("changes the number of samples", lambda self, x: x + self.drop(self.inner(x)[:1]), ((4, 8),), {}),
)


@pytest.mark.parametrize(("reason", "call", "shapes", "parts"), OBSTACLES, ids=[each[0] for each in OBSTACLES])
def test_other_branches_stay_unchanged_and_give_a_reason(reason: str, call: Any, shapes: Any, parts: Any) -> None:
    model = Custom(call, **parts)
    edit, _ = skipped(model, *(torch.randn(shape) for shape in shapes))
    assert not edit
    assert len(edit.notes) == 1 and edit.notes[0].startswith("drop is not thinned: ")
    with pytest.raises(AssertionError, match=reason.replace("norm .*", "bn .*")):
        raise AssertionError(edit.notes[0])


def test_notes_name_left_sites_and_modules_that_need_no_thinning() -> None:
    edit, _ = skipped(nn.Sequential(Block()), torch.randn(4, 3, 8), leave=lambda name: name == "0.drop1")
    assert [change.place for change in edit] == ["0.drop2"]
    assert edit.notes == ("0.drop1 is not thinned: excluded by leave=",)
    rows = [StochasticDepth(nn.Linear(2, 2), mode="batch"), LayerDrop([nn.Linear(2, 2)]), thinnet.nn.PatchDropout()]
    rows += [StochasticDepth(nn.BatchNorm1d(2)), type("DropPath", (nn.Module,), {})()]
    notes = notes_on(nn.Sequential(*rows).eval())
    assert [note.split()[1] for note in notes] == ["needs"] * 3 + ["is"] * 2
    assert "BatchNorm1d combines several samples" in notes[3] and "thinnet.replace(model, {DropPath:" in notes[4]


def test_sites_and_samples_are_those_of_the_dense_network() -> None:
    model, x = nn.Sequential(Block(), nn.Flatten(), nn.Linear(24, 3)), torch.randn(6, 3, 8)
    thinnet.replace(model)

    def seen() -> tuple[str, Tensor]:
        return str(thinnet.sites(model, x)), thinnet.inference.sample(model, x, n=4, batch_size=12).draws

    before = seen()
    skipped(model, x)
    after = seen()
    assert before[0] == after[0]
    torch.testing.assert_close(before[1], after[1])


def test_a_hugging_face_model_is_thinned_after_replace() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_sizes": [4, 6], "depths": [1, 1], "num_stages": 2, "drop_path_rate": 0.5}
    model = transformers.ConvNextModel(transformers.ConvNextConfig(**sizes))
    own = {type(module) for module in model.modules() if type(module).__name__ == "ConvNextDropPath"}
    thinnet.replace(model, {own.pop(): lambda old: DropPath(old.drop_prob)})
    edit, switches = skipped(model, torch.randn(4, 3, 16, 16))
    assert [change.place for change in edit] == ["encoder.stages.1.layers.0.drop_path"]
    rng, rows = thinnet.DropoutRNG(2).bind(model).at(1), rows_seen(model.encoder.stages[1].layers[0].pwconv1)
    outs = []
    for switches[0].on in (True, False):
        outs.append(model(torch.ones(6, 3, 16, 16)).last_hidden_state)
    torch.testing.assert_close(*outs)
    assert rows[0] < rows[1] == 6 and rng.step == 1
