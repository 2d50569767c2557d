"""Property tests of all edits: what they preserve, and that undo restores the model."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from edited import NETWORKS, PRETRAINED, Shared, X, mlp, picture, run
from torch import Tensor, nn

import thinnet
from thinnet.models.audit.audit import audit
from thinnet.models.edit import Edit, freeze, insert, replace, set_rates, strip

EDITS: dict[str, Callable[[nn.Module, Any], Edit]] = {
    "insert": lambda model, example: insert(model, example=example),
    "insert by definition": lambda model, example: insert(model),
    "replace": lambda model, example: replace(model),
    "replace functions": lambda model, example: replace(model, functional=True, example=example),
    "set_rates": lambda model, example: set_rates(model, 0.25),
    "strip": lambda model, example: strip(model),
    "freeze": lambda model, example: freeze(model),
}
NONE = {  # there is no such place
    *(("set_rates", name) for name in ("convolutional", "resnet", "convnext")),
    *(("freeze", name) for name in ("convolutional", "resnet", "convnext")),
    ("insert by definition", "resnet"),  # its head is defined first
    *(("insert", name) for name in ("shared", "transformer", "bert", "gpt2", "vit", "whisper", "t5")),
    *(("insert by definition", name) for name in ("shared", "transformer", "bert", "gpt2", "vit", "whisper", "t5")),
}
ALL = {**NETWORKS, **PRETRAINED}
CASES = [(edit, name) for name in ALL for edit in EDITS if (edit, name) not in NONE]
ROUNDED = {("replace", "transformer"), ("replace functions", "transformer")}  # another order of operations
RANDOM_IN_EVAL = {(edit, "shared") for edit in ("replace functions", "strip", "freeze")}  # these turn it off


def assert_same(one: list[Tensor], other: list[Tensor], exactly: bool = True) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        if exactly:
            assert_same_bits(a, b)
        else:
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("edit", "name"), CASES)
def test_edits_preserve_eval_state_and_copies(edit: str, name: str) -> None:
    factory, example = ALL[name]
    model = factory()
    next(module for module in model.modules() if not list(module.children())).eval()  # a flag of its own
    keys, parameters = list(model.state_dict()), {key: id(held) for key, held in model.named_parameters()}
    modes = {id(module): module.training for module in model.modules()}
    before, trained, was = run(model, example, training=False), run(model, example), picture(model)
    made = EDITS[edit](model, example)

    assert list(model.state_dict()) == keys
    assert {key: id(held) for key, held in model.named_parameters()} == parameters
    pinned = {id(write.slot.owner) for change in made for write in change.writes} if edit in ("freeze", "strip") else set()
    assert all(
        module.training == modes.get(id(module), module.training) for module in model.modules() if id(module) not in pinned
    )
    if (edit, name) not in RANDOM_IN_EVAL:
        assert_same(run(model, example, training=False), before, exactly=(edit, name) not in ROUNDED)

    drawn = run(model, example)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same(run(copied, example), drawn)
        assert list(copied.state_dict()) == keys
    made.undo()
    assert picture(model) == was
    assert_same(run(model, example), trained)
    with pytest.raises(ValueError, match="undone already"):
        made.undo()


@pytest.mark.parametrize("edit", EDITS)
def test_undo_keeps_trained_weights(edit: str) -> None:
    model = nn.Sequential(mlp(), nn.MultiheadAttention(4, 2, dropout=0.1))
    model.forward = lambda x: model[1](*[model[0](x)] * 3)[0]  # type: ignore[method-assign]
    was = picture(model)
    made = EDITS[edit](model, X)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model(X).square().mean().backward()
    optimiser.step()
    model.zero_grad()
    weights = copy.deepcopy(model.state_dict())
    made.undo()
    assert picture(model) == was
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("edit", EDITS)
def test_edits_keep_hooks_and_handles(edit: str) -> None:
    model, seen = mlp(), []
    model[2].p = 0.5
    handles = [
        module.register_forward_hook(lambda module, args, output: seen.append(type(module).__name__)) for module in model
    ]
    EDITS[edit](model, X)
    seen.clear()
    model(X)
    assert len(seen) == 6
    for handle in handles:
        handle.remove()
    model(X)
    assert len(seen) == 6


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", ["mlp", "functional mlp"])
def test_an_edited_model_compiles_to_one_graph(edit: str, name: str) -> None:
    model, example = ALL[name][0](), ALL[name][1]
    EDITS[edit](model, example)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert compiled(example).shape == (6, 4)
    model.eval()
    assert_same_bits(compiled(example), model(example))


def test_an_edit_changes_the_module_inside_a_compiled_model() -> None:
    model = mlp()
    insert(torch.compile(model, backend="aot_eager"), {"1": 0.5})  # type: ignore[arg-type]
    assert list(dict(model[1].named_children())) == ["dropout_behind"]


@pytest.mark.parametrize("edit", EDITS)
def test_undo_refuses_a_place_that_changed_later(edit: str) -> None:
    model = mlp()
    made = EDITS[edit](model, X)
    was = picture(model)
    for change in made:
        for write in change.writes:
            held, key = getattr(write.slot, "held", ""), getattr(write.slot, "key", "")
            if held == "_modules":
                write.slot.owner._modules[key] = nn.Identity()
            elif isinstance(write.slot.owner, nn.Dropout) and write.slot.get() is not None:
                write.slot.put(nn.Identity() if callable(write.after) else 0.75)
    if made:
        changed = picture(model)
        with pytest.raises(ValueError, match=f"changed since: .*{made[0].place}"):
            made.undo()
        assert picture(model) == changed != was


def test_undo_refuses_a_place_that_was_removed() -> None:
    model = nn.Sequential(mlp(), nn.Linear(4, 4))
    made = insert(model, {"0.1": 0.5})
    model[0] = mlp()
    with pytest.raises(ValueError, match=r"changed since: 0\.1"):
        made.undo()


def test_edits_are_undone_in_reverse_order() -> None:
    model = Shared()
    was = picture(model)
    edits = [
        set_rates(model, {"drop": 0.4}),
        replace(model, functional=True, example=X),
        insert(model, {"first": 0.3}),
        set_rates(model, {"*": 0.6}),
        freeze(model, "first*"),
        strip(model),
    ]
    assert_same_bits(model(X), model(X))
    with pytest.raises(ValueError, match="changed since"):
        edits[1].undo()
    for edit in reversed(edits):
        edit.undo()
    assert picture(model) == was


def test_a_failed_edit_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), thinnet.nn.GaussianDropout(0.5))
    was = picture(model)
    with pytest.raises(ValueError, match="p must be"):
        set_rates(model, {"1": 0.25, "2": 1.0})
    with pytest.raises(ValueError, match="must match"):
        insert(model, {"0": 0.5, "nobody": 0.5})
    assert picture(model) == was


@pytest.mark.parametrize("name", ["mlp", "convolutional", "resnet", "words"])
def test_an_audit_of_inserted_dropout_finds_nothing(name: str) -> None:
    model, example = NETWORKS[name][0](), NETWORKS[name][1]
    insert(model, example=example)
    found = audit(model, example, passes=2)
    assert not [finding for finding in found if finding.fails], str(found)
    assert any(site.on_in_train for site in thinnet.sites(model, example, passes=1))


@pytest.mark.parametrize("edit", EDITS)
def test_a_model_must_be_a_module(edit: str) -> None:
    with pytest.raises(TypeError, match="model must be a torch"):
        EDITS[edit](mlp, X)  # type: ignore[arg-type]
