"""A prediction as a short table that a person can read."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinnet.inference.monte_carlo.prediction import Prediction

LOGITS = ("entropy", "expected_entropy", "mutual_information", "variation_ratio")


def plain(prediction: "Prediction") -> str:
    """Returns, of each statistic, its average and largest value over the samples, and its largest standard error."""
    n, rows, *rest = prediction.draws.shape
    named = "every coin named" if prediction.named else "not every coin named"
    lines = [f"{n} draws of {rows} samples, {prediction.kind}{f' of shape {tuple(rest)}' if rest else ''}, {named}"]
    names = ("std", *LOGITS) if prediction.kind == "logits" else ("mean", "std")
    if prediction.draws.numel():
        lines.append(f"{'':<20}{'average':>10}{'largest':>10}{'error':>10}")
        for name in names:
            value, wrong = getattr(prediction, name), float(prediction.error[name].max())
            lines.append(f"{name.replace('_', ' '):<20}{float(value.mean()):>10.4g}{float(value.max()):>10.4g}{wrong:>10.2g}")
    return "\n".join([*lines, *(f"# {note}" for note in prediction.notes)])
