"""Prints what an installed thinnet computes, as one line of JSON: for tests/test_packages.py and the workflow of the wheels.

It needs torch and thinnet alone. The digest is that of outputs and gradients, and every path gives the same.
"""

import hashlib
import json
from collections.abc import Iterator

import torch

import thinnet
from thinnet import functional, ops
from thinnet.ops import schema


def results() -> Iterator[torch.Tensor]:
    """Yields outputs and gradients with addressed masks, and masks that follow `torch.manual_seed`."""
    model = torch.nn.Sequential(thinnet.nn.Dropout(0.3), thinnet.nn.GaussianDropout(0.2), thinnet.nn.AlphaDropout(0.1))
    rng = thinnet.DropoutRNG(seed=7).bind(model)
    rng.at(step=3, samples=torch.tensor([4711, 8]))
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        x = torch.linspace(-2, 2, 2 * 777).reshape(2, 777).to(dtype).requires_grad_()
        y = model(x)
        yield y
        yield from torch.autograd.grad(y, x, torch.ones_like(y))
    torch.manual_seed(0)
    yield functional.dropout2d(torch.ones(2, 8, 5, 5), 0.5, training=True)
    q, v = torch.zeros(1, 2, 16, 8), torch.eye(16).expand(1, 2, 16, 16)
    yield functional.attention(q, q, v, p=0.5, training=True) != 0


def digest() -> str:
    """Returns the digest of all results."""
    hashed = hashlib.sha256()
    for tensor in results():
        hashed.update(bytes(tensor.detach().contiguous().view(torch.uint8).flatten().tolist()))
    return hashed.hexdigest()


if __name__ == "__main__":
    library = schema.loaded and str(schema.loaded)
    print(json.dumps({"folder": thinnet.__file__, "path": ops.backends()["cpu"], "library": library, "digest": digest()}))
