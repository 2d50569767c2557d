"""A folder of pictures with one folder for each class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thinnet.report.extras import need
from thinnet.study.data.sources.arrays import Arrays, Pair, check_classes, unreadable
from thinnet.study.data.sources.folders import labelled
from thinnet.study.design.plan import COMMAND, ENCODE, StudyError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
LARGEST, SIDE = 64, 32
"""Pictures of one size of at most LARGEST pixels a side keep it; all others become SIDE x SIDE."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Pictures:
    """What pictures become: bytes (N, channels, height, width).

    Args:
        channels: 1 for grey, 3 for colour.
        height, width: in pixels; other pictures are cut to their centre and resized.
    """

    channels: int
    height: int
    width: int
    kind: str = "pictures"

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Pictures":
        """Returns those of a JSON document."""
        return cls(**found)

    def encode(self, pictures: "str | Path | Sequence[str | Path] | np.ndarray") -> np.ndarray:
        """Returns the bytes of picture files, or of an array of bytes (N, height, width) or with the channels on some axis.

        Raises:
            StudyError: a file cannot be read, or the array has another shape.
        """
        if isinstance(pictures, np.ndarray):
            return self._array(pictures)
        need("PIL", ENCODE)
        failed: dict[Path, str] = {}
        paths = [Path(each) for each in ([pictures] if isinstance(pictures, str | Path) else pictures)]
        found = [_tried(self._read, path, failed) for path in paths]
        for path, why in failed.items():
            raise StudyError(ENCODE, "every picture must be readable", f"{str(path)!r} ({why})", "Leave it out.")
        return np.stack(found)

    def _read(self, path: Path) -> np.ndarray:
        from PIL import Image

        pixels = _pixels(path, (self.width, self.height))
        return pixels if self.channels == 3 else np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L"))[None]

    def _array(self, pictures: np.ndarray) -> np.ndarray:
        shape, size = (self.channels, self.height, self.width), (self.height, self.width)
        if pictures.dtype == np.uint8 and pictures.shape[1:] == shape:
            return pictures
        if pictures.dtype == np.uint8 and pictures.shape[1:] == (*size, self.channels):
            return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        if pictures.dtype == np.uint8 and self.channels == 1 and pictures.shape[1:] == size:
            return pictures[:, None]
        rule, got = f"an array of pictures must hold bytes of shape (N, {', '.join(map(str, shape))})", pictures.shape
        raise StudyError(ENCODE, rule, f"{pictures.dtype} of shape {got}", "Name picture files: they are resized.")


def read(folder: Path) -> Arrays:
    """Reads the pictures as bytes (N, channels, height, width), grey if all of them are.

    Raises:
        StudyError: no picture can be read, or the classes cannot be split.
        MissingLibrary: Pillow is not installed.
    """
    need("PIL", COMMAND)
    files = labelled(folder, SUFFIXES)
    paths = [path for path, _ in (*files.development, *files.test)]
    failed: dict[Path, str] = {}
    sizes = {path: size for path in paths if (size := _tried(_size, path, failed)) is not None}
    size = _shared(set(sizes.values()))
    pictures = {path: each for path in sizes if (each := _tried(lambda p: _pixels(p, size), path, failed)) is not None}
    if not pictures:
        got = f"{len(paths)} files, none of which Pillow can read"
        raise StudyError(COMMAND, f"{folder} must hold readable pictures", got, "Check the files.")
    grey = all((each == each[:1]).all() for each in pictures.values())
    development, test = (_stacked(part, pictures, grey) for part in (files.development, files.test))
    check_classes(folder, development[1], files.classes)
    channels = 1 if grey else 3
    width, height = size
    colour = "in grey" if grey else "in colour"
    note = f"{len(pictures)} pictures {_how(set(sizes.values()), size)}, {colour}; pixels are in [0, 1]."
    return Arrays(
        development,
        test if files.test else None,
        files.classes,
        (channels, height, width, len(files.classes)),
        (note,),
        unreadable("pictures", failed, len(paths)),
        samples=Pictures(channels, height, width),
    )


def _tried(reader: Callable[[Path], Any], path: Path, failed: dict[Path, str]) -> Any:
    """Returns what the reader returns; of a broken picture, notes why and returns None."""
    try:
        return reader(path)
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow reports broken files by all of these
        named = str(error).splitlines() or [type(error).__name__]
        failed[path] = "no picture" if "cannot identify" in named[0] else named[0].rstrip(".")
        return None


def _size(path: Path) -> Size:
    from PIL import Image

    with Image.open(path) as image:
        return image.size


def _shared(sizes: set[Size]) -> Size:
    only = next(iter(sizes)) if len(sizes) == 1 else None
    return only if only and max(only) <= LARGEST else (SIDE, SIDE)


def _how(sizes: set[Size], size: Size) -> str:
    if sizes == {size}:
        return f"of {size[0]} x {size[1]} pixels"
    (low, _), (high, _) = min(sizes), max(sizes)
    widths = f"{low}" if low == high else f"{low} to {high}"
    return f"{widths} pixels wide, cut to a centred square and resized to {size[0]} x {size[1]}"


def _pixels(path: Path, size: Size) -> np.ndarray:
    """Returns bytes (3, height, width): turned as the camera was held, on white where transparent."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith(("I", "F")):  # more than 8 bits a pixel
            values = np.asarray(image, dtype=np.float64)
            image = Image.fromarray((values * (1 if values.max() <= 255 else 1 / 257)).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return np.asarray(ImageOps.fit(image.convert("RGB"), size)).transpose(2, 0, 1)


def _stacked(files: tuple[tuple[Path, int], ...], pictures: dict[Path, np.ndarray], grey: bool) -> Pair:
    read = [(pictures[path], label) for path, label in files if path in pictures]
    x = np.stack([picture[:1] if grey else picture for picture, _ in read]) if read else np.zeros(0)
    return x, np.array([label for _, label in read], dtype=np.int64)
