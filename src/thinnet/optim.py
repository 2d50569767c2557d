"""Optimisers of PyTorch that take compact gradients from thinned layers.

    import thinnet.optim
    optimiser = thinnet.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)  # the arguments and state of torch.optim.SGD

A thinned layer computes the gradient of its kept units alone. `torch.optim` needs it as a full matrix, mostly zeros. These
optimisers take the kept rows and columns, and update all parameters in the same way, to rounding: momentum, averages and weight
decay move the weights of dropped units too. Whoever reads `.grad` sees the full gradient; a step then runs as in
`torch.optim`. So it does for gradient accumulation, gradient clipping, loss scaling, distributed training, hooks that change
gradients, and parameters that no thinned layer of float32 on a CPU uses.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thinnet.ops import update
from thinnet.ops.compact import CompactGradient, Part, full, request

__all__ = ["SGD", "AdamW"]


class _Compact(torch.optim.Optimizer):
    """Asks thinned layers for compact gradients of its parameters."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        request(self.param_groups[-1]["params"], self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            request(group["params"], self)

    def _update(self, group: dict[str, Any], lists: tuple[list[Any], ...], step: Callable[[int, Part], bool]) -> None:
        """Runs a step for each compact gradient, and leaves the other parameters in the lists.

        Args:
            group: of parameters.
            lists: parameters, gradients, and state, of which some may be empty.
            step: updates a parameter; returns False if `torch.optim` has to do it.
        """
        scaled = getattr(self, "grad_scale", None) is not None or getattr(self, "found_inf", None) is not None
        dense = scaled or group["differentiable"] or group.get("capturable", False)
        others = []
        for index, gradient in enumerate(lists[1]):
            part = gradient.held if type(gradient) is CompactGradient else None
            if dense or part is None or part.part is None or not step(index, part):
                lists[1][index] = full(gradient)
                others.append(index)
        for each in lists:
            each[:] = [each[index] for index in others] if each else []


class SGD(_Compact, torch.optim.SGD):
    """`torch.optim.SGD` that takes compact gradients from thinned layers; same arguments, state and result, to rounding.

    >>> model = torch.nn.Linear(4, 2)
    >>> optimiser = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    >>> optimiser.load_state_dict(torch.optim.SGD(model.parameters()).state_dict())
    """

    step = torch.compiler.disable(torch.optim.SGD.step)  # type: ignore[assignment]  # compiled code has no compact gradients

    def _init_group(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], momentum_buffer_list: list[Tensor | None]
    ) -> bool:
        sparse = super()._init_group(group, params, grads, momentum_buffer_list)  # type: ignore[misc]
        names = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")
        options = {name: group[name] for name in names}

        def step(index: int, part: Part) -> bool:
            buffer = momentum_buffer_list[index] if momentum_buffer_list else None
            if momentum_buffer_list and not _is_dense(buffer):  # the first step copies the gradient
                return False
            update.sgd(params[index], buffer, part, **options)
            return True

        self._update(group, (params, grads, momentum_buffer_list), step)
        return sparse


class AdamW(_Compact, torch.optim.AdamW):
    """`torch.optim.AdamW` that takes compact gradients from thinned layers; same arguments, state and result, to rounding.

    >>> model = torch.nn.Linear(4, 2)
    >>> optimiser = AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    >>> optimiser.load_state_dict(torch.optim.AdamW(model.parameters()).state_dict())
    """

    step = torch.compiler.disable(torch.optim.AdamW.step)  # type: ignore[assignment]

    def _init_group(
        self,
        group: dict[str, Any],
        params_with_grad: list[Tensor],
        grads: list[Tensor],
        exp_avgs: list[Tensor],
        exp_avg_sqs: list[Tensor],
        max_exp_avg_sqs: list[Tensor],
        state_steps: list[Tensor],
    ) -> bool:
        lists = (params_with_grad, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps)
        complex_ = super()._init_group(group, *lists)  # type: ignore[misc]
        options = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay", "maximize")}

        def step(index: int, part: Part) -> bool:
            averages = exp_avgs[index], exp_avg_sqs[index], max_exp_avg_sqs[index] if max_exp_avg_sqs else None
            if not all(each is None or _is_dense(each) for each in averages):
                return False
            state_steps[index] += 1
            update.adamw(params_with_grad[index], *averages, part, step=state_steps[index].item(), **options)
            return True

        self._update(group, lists, step)
        return complex_


def _is_dense(state: Tensor | None) -> bool:
    return type(state) is Tensor and state.dtype == torch.float32 and state.is_contiguous()
