"""The table of `summary_()`."""

from typing import Any

from thinnet.report.table import Table


def summary(estimator: Any) -> Table:
    """Returns what was trained, how, and how it is calibrated."""
    member = estimator.members_[0]
    weights = sum(value.numel() for each in estimator.members_ for value in each.network.parameters())
    widths = [layer.out_features for name, layer in member.network.named_children() if hasattr(layer, "out_features")]
    rows: list[tuple[str, object]] = [
        ("layers", " - ".join(map(str, (estimator.n_features_in_, *widths)))),
        ("networks", len(estimator.members_)),
        ("parameters", weights),
        ("method", estimator.method + (", thinned" if estimator.thin else "")),
        ("dropout", estimator.dropout_ if isinstance(estimator.dropout_, float) else ", ".join(map(str, estimator.dropout_))),
        ("input dropout", float(estimator.input_dropout)),
        ("epochs", estimator.n_iter_),
        ("training loss", estimator.loss_),
    ]
    if estimator.validation_scores_ is not None:
        best = min(range(estimator.n_iter_), key=lambda epoch: estimator.validation_loss_curve_[epoch])
        rows.append((f"validation score, epoch {best + 1}", estimator.validation_scores_[best]))
    rows += estimator._calibration_lines()
    return Table(("", ""), rows, type(estimator).__name__)
