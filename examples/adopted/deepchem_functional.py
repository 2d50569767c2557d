"""deepchem: functional dropout without `training`, and no Monte-Carlo dropout (issues 5086, 5092, 3115).

`F.dropout(x, p)` drops in eval mode too, and no tool that looks for `nn.Dropout` sees it. `thinnet audit` and `thinnet lint`
(THN101) find it. Mended, `thinnet.inference.sample` gives the uncertainty that users ask for, with no change to the model.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet


class Readout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(32, 128), nn.Linear(128, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.first(x).relu(), 0.2))


class Mended(Readout):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.first(x).relu(), 0.2, training=self.training))


torch.manual_seed(0)
x = torch.randn(64, 32)
broken, mended = Readout().eval(), Mended().eval()
print(thinnet.audit(broken, x))
print(f"two predictions of one input differ: {not torch.equal(broken(x), broken(x))}")
print(f"the audit finds it: {'AUD101' in {finding.rule.code for finding in thinnet.audit(broken, x) if finding.fails}}")
thinnet.assert_dropout_right(mended, x)
print(f"mended, two predictions are the same: {torch.equal(mended(x), mended(x))}")

draws = thinnet.inference.sample(mended, x, n=100, kind="values")
print(f"every prediction has an uncertainty: {bool((draws.std > 0).all())}")
