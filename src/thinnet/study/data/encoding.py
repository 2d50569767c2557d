"""The encoder of a study: from samples as the user has them to inputs, and from outputs to predictions; written as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import softmax

from thinnet.study.data.inputs import Columns, Pixels
from thinnet.study.data.sources.pictures import Pictures
from thinnet.study.data.sources.pretrained import Tokens
from thinnet.study.data.sources.texts import Words
from thinnet.study.data.tasks import Classification, Regression
from thinnet.study.design.plan import StudyError

FORMAT = 2
Samples = Columns | Pixels | Pictures | Words | Tokens
KINDS: dict[str, Any] = {kind.kind: kind for kind in (Columns, Pixels, Pictures, Words, Tokens)}


@dataclass(frozen=True)
class Encoder:
    """Turns samples into inputs of a network, and its outputs into predictions.

    Args:
        target: what is predicted.
        classes: their names; none for a regression.
        mean, scale: of the target of a regression.
        samples: what a sample becomes.

    Example:
        >>> from thinnet.study.data.columns import Column
        >>> rows = pd.DataFrame({"size": [1.0, 2.0, 4.0]})
        >>> columns = Columns.fitted(rows, [Column("size", "number", "", 0, 3, True)])
        >>> encoder = Encoder.of(columns, Regression(5.0, 2.0), "price")
        >>> encoder.encode(rows).shape, encoder.decode([[0.0], [1.0]]).tolist()
        ((3, 1), [5.0, 7.0])
    """

    target: str
    classes: tuple[str, ...]
    mean: float
    scale: float
    samples: Samples

    FILE: ClassVar = "encoder.json"

    @classmethod
    def of(cls, samples: Samples, task: Classification | Regression, target: str) -> "Encoder":
        """Returns the encoder of samples whose target has a task."""
        classes = tuple(task.classes) if isinstance(task, Classification) else ()
        mean, scale = (task.mean, task.scale) if isinstance(task, Regression) else (0.0, 1.0)
        return cls(target, classes, mean, scale, samples)

    def encode(self, samples: Any) -> np.ndarray:
        """Reads and encodes new samples, as the study read and encoded its own.

        Args:
            samples: of a table a file or a DataFrame, whose other columns do not matter; of arrays an array (N, ...); of
                pictures a list of files, or an array of bytes; of texts a list of texts, or of files as `pathlib.Path`.

        Returns: the inputs of the network, (N, ...).

        Raises:
            StudyError: a column is missing, or something cannot be read.
        """
        return self.samples.encode(samples)

    def decode(self, outputs: Any) -> "pd.DataFrame | pd.Series":
        """Turns outputs of the network (N, outputs) into probabilities of the classes, or into numbers of the target's unit."""
        values = np.asarray(outputs, dtype=np.float64)
        if self.classes:
            return pd.DataFrame(softmax(values, axis=1), columns=list(self.classes))
        return pd.Series(values.reshape(len(values)) * self.scale + self.mean, name=self.target)

    def save(self, path: Path) -> None:
        """Writes a JSON document."""
        path.write_text(json.dumps({"format": FORMAT} | asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Encoder":
        """Reads what `save` wrote."""
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise StudyError("Encoder.load", f"the format must be {FORMAT}", repr(str(path)), "Run the study again.")
        samples = found["samples"]
        return cls(**found | {"classes": tuple(found["classes"]), "samples": KINDS[samples["kind"]].of(samples)})
