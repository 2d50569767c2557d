"""The gallery: the same rings after one training step of each method, in docs/gallery/."""

import io
from pathlib import Path

import torch
from PIL import Image, ImageChops
from torch import Tensor

from thinnet.methods import catalogue
from thinnet.methods.facts import Method
from thinnet.methods.registry import REGISTRY

FOLDER = Path(__file__).parent / "gallery"
PIXELS = 4  # the side of one element
HEIGHT, WIDTH = 48, 64
GREYS = 62  # from white to nearly black; the rest of the palette is for zeros and negative values
STEP = 4  # of one grey to the next, in bytes, rounded up
PALETTE = [*((round(255 - 229 * level / (GREYS - 1)),) * 3 for level in range(GREYS)), (214, 69, 65), (58, 110, 190)]
DROPPED, NEGATIVE = GREYS, GREYS + 1


def coloured(picture: Tensor) -> Tensor:
    """Returns `(H, W)` indices of the palette: grey from white (small) to black (large), zeros red, negative values blue."""
    top = max(float(picture.quantile(0.98)), 1e-9)
    grey = ((GREYS - 1) * (picture / top).clamp(0, 1)).round().to(torch.uint8)
    return grey.masked_fill(picture < 0, NEGATIVE).masked_fill(picture == 0, DROPPED)


def png(picture: Tensor) -> bytes:
    """Returns a picture as a PNG file."""
    large = coloured(picture).repeat_interleave(PIXELS, 0).repeat_interleave(PIXELS, 1)
    image, file = Image.fromarray(large.numpy(), "P"), io.BytesIO()
    image.putpalette([value for colour in PALETTE for value in colour])
    image.save(file, "png", optimize=True)
    return file.getvalue()


def pictures() -> dict[Path, bytes]:
    """Returns the files of the gallery: the rings, and one picture for each method that has one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a sum over several threads is rounded in another order
    try:
        found = {FOLDER / "input.png": png(catalogue.scene(HEIGHT, WIDTH))}
        for method in REGISTRY:
            picture = catalogue.masked(method, HEIGHT, WIDTH)
            if picture is not None:
                found[image(method)] = png(picture)
        return found
    finally:
        torch.set_num_threads(threads)


def image(method: Method) -> Path:
    """Returns the path of a method's picture."""
    return FOLDER / f"{method.name}.png"


def same(one: bytes, other: bytes) -> bool:
    """Returns whether two PNG files show the same picture. Processors round differently, so a grey may be one step off."""
    first, second = (Image.open(io.BytesIO(file)).convert("RGB") for file in (one, other))
    if first.size != second.size:
        return False
    return max(ImageChops.difference(first, second).tobytes()) <= STEP


def update(check: bool) -> list[str]:
    """Writes changed pictures and removes unused ones, unless it only checks; returns their names."""
    wanted, behind = pictures(), []
    for path, file in wanted.items():
        if not path.exists() or not same(path.read_bytes(), file):
            behind.append(f"gallery/{path.name}")
            if not check:
                FOLDER.mkdir(exist_ok=True)
                path.write_bytes(file)
    for path in sorted(FOLDER.glob("*.png")):
        if path not in wanted:
            behind.append(f"gallery/{path.name}")
            if not check:
                path.unlink()
    return behind
