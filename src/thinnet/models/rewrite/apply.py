"""Applies planned changes to a model, with what follows from them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from thinnet.models.rewrite.edits import ABSENT, Change, Edit, Write
from thinnet.models.rewrite.methods import is_pinned

NESTED = "use_nested_tensor"


def apply_changes(model: nn.Module, changes: Iterable[Change], notes: Iterable[str] = ()) -> Edit:
    """Applies planned changes and returns them as an edit. If one fails, the earlier ones are reverted."""
    planned = list(changes)
    done: list[Write] = []
    try:
        for change in planned:
            _apply(change, done)
        encoders = list(_dense_encoders(model))
        for change in encoders:
            _apply(change, done)
    except BaseException:
        for write in reversed(done):
            write.undo()
        raise
    return Edit.of(model, [*encoders, *planned], notes)  # an undo goes backwards, and comes to the encoders last


def _apply(change: Change, done: list[Write]) -> None:
    for write in change.writes:
        write.apply()
        done.append(write)


@dataclass(frozen=True, eq=False)
class Nested:
    """Whether an encoder of PyTorch makes a nested tensor of a padded batch in eval; only while its layers take one."""

    owner: nn.TransformerEncoder

    def get(self) -> Any:
        """Returns the flag, or `ABSENT`."""
        return vars(self.owner).get(NESTED, ABSENT)

    def put(self, value: Any) -> None:
        """Sets the flag."""
        self.owner.use_nested_tensor = value and all(map(_is_fused, self.owner.layers))


def _dense_encoders(model: nn.Module) -> Iterator[Change]:
    """Yields the changes that keep padded batches dense in encoders with a layer that cannot take nested tensors."""
    for path, encoder in model.named_modules():
        if isinstance(encoder, nn.TransformerEncoder) and vars(encoder).get(NESTED) is True:
            if not all(map(_is_fused, encoder.layers)):
                place = f"{path}.{NESTED}".lstrip(".")
                yield Change(
                    "~", place, "True -> False", [Write(Nested(encoder), False)], "an edited layer takes dense tensors"
                )


def _is_fused(layer: nn.Module) -> bool:
    """Returns whether an encoder layer takes its fused path in eval, which alone takes nested tensors."""
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules())
    pinned = is_pinned(layer) and layer.training
    return not hooked and not pinned and bool(getattr(layer._modules.get("self_attn"), "_qkv_same_embed_dim", False))
