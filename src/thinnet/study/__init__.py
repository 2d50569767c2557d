"""`thinnet study`: does dropout help on this data, at which rate, and how certain is that?"""

from typing import TYPE_CHECKING

from thinnet._lazy import lazy as _lazy

if TYPE_CHECKING:
    from thinnet.study.api import run as run
    from thinnet.study.data.encoding import Encoder as Encoder
    from thinnet.study.study import Study as Study

_PLACES = {"run": "thinnet.study.api", "Study": "thinnet.study.study", "Encoder": "thinnet.study.data.encoding"}

if not TYPE_CHECKING:
    __getattr__, __dir__, __all__ = _lazy(__name__, _PLACES)  # the command checks its arguments before it imports PyTorch
