"""Two Ray tasks compute the gradient of one batch. No random state travels: the seed, the step and the ids name the masks."""

import ray
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import thinnet

digits = load_digits()
x, y = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(128, 10))


def gradients(weights: dict[str, Tensor], step: int, ids: Tensor) -> list[Tensor]:
    """The gradients of the sum of the losses of some samples."""
    model = build()
    model.load_state_dict(weights)
    thinnet.DropoutRNG(seed=0).bind(model).at(step, samples=ids)
    nn.functional.cross_entropy(model(x[ids]), y[ids], reduction="sum").backward()
    return [parameter.grad for parameter in model.parameters()]


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
    task = ray.remote(gradients)
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(5):
        ids = torch.randperm(len(x))[:64]
        weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        halves = ray.get([task.remote(weights, step, part) for part in ids.chunk(2)])
        alone = gradients(weights, step, ids)
        for parameter, first, second in zip(model.parameters(), *halves, strict=True):
            parameter.grad = (first + second) / len(ids)
        optimizer.step()
    same = all(torch.allclose(a + b, c, atol=1e-4) for a, b, c in zip(*halves, alone, strict=True))
    print(f"gradients of two tasks and of one process equal: {same}")
    print("`thinnet study --on ray` starts the trials of a study as Ray tasks in the same way.")
    ray.shutdown()
