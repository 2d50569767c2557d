"""Rows of the methods that drop channels, or regions of them."""

from rows.row import METHODS, Row
from thinnet.methods.spatial.cutout import Cutout
from thinnet.methods.spatial.spec_augment import SpecAugment

_BLOCKS = dict(rates=(0.05, 0.1, 0.3))  # at higher rates too few positions are kept to test variances

ROWS = (
    Row(METHODS["Dropout1d"], ((4, 8, 5), (3, 130, 2))),
    Row(METHODS["Dropout2d"], ((4, 8, 5, 3), (2, 130, 1, 2))),
    Row(METHODS["Dropout3d"], ((4, 8, 2, 2, 3), (2, 130, 1, 2, 1))),
    Row(METHODS["DropBlock1d"], ((3, 4, 10), (2, 1, 4)), dict(block=3), kept=104, **_BLOCKS),
    Row(METHODS["DropBlock2d"], ((2, 2, 12, 9), (3, 1, 5, 6)), dict(block=4), kept=496, **_BLOCKS),
    Row(METHODS["DropBlock2d"], ((2, 1, 14, 14), (2, 1, 8, 8)), dict(block=7), kept=848, **_BLOCKS),
    Row(METHODS["DropBlock2d"], ((2, 2, 5, 11), (2, 1, 9, 4)), dict(block=(5, 3)), kept=284, **_BLOCKS),
    Row(METHODS["DropBlock2d"], ((2, 3, 4, 9),), dict(block=6), kept=152, **_BLOCKS),
    Row(METHODS["DropBlock2d"], ((3, 4, 6, 6),), dict(block=2, shared=True), kept=208, **_BLOCKS),
    Row(METHODS["DropBlock3d"], ((2, 2, 4, 5, 6),), dict(block=(2, 3, 2)), kept=544, **_BLOCKS),
    Row(
        METHODS["MaxPoolDropout1d"],
        ((3, 4, 9), (2, 1, 5)),
        dict(kernel_size=3, stride=2),
        resized=True,
        kept=64 * (4 * (36 + 32) + 1),
    ),
    Row(METHODS["MaxPoolDropout2d"], ((3, 2, 6, 4),), resized=True, kept=64 * (2 * (96 + 48) + 1)),
    Row(
        METHODS["MaxPoolDropout2d"],
        ((3, 2, 5, 7),),
        dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
        resized=True,
        kept=64 * (2 * (140 + 144) + 1),
    ),
)

LAYERS: tuple[Row, ...] = (
    Row(METHODS["Cutout"], ((3, 2, 8, 6),), build=lambda p: Cutout(4)),
    Row(METHODS["SpecAugment"], ((3, 2, 8, 20),), build=lambda p: SpecAugment(time_width=9, frequency_width=4)),
)

OWN_TESTS: dict[str, str] = {"Cutout": "methods/test_cutout.py", "SpecAugment": "methods/test_spec_augment.py"}
