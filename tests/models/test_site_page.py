"""The sites of a model as a table in notebooks and as a page."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.models.site_page import site_page
from thinnet.models.sites import sites


class OnInEval(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x.sin(), 0.5))


MODEL = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.25), OnInEval(8, 2))
X = torch.ones(64, 8)


def test_notebooks_show_a_table_that_marks_dropout_on_in_eval() -> None:
    found = sites(MODEL, X)
    html = found._repr_html_()
    assert html.count("<tr") == 3 and html.count("<tr class='alarm'>") == 1 and "shared axes" in html
    assert "sites that no module declares" in sites(MODEL)._repr_html_()
    assert "No dropout sites" in sites(nn.Linear(8, 8), X)._repr_html_()


def test_the_page_has_the_tree_of_modules_and_the_table() -> None:
    page = site_page(MODEL, sites(MODEL, X))
    assert all(text in page for text in ("1 Dropout", "2 OnInEval", "ON IN EVAL", "<table>", "shared axes: none"))
