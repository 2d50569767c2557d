"""A convolutional network on images of digits: it drops whole channels after pooling, and units before the head."""

from collections import OrderedDict

import numpy as np
from sklearn.datasets import load_digits
from torch import Tensor, nn

from thinnet.nn import Dropout, Dropout2d

epochs, batch, learning_rate = 40, 64, 2e-3
places = "*.channels_after_pool+head"
WIDTHS, HIDDEN = (16, 32, 64, 128), 64


class Network(nn.Sequential):
    """Takes images (N, channels, rows, columns): numbers, or bytes, which it divides by 255.

    Each block halves the image, until 2 or 3 pixels a side are left. It has dropout sites for units and for whole
    channels, after the convolution and after pooling.
    """

    def __init__(self, channels: int, rows: int, columns: int, classes: int, width: float = 1.0, norm: bool = False) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        units = round(width * HIDDEN)
        while min(rows, columns) >= 4 and len(layers) < len(WIDTHS):
            outputs = round(width * WIDTHS[len(layers)])
            layers[f"block{len(layers) + 1}"] = block(channels, outputs, norm)
            channels, rows, columns = outputs, rows // 2, columns // 2
        head = {"flat": nn.Flatten(), "hidden": nn.Linear(channels * rows * columns, units), "relu": nn.ReLU()}
        super().__init__(layers | head | {"head": Dropout(), "output": nn.Linear(units, classes)})

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if input.is_floating_point() else input / 255)


def block(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    """Return a convolution and pooling, each with a site for units and one for channels."""
    conv: dict[str, nn.Module] = {"conv": nn.Conv2d(inputs, outputs, 3, padding=1)}
    conv |= {"norm": nn.BatchNorm2d(outputs), "relu": nn.ReLU()} if norm else {"relu": nn.ReLU()}
    after_conv = {"units_after_conv": Dropout(), "channels_after_conv": Dropout2d()}
    after_pool = {"pool": nn.MaxPool2d(2), "units_after_pool": Dropout(), "channels_after_pool": Dropout2d()}
    return nn.Sequential(OrderedDict(conv | after_conv | after_pool))


def model(channels: int = 1, rows: int = 8, columns: int = 8, classes: int = 10, width: float = 1.0) -> nn.Module:
    """Return the network; the study sets its rates."""
    return Network(channels, rows, columns, classes, width)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 1, 8, 8) and digits (N,)."""
    x, y = load_digits(return_X_y=True)
    return np.asarray(x).reshape(-1, 1, 8, 8) / 16, np.asarray(y)
