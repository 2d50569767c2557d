"""The formulas of docs/scale.md agree with the measured points, by arithmetic alone."""

from itertools import pairwise

import pytest

from benchmarks.scale import KINDS, MODELS, SIZES, load


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_and_time_grow_with_the_units(kind: str) -> None:
    rows = sorted((row for row in load() if row["kind"] == kind), key=lambda row: row["units"])
    assert [row["units"] for row in rows] == [*SIZES]
    assert {row["bytes"] / row["units"] for row in rows} == {4.0 if kind == "stored" else 0.0}
    each = [row["seconds"] / row["units"] for row in rows]
    assert all(1 / 4 < one / other < 4 for one, other in pairwise(each))  # memory in and beyond the caches


def test_the_units_of_a_model_are_those_of_its_parts() -> None:
    for model in MODELS.values():
        tokens = model.batch * model.length
        each = 2 * model.width + model.heads * model.length  # of a token in a layer
        assert model.units == model.layers * tokens * each
    sizes = [model.parameters for model in MODELS.values()]
    assert sizes == sorted(sizes) and sizes[-1] == pytest.approx(100e9, rel=0.01)
