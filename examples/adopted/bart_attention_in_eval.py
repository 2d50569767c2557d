"""Bart-derived transformers: attention dropout that is on in eval mode (transformers issue 33844).

The layer passes its rate to the attention function, whatever the mode. `nn.Dropout` would have known; a function does not.
`thinnet lint` finds the call (THN104) and corrects it, and `thinnet audit` finds it in the running model (AUD101).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.output, self.rate = nn.Linear(64, 192), nn.Linear(64, 64), 0.1

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.inputs(x).unflatten(-1, (3, 4, 16)).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.rate)
        return self.output(y.transpose(1, 2).flatten(-2))


class Mended(Attention):
    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.rate if self.training else 0.0)
        return self.output(y.transpose(1, 2).flatten(-2))


torch.manual_seed(0)
x = torch.randn(32, 12, 64)
broken, mended = Attention().eval(), Mended().eval()
print(thinnet.audit(broken, x))
print(f"two predictions of one input differ: {not torch.equal(broken(x), broken(x))}")
print(f"the audit finds it: {'AUD101' in {finding.rule.code for finding in thinnet.audit(broken, x) if finding.fails}}")
print(f"mended, it does not: {'AUD101' not in {finding.rule.code for finding in thinnet.audit(mended, x) if finding.fails}}")
