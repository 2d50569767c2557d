"""Names are resolved through every kind of import and binding. An ambiguous name is not resolved."""

import textwrap

import libcst as cst
import pytest

from thinnet.lint.engine import UnreadableSource, check
from thinnet.lint.rules import REGISTRY
from thinnet.lint.tree import Tree

DROPOUT = "torch.nn.functional.dropout"


def name_of_last(code: str) -> str | None:
    """The full name of the function that the last call in a text calls."""
    module = cst.parse_module(textwrap.dedent(code))
    (statement,) = module.body[-1:]
    call = cst.ensure_type(
        cst.ensure_type(cst.ensure_type(statement, cst.SimpleStatementLine).body[0], cst.Expr).value, cst.Call
    )
    return Tree(module).name(call.func)


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.nn.functional.dropout(x)",
        "import torch.nn.functional\ntorch.nn.functional.dropout(x)",
        "import torch as t\nt.nn.functional.dropout(x)",
        "import torch.nn.functional as F\nF.dropout(x)",
        "from torch import nn\nnn.functional.dropout(x)",
        "from torch.nn import functional\nfunctional.dropout(x)",
        "from torch.nn.functional import dropout\ndropout(x)",
        "from torch.nn.functional import dropout as drop\ndrop(x)",
        "from torch import nn\nF = nn.functional\nF.dropout(x)",
        "from torch import nn\nF = nn.functional\ndrop = F.dropout\ndrop(x)",
        "try:\n    import torch.nn.functional as F\nexcept ImportError:\n    F = None\nF.dropout(x)",
        "if x:\n    import torch.nn.functional as F\nelse:\n    from torch.nn import functional as F\nF.dropout(x)",
    ],
)
def test_a_name_is_resolved(code: str) -> None:
    assert name_of_last(code) == DROPOUT


@pytest.mark.parametrize(
    "code",
    [
        "F.dropout(x)",
        "from . import F\nF.dropout(x)",
        "from torch.nn import *\nfunctional.dropout(x)",
        "import torch.nn.functional as F\nF = other\nF.dropout(x)",
        "import torch.nn.functional as F\nfor F in things:\n    pass\nF.dropout(x)",
        "import torch.nn.functional as F\nwith thing as F:\n    pass\nF.dropout(x)",
        "import torch.nn.functional as F\ndel_, (F, a) = things\nF.dropout(x)",
        "import torch.nn.functional as F\ndef f():\n    global F\n    F = 1\nF.dropout(x)",
        "import torch.nn.functional as F\n(F := other)\nF.dropout(x)",
        "import torch.nn.functional as F\nmatch x:\n    case F:\n        pass\nF.dropout(x)",
        "F = F\nF.dropout(x)",
        "F = G\nG = F\nF.dropout(x)",
    ],
)
def test_an_ambiguous_name_is_not_resolved(code: str) -> None:
    assert name_of_last(code) != DROPOUT


def test_all_imports_of_a_layer_give_one_name() -> None:
    homes = [
        "from torch.nn.modules.dropout import Dropout",
        "from torch.nn.modules import Dropout",
        "from thinnet.nn import Dropout",
    ]
    assert {name_of_last(f"{home}\nDropout(0.5)") for home in homes} == {"torch.nn.Dropout"}


def test_names_of_a_class_body_are_not_visible_in_its_methods() -> None:
    code = """
    import torch.nn.functional as F
    from torch import nn

    class Net(nn.Module):
        F = None

        def forward(self, x):
            return F.dropout(x)
    """
    assert [found.rule.code for found in check(textwrap.dedent(code), REGISTRY)] == ["THN101"]


def test_self_is_resolved_in_base_classes_of_the_file() -> None:
    code = """
    import torch.nn.functional as F
    from torch import nn

    class Base(nn.Module):
        def __init__(self, p):
            self.drop = nn.Dropout(p)

    class Net(Base):
        def forward(self, x):
            self.drop(x)
            return F.dropout(x, self.drop)
    """
    assert {found.rule.code for found in check(textwrap.dedent(code), REGISTRY)} == {"THN101", "THN306", "THN505"}


@pytest.mark.parametrize("code", ["def (", "x = '", "print(", "\tx\n  y"])
def test_invalid_python_is_an_error_of_one_line(code: str) -> None:
    with pytest.raises(UnreadableSource, match=r"^line \d+ is not valid Python$"):
        check(code, REGISTRY)


@pytest.mark.parametrize(
    "code",
    [
        "print 'x'", "print x, y", "exec 'x = 1'", "raise E, 'x'",
        "x = 0777", "x = `y`", "x <> y", "s = ur'x'",
    ],
)  # fmt: skip
def test_python_2_is_named(code: str) -> None:
    with pytest.raises(UnreadableSource, match=r"^it is Python 2$"):
        check(code, REGISTRY)


def test_a_method_that_is_called_as_a_function_is_read() -> None:
    code = """
    from torch import nn

    class Net(nn.Module):
        def forward(self, x):
            return nn.Dropout(self)(x)

    Net(3)
    """
    assert [found.rule.code for found in check(textwrap.dedent(code), REGISTRY)] == ["THN105"]


@pytest.mark.parametrize(
    "code",
    [
        "x = [x]\nfor y in x:\n    nn.Dropout(y)",
        "x = []\nx.append(x)\nx += x\nnn.Dropout(x[0])\nnn.Sequential(*x)",
        "def f(p=None):\n    return f(p=p)\nnn.Dropout(f())",
        "a = b if c else a\nb = [*a, *b]\nnn.Dropout(b[0])",
        "x = list(x)\nnn.Dropout(x[0])",
        "class A(nn.Module):\n    def forward(self, x):\n        while 1: x = A()(x)\n        return F.softmax(x)",
        "def f(x):\n    return g(f(x))\ndef g(x):\n    return f(g(x))\nF.softmax(f(x))",
    ],
)
def test_what_depends_on_itself_is_read(code: str) -> None:
    text = f"from torch import nn\nimport torch.nn.functional as F\n{code}\nnn.Dropout(20)\n"
    assert "THN302" in [found.rule.code for found in check(text, REGISTRY)]


def test_a_model_that_is_made_of_itself_is_followed_once() -> None:
    code = """
    import torch.nn.functional as F

    def apply(nets, x):
        for net in nets:
            net = net.to(x.device)
        return F.softmax(F.dropout(net(x), 0.5, False))
    """
    assert check(textwrap.dedent(code), REGISTRY) == []
