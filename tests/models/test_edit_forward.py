"""After every edit a model computes what it did: in train, eval, on padded batches, compiled and checkpointed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from edited import MAPS, X, convolutional, mlp
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from zoo import BOTH, PIXELS, TEXT, outputs, pretrained

from thinnet import thin
from thinnet.models.edit import freeze, insert, replace, set_rates, strip
from thinnet.models.edit.rates import owners

PADDED = torch.tensor([[True] * 12, [True] * 7 + [False] * 5])
SEQUENCES = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.2, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


def decoder() -> nn.Module:
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32, dropout=0.2, batch_first=True), 2)


def both() -> nn.Module:
    return nn.Transformer(16, 2, 1, 1, 32, dropout=0.2, batch_first=True)


def networks() -> nn.Sequential:
    model = mlp()
    model[2].p = 0.5
    return model


def maps() -> nn.Module:
    model = convolutional()
    return nn.Sequential(*model[:3], nn.Dropout2d(0.2), *model[3:])


FIRST = SEQUENCES[:, :4]
MASKED = dict(attention_mask=PADDED.long())
PLACES = {  # where dropout is inserted
    "mlp": "0",
    "convolutions": "0",
    **dict.fromkeys(("encoder", "decoder", "encoder and decoder"), "*.linear1"),
    "Bert": "*.intermediate.dense",
    "GPT2": "*.c_fc",
    "T5": "*.wi",
    "ViT": "*.fc1",
}
MODELS: dict[str, Callable[[], tuple[nn.Module, Any, Any]]] = {  # a model, an input, and a padded one
    "mlp": lambda: (networks(), X, X[:3]),
    "convolutions": lambda: (maps(), MAPS, MAPS[:2]),
    "encoder": lambda: (encoder(), SEQUENCES, dict(src=SEQUENCES, src_key_padding_mask=~PADDED)),
    "decoder": lambda: (decoder(), (SEQUENCES, FIRST), dict(tgt=SEQUENCES, memory=FIRST, tgt_key_padding_mask=~PADDED)),
    "encoder and decoder": lambda: (
        both(),
        (SEQUENCES, SEQUENCES),
        dict(src=SEQUENCES, tgt=SEQUENCES, src_key_padding_mask=~PADDED, memory_key_padding_mask=~PADDED),
    ),
    "Bert": lambda: (*pretrained("Bert"), TEXT | MASKED),
    "GPT2": lambda: (*pretrained("GPT2"), TEXT | MASKED),
    "T5": lambda: (*pretrained("T5"), BOTH | MASKED),
    "ViT": lambda: (*pretrained("ViT"), {"pixel_values": PIXELS["pixel_values"][:1]}),
}
EDITS: dict[str, Callable[[nn.Module, Any, str], Any]] = {
    "insert": lambda model, x, place: insert(model, {place: 0.3}, x),
    "replace": lambda model, x, place: replace(model),
    "replace functions": lambda model, x, place: replace(model, functional=True, example=x),
    "set_rates": lambda model, x, place: set_rates(model, 0.25),
    "freeze": lambda model, x, place: freeze(model, example=x),
    "strip": lambda model, x, place: strip(model),
    "thin": lambda model, x, place: (
        thin(model, always=True, **x) if isinstance(x, dict) else thin(model, *(x if type(x) is tuple else [x]), always=True)
    ),
    "replace, insert": lambda model, x, place: (replace(model), insert(model, {place: 0.3}, x)),
    "replace, freeze": lambda model, x, place: (replace(model), freeze(model)),
}
CASES = [(name, edit) for name in MODELS for edit in EDITS]


def edited(name: str, edit: str) -> tuple[nn.Module, nn.Module, Any, Any]:
    torch.manual_seed(0)
    model, x, padded = MODELS[name]()
    before = copy.deepcopy(model)
    EDITS[edit](model, x, PLACES[name])
    return model, before, x, padded


def assert_close(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        kept = [out[PADDED] if out.shape[:2] == PADDED.shape else out for out in (a, b)]  # padding may be anything
        torch.testing.assert_close(*kept, rtol=1e-4, atol=1e-5)


def without_dropout(model: nn.Module) -> nn.Module:
    if any(owner.p for owner in owners(model)):
        set_rates(model, 0.0)
    return model.train()


@pytest.mark.parametrize(("name", "edit"), CASES)
def test_an_edit_keeps_eval_and_padded_batches(name: str, edit: str) -> None:
    model, before, x, padded = edited(name, edit)
    for grad in (False, True):  # PyTorch's encoder takes nested tensors without gradients alone
        with torch.set_grad_enabled(grad):
            for given in (x, padded):
                assert_close(outputs(model.eval(), given), outputs(before.eval(), given))


@pytest.mark.parametrize(("name", "edit"), CASES)
def test_an_edit_keeps_training_beside_dropout(name: str, edit: str) -> None:
    model, before, x, padded = edited(name, edit)
    for given in (x, padded):
        assert_close(outputs(without_dropout(model), given), outputs(without_dropout(before), given))


def gradients(model: nn.Module, run: Callable[[], list[Tensor]]) -> list[Tensor | None]:
    torch.manual_seed(3)
    model.zero_grad()
    run()[0].square().mean().backward()
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(("name", "edit"), CASES)
def test_an_edited_model_can_be_checkpointed(name: str, edit: str, reentrant: bool) -> None:
    model, _, _, padded = edited(name, edit)
    model.train()
    leaf = torch.zeros((), requires_grad=True)
    plain = gradients(model, lambda: outputs(model, padded))
    again = gradients(model, lambda: [checkpoint(lambda _: outputs(model, padded)[0], leaf, use_reentrant=reentrant)])
    for one, other in zip(plain, again, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other)


COMPILED = [("mlp", edit) for edit in EDITS] + [("encoder", "insert"), ("encoder", "replace functions"), ("Bert", "freeze")]


@pytest.mark.parametrize(("name", "edit"), COMPILED)
def test_an_edited_model_compiles(name: str, edit: str) -> None:
    model, before, x, padded = edited(name, edit)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        for given in (x, padded):
            assert_close(outputs(compiled.eval(), given), outputs(before.eval(), given))
        without_dropout(model)
        assert_close(outputs(compiled.train(), padded), outputs(without_dropout(before), padded))
