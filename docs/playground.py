"""What Python gives the playground: vectors of random bits, and the digits. And whether the built page is behind its source.

`python -m docs.playground` fails where `src/thinnet/playground/index.html` was built from another source. It needs no Node.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch

from thinnet.ops import reference
from thinnet.rng import rates, site_number

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "playground"
PAGE = ROOT / "src" / "thinnet" / "playground" / "index.html"
DIGITS = 200
ADDRESSES = (
    {"seed": 0, "site": "hidden1", "step": 0, "sample": 0, "count": 8, "rate": 0.5},
    {"seed": 7, "site": "hidden2", "step": 1999, "sample": 59, "count": 64, "rate": 0.3},
    {"seed": 0xFEDCBA987654, "site": "encoder.3", "step": 0xFFFFFFFF, "sample": 0xF0000001, "count": 300, "rate": 0.9},
)


def sources() -> list[Path]:
    """Returns the files that the page is built from."""
    named = [SOURCE / name for name in ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")]
    return sorted(named + [path for path in (SOURCE / "src").rglob("*") if path.is_file()])


def digest() -> str:
    """Returns the SHA-256 of the names and texts of the sources; vite.config.ts computes the same."""
    whole = hashlib.sha256()
    for path in sources():
        whole.update(f"{path.relative_to(SOURCE).as_posix()}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def is_behind() -> bool:
    """Returns whether the page was built from another source than that in `playground/`."""
    found = re.search(r'<meta name="source" content="(\w+)"', PAGE.read_text(encoding="utf-8")) if PAGE.exists() else None
    return found is None or found[1] != digest()


def vector(seed: int, site: str, step: int, sample: int, count: int, rate: float) -> dict[str, Any]:
    """Returns the random bits of an address, and what each kind of noise makes of them."""
    number = site_number(site)
    key, at, place, samples = torch.tensor(seed), torch.tensor(step), torch.tensor(number), torch.tensor([sample])
    bits = reference.unit_bits(key, at, place, samples, count)[0]
    continuous = reference.noise(key, at, place, samples, count)[0]
    scaled = reference.selected(
        reference.NoiseKind.GAUSSIAN, True, torch.ones(count), torch.tensor(rates.count(rate)), reference.normal(continuous)
    )
    return {
        "address": {"seed": seed, "site": number, "step": step, "sample": sample},
        "name": site,
        "rate": rate,
        "bits": bits.tolist(),
        "mask": (bits >= rates.count(rate)).int().tolist(),
        "words": continuous.tolist(),
        "normal": reference.normal(continuous).tolist(),
        "uniform": reference.uniform(continuous).tolist(),
        "gaussian": scaled.tolist(),
    }


def digits() -> dict[str, Any]:
    """Returns scikit-learn's first digits: a letter is a grey level, from a = 0 to q = 16."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return {
        "labels": labels[:DIGITS].tolist(),
        "pixels": ["".join(chr(97 + int(grey)) for grey in row) for row in pixels[:DIGITS]],
    }


def update(check: bool) -> list[str]:
    """Writes the files that are out of date, unless it only checks; returns their names."""
    texts = {
        SOURCE / "test" / "vectors.json": json.dumps([vector(**address) for address in ADDRESSES]),
        SOURCE / "src" / "data" / "digits.json": json.dumps(digits()),
    }
    behind = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text + "\n"]
    for path in [] if check else behind:
        path.write_text(texts[path] + "\n", encoding="utf-8")
    return [str(path.relative_to(ROOT)) for path in behind]


if __name__ == "__main__":
    if is_behind():
        print(f"{PAGE.relative_to(ROOT)}: it was built from another source than playground/. Run `make playground`.")
        sys.exit(1)
