"""`thinnet reproduce`: measure claims and show what was found."""

import json
import sys
from pathlib import Path

from thinnet.report.mistakes import Mistake
from thinnet.report.progress import tracked
from thinnet.report.terminal import show
from thinnet.reproductions.claims import claims as load
from thinnet.reproductions.picture import svg
from thinnet.reproductions.pictures import check
from thinnet.reproductions.result import reproductions
from thinnet.reproductions.runner import numbers, run
from thinnet.reproductions.store import Values

DATABASE, RESULT, PICTURE = "reproduce.db", "reproductions.json", "reproductions.svg"


def reproduce(names: list[str], seeds: int, data: str, out: Path, storage: str | None, jobs: int, as_json: bool) -> None:
    """Measure claims, write the result and the picture into a folder, and print the result.

    Raises:
        Mistake: a name, the data, the folder or the database cannot be used.
    """
    claims, pictures = load(names), check(data)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Mistake(
            f"thinnet reproduce: --out must be a folder; got {str(out)!r} ({error.strerror}). Choose another."
        ) from None
    url = storage or f"sqlite:///{out / DATABASE}"
    for _ in tracked(run(claims, seeds, pictures, url, jobs), "seeds", seeds * len(claims)):
        pass
    values = {claim.name: Values(url, claim, pictures).finished() for claim in claims}
    chosen = {name: [found[seed] for seed in numbers(seeds)] for name, found in values.items()}
    result = reproductions(chosen, claims, data)
    text = json.dumps(result.document(), indent=1)
    (out / RESULT).write_text(text + "\n", encoding="utf-8")
    (out / PICTURE).write_text(svg(result), encoding="utf-8")
    if as_json:
        sys.stdout.write(text + "\n")
    else:
        show(result)
        sys.stdout.write(f"\nWritten: {out / RESULT}, {out / PICTURE}\n")


def listing() -> None:
    """Print what can be reproduced."""
    from thinnet.report.table import Table

    rows = [[claim.name, claim.says, claim.source] for claim in load()]
    show(Table(("name", "claim", "source"), rows, title="Claims", meaning="`thinnet reproduce NAME` measures one"))
