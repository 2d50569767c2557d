"""The gallery: the same rings after one training step of each method, in docs/gallery/."""

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from thinnet.methods import catalogue
from thinnet.methods.facts import Method
from thinnet.methods.registry import REGISTRY

FOLDER = Path(__file__).parent / "gallery"
PIXELS = 4  # the side of one element
HEIGHT, WIDTH = 48, 64
DROPPED = 214, 69, 65
NEGATIVE = 58, 110, 190


def coloured(picture: Tensor) -> Tensor:
    """Returns `(H, W, 3)` bytes: grey from white (small) to black (large), zeros red, negative values blue."""
    top = max(float(picture.quantile(0.98)), 1e-9)
    grey = (255 * (1 - 0.9 * (picture / top).clamp(0, 1))).round()[..., None].expand(*picture.shape, 3)
    colours = torch.where((picture < 0)[..., None], torch.tensor(NEGATIVE), grey)
    return torch.where((picture == 0)[..., None], torch.tensor(DROPPED), colours).to(torch.uint8)


def png(picture: Tensor) -> bytes:
    """Returns a picture as a PNG file."""
    large = coloured(picture).repeat_interleave(PIXELS, 0).repeat_interleave(PIXELS, 1)
    image, file = Image.fromarray(large.numpy()).quantize(64), io.BytesIO()
    image.save(file, "png", optimize=True)
    return file.getvalue()


def pictures() -> dict[Path, bytes]:
    """Returns the files of the gallery: the rings, and one picture for each method that has one."""
    found = {FOLDER / "input.png": png(catalogue.scene(HEIGHT, WIDTH))}
    for method in REGISTRY:
        picture = catalogue.masked(method, HEIGHT, WIDTH)
        if picture is not None:
            found[image(method)] = png(picture)
    return found


def image(method: Method) -> Path:
    """Returns the path of a method's picture."""
    return FOLDER / f"{method.name}.png"


def pixels(file: bytes) -> bytes:
    """Returns the pixels of a PNG: files with the same pixels may be compressed differently."""
    return Image.open(io.BytesIO(file)).convert("RGB").tobytes()


def update(check: bool) -> list[str]:
    """Writes changed pictures and removes unused ones, unless it only checks; returns their names."""
    wanted, behind = pictures(), []
    for path, file in wanted.items():
        if not path.exists() or pixels(path.read_bytes()) != pixels(file):
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
