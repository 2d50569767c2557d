"""An edit that fails halfway leaves the model unchanged."""

import pytest
from torch import nn

import thinnet
from thinnet.models.rewrite.edits import Write


def test_a_failure_reverts_earlier_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4), nn.Dropout(0.2))
    before, apply, applied = list(model), Write.apply, []

    def fails_the_second_time(self: Write) -> None:
        applied.append(self)
        if len(applied) == 2:
            raise RuntimeError("no more")
        apply(self)

    monkeypatch.setattr(Write, "apply", fails_the_second_time)
    with pytest.raises(RuntimeError, match="no more"):
        thinnet.replace(model)
    assert len(applied) == 2 and all(now is then for now, then in zip(model, before, strict=True))
