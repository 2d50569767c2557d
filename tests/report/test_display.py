"""What a session shows of a result: its text at a prompt, and tables in a notebook."""

from typing import Any

import pytest
import torch
from torch import nn

import thinnet
from thinnet.inference import sample


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))


X = torch.randn(8, 64)
RESULTS = {
    "sites": lambda: thinnet.sites(network(), X),
    "audit": lambda: thinnet.audit(network(), X),
    "edit": lambda: thinnet.strip(network()),
    "empty edit": lambda: thinnet.strip(nn.Linear(2, 2)),
    "thinning": lambda: thinnet.thin(network(), X, always=True),
    "thinning that waits": lambda: thinnet.thin(network(), always=True),
    "prediction": lambda: sample(network(), X, n=3),
    "moments": lambda: thinnet.inference.moments(network(), X),
    "diagnosis": lambda: thinnet.diagnose(network(), (X, torch.randint(3, (8,)))),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_shows_its_text_and_its_tables(name: str) -> None:
    result: Any = RESULTS[name]()
    assert repr(result) == str(result) and "tensor(" not in repr(result)
    html = result._repr_html_()
    assert "<table>" in html or html.startswith("<p><b>")
    console = pytest.importorskip("rich.console").Console(width=120, record=True, file=open("/dev/null", "w"))
    console.print(result)
    assert console.export_text().strip()


def test_the_table_of_an_edit_has_a_row_a_change() -> None:
    edit = thinnet.insert(network(), {"0": 0.1, "1": 0.2})
    (table,) = edit.tables()
    assert [row[0] for row in table.rows] == ["0", "1"] and len(table.rows) == len(edit)
