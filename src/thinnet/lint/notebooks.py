"""The code cells of a Jupyter notebook as one module, because later cells use the names of earlier ones."""

import json
import re
from typing import Any

from thinnet.lint.documents import Document, split_lines

MAGIC = re.compile(r"(?P<indent>[ \t]*)(?:%{1,2}[a-zA-Z]|[!?]|[\w.]+\?{1,2}[ \t]*$|[\w, ]+=[ \t]*[%!])")
PYTHON_MAGICS = frozenset("%%time %%timeit %%capture %%prun %%python %%python3 %%ipytest".split())


def code_cells(text: str) -> Document | None:
    """Returns the code of a notebook; None if it is not a notebook in Python.

    A line with a magic or a shell command becomes `pass`.
    """
    try:
        notebook = json.loads(text)
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        sources = [_source(cell) for cell in cells if cell["cell_type"] == "code"]
        language = _language(notebook.get("metadata", {}))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    code, spans = [], []
    for source in sources if language == "python" else ():
        lines = _python(split_lines(source))
        spans.append((len(code), len(code) + len(lines) - 1))
        code += [*lines, "\n"]
    return Document("".join(code), text, spans=spans, cells=list(range(1, len(spans) + 1)))


def _source(cell: Any) -> str:
    source = cell["source"] if "source" in cell else cell["input"]
    return source if isinstance(source, str) else "".join(source)


def _language(metadata: Any) -> str:
    named = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    return str(named or "python").lower().removeprefix("i").rstrip("0123456789")


def _python(lines: list[str]) -> list[str]:
    """Returns the lines of a cell, each with a line end, with magics replaced."""
    head = next((line for line in lines if line.strip()), "")
    if head.startswith("%%") and head.split()[0] not in PYTHON_MAGICS:
        return ["\n"] * max(len(lines), 1)
    kept, continued = [], False
    for line in lines:
        magic = MAGIC.match(line)
        replaced = continued or magic is not None
        indent = magic["indent"] if magic else ""
        kept.append(("\n" if continued else f"{indent}pass\n") if replaced else line.rstrip("\r\n") + "\n")
        continued = replaced and line.rstrip("\r\n").endswith("\\")
    return kept or ["\n"]
