"""The building blocks of the committed measurements, and that their settings equal those of the code."""

import json

import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

from benchmarks.measure import RESULTS
from benchmarks.quality import inference_averaging, inference_parts, inference_shift, inference_tables


def test_the_mean_of_placements_is_the_auroc_with_ties_too() -> None:
    generator = torch.Generator().manual_seed(0)
    for step in (1e-6, 0.5):
        inside, outside = ((torch.randn(50, generator=generator) + mean).div(step).round() * step for mean in (0.0, 0.7))
        truth = torch.arange(2).repeat_interleave(50)
        area = binary_auroc(torch.cat((inside, outside)).sigmoid(), truth).item()
        pairs = sum((a < b) + 0.5 * (a == b) for a in inside.tolist() for b in outside.tolist()) / 2500
        assert inference_shift.placements(inside, outside).mean().item() == pytest.approx(pairs, abs=1e-6)
        assert area == pytest.approx(pairs, abs=1e-6)


def test_shifted_images_keep_their_range_and_a_rotation_by_360_degrees_changes_nothing() -> None:
    x = torch.rand(5, 64)
    for kind, (_, amounts) in inference_shift.SHIFTS.items():
        changed = inference_shift.shifted(x, kind, amounts[-1])
        assert changed.shape == x.shape and 0 <= changed.min() and changed.max() <= 1 and not torch.equal(changed, x)
    assert torch.allclose(inference_shift.shifted(x, "rotated", 360), x, atol=1e-5)


def test_parts_of_a_split_are_disjoint_and_standardised_by_the_training_part() -> None:
    x, y = inference_tables.split("diabetes", 3)
    assert [len(part) for part in x] == [265, 89, 88] and len(torch.cat(x).unique(dim=0)) == 442
    assert torch.allclose(x[0].mean(0), torch.zeros(10), atol=1e-5) and torch.allclose(y[0].std(), torch.ones(()))


@pytest.mark.parametrize("module", [inference_averaging, inference_shift, inference_tables], ids=lambda module: module.__name__)
def test_committed_figures_have_the_settings_of_the_code(module) -> None:
    name = module.__name__.rsplit(".", 1)[1]
    settings = json.loads((RESULTS / f"{name}.json").read_text())["settings"]
    assert (
        settings.items() >= module.TRAINING.items() and settings["width"] == module.WIDTH and settings["draws"] == module.DRAWS
    )


def test_every_part_of_the_page_comes_from_a_result_file() -> None:
    for part in inference_parts.PARTS.values():
        assert part().startswith("| ") and "nan" not in part()
