"""What `thinnet.diagnose` returns."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinnet.diagnosis.ablation import Ablation
from thinnet.diagnosis.coadaptation import CoAdaptation
from thinnet.diagnosis.gap import Gap
from thinnet.diagnosis.gradients import Gradients
from thinnet.diagnosis.sparsity import Sparsity
from thinnet.diagnosis.synergy import Synergy
from thinnet.diagnosis.variance import Shift


@dataclass(frozen=True)
class Layer:
    """One hidden layer; a measure that was not asked for, or that the layer is too small for, is None.

    Args:
        name: the path of the module where it is read.
        place: where that is, in words.
        axis: which axis of its activations counts the units.
        width: how many units there are.
        read: of how many units activations were read.
    """

    name: str
    place: str
    axis: int
    width: int
    read: int
    coadaptation: CoAdaptation | None
    synergy: Synergy | None
    ablation: Ablation | None
    sparsity: Sparsity | None


@dataclass(frozen=True)
class Diagnosis:
    """What was measured on a model; `str` of it is a table.

    Args:
        layers: the hidden layers, in the order in which they run.
        gap: training and held-out losses.
        gradients: directions of minibatch gradients, with the coins on and off.
        shifts: variance shift of what each layer reads.
        samples: how many samples all was measured on.
        seed: of all draws.
        notes: what was left out, and why.
    """

    layers: tuple[Layer, ...]
    gap: Gap | None
    gradients: Gradients | None
    shifts: tuple[Shift, ...]
    samples: int
    seed: int
    notes: tuple[str, ...]

    def json(self) -> str:
        """Returns all of it as JSON."""
        found = dataclasses.asdict(self)
        if self.gap is not None:
            found["gap"] |= {name: getattr(self.gap, name) for name in ("gap", "error", "naive", "price")}
        return json.dumps(found, indent=1)

    def picture(self) -> Any:
        """Returns a Plotly figure of all panels.

        Raises:
            ImportError: Plotly is not installed.
        """
        from thinnet.diagnosis.picture import picture

        return picture(self)

    def html(self, path: str | Path) -> Path:
        """Writes one page with tables and panels that needs no network, and returns its path.

        Raises:
            ImportError: Plotly is not installed.
        """
        from thinnet.diagnosis.page import write

        return write(self, Path(path))

    def __str__(self) -> str:
        from thinnet.diagnosis.table import plain

        return plain(self)
