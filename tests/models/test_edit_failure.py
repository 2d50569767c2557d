"""An edit that fails halfway leaves the model unchanged."""

import pytest
from torch import nn

import thinnet
from thinnet.models.rewrite.edits import Write


def test_a_failure_reverts_earlier_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4), nn.Dropout(0.2))
    before, make, made = list(model), Write.make, []

    def fails_the_second_time(self: Write) -> None:
        made.append(self)
        if len(made) == 2:
            raise RuntimeError("no more")
        make(self)

    monkeypatch.setattr(Write, "make", fails_the_second_time)
    with pytest.raises(RuntimeError, match="no more"):
        thinnet.replace(model)
    assert len(made) == 2 and all(now is then for now, then in zip(model, before, strict=True))
