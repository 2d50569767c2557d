"""Every rule finds what its fixture marks and nothing else, and its fixes write the expected file.

`THN101.in` is the input, with `# expect: THN101` on the lines with findings. `THN101.fixed` is the output of `--fix`, and
`THN101.unsafe` the output of `--unsafe-fixes`, if it differs. The suffixes keep other tools away from these files.
"""

import ast
import inspect
import re
from pathlib import Path

import libcst as cst
import pytest

from thinnet.lint import table
from thinnet.lint.documentation import explain
from thinnet.lint.engine import applicable_rules, check, fix
from thinnet.lint.rule import LintRule
from thinnet.lint.rules import REGISTRY
from thinnet.report.findings import Finding

FIXTURES = Path(__file__).parent / "fixtures"
DOCS = Path(__file__).parents[2] / "docs" / "lint.md"
STABLE = [rule for rule in REGISTRY if not rule.preview]
each_rule = pytest.mark.parametrize("rule", REGISTRY, ids=lambda rule: rule.code)


def fixture(rule: LintRule) -> str:
    return (FIXTURES / f"{rule.code}.in").read_text()


def beside(rule: LintRule, suffix: str, otherwise: str) -> str:
    path = FIXTURES / f"{rule.code}.{suffix}"
    return path.read_text() if path.exists() else otherwise


def line_of(found: Finding) -> int:
    assert found.location is not None
    return found.location.line


def assert_finds_what_is_marked(text: str, rules: list[LintRule]) -> None:
    lines = text.splitlines()
    marked = [(number, code) for number, line in enumerate(lines, 1) for code in line.partition("# expect: ")[2].split()]
    assert [(line_of(found), found.rule.code) for found in check(text, rules)] == marked


@each_rule
def test_a_rule_finds_what_its_fixture_marks_and_nothing_else(rule: LintRule) -> None:
    assert_finds_what_is_marked(fixture(rule), [*STABLE, rule] if rule.preview else STABLE)


@each_rule
@pytest.mark.parametrize("unsafe", [False, True], ids=["safe", "unsafe"])
def test_fixes_write_the_expected_file_and_then_nothing(rule: LintRule, unsafe: bool) -> None:
    text = fixture(rule)
    safe = beside(rule, "fixed", text)
    expected = beside(rule, "unsafe", safe) if unsafe else safe
    fixed, count = fix(text, [rule], ".py", unsafe)
    assert fixed == expected
    assert (count > 0) == (expected != text)
    assert fix(fixed, [rule], ".py", unsafe) == (fixed, 0)


@each_rule
def test_fixed_code_parses_and_is_no_longer_found(rule: LintRule) -> None:
    text = fixture(rule)
    before = check(text, [rule])
    fixed, _ = fix(text, [rule], ".py", unsafe=True)
    ast.parse(fixed)
    after = check(fixed, [rule])
    assert not any(found.edits for found in after)
    assert len(after) <= sum(not found.edits for found in before)


@each_rule
def test_a_fixture_has_nodes_with_and_without_findings(rule: LintRule) -> None:
    hits = sum(rule.code in line.partition("# expect: ")[2] for line in fixture(rule).splitlines())
    kinds = tuple(rule.kinds)
    nodes = cst.parse_module(fixture(rule)).visit(counter := _Counter(kinds))
    assert nodes is not None
    assert 0 < hits < counter.count


class _Counter(cst.CSTVisitor):
    def __init__(self, kinds: tuple[type[cst.CSTNode], ...]) -> None:
        super().__init__()
        self.kinds, self.count = kinds, 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.count += isinstance(node, self.kinds)
        return True


@each_rule
def test_the_word_search_keeps_files_with_findings(rule: LintRule) -> None:
    assert rule in applicable_rules(REGISTRY, fixture(rule).encode())
    assert rule not in applicable_rules(REGISTRY, b"import torch\n")


@each_rule
def test_a_rule_is_documented(rule: LintRule) -> None:
    found = rule.sections()
    assert list(found) == ["What it does", "Why is this bad?", "Example", "Use instead", "Fix safety", "References"]
    assert all(found.values())
    assert found["What it does"].startswith("Finds ")
    assert re.match(r"(Safe|Unsafe|None): ", found["Fix safety"])
    assert (explain(rule.code) or "").startswith(f"# {rule.name()} ({rule.code})\n\n## What it does\n")


@each_rule
def test_a_rule_finds_its_example_and_not_its_alternative(rule: LintRule) -> None:
    context = "from torch import nn\nimport torch\nimport torch.nn.functional as F\n"
    wrong, right = (code_of(rule.sections()[name], rule) for name in ("Example", "Use instead"))
    assert rule.code in {found.rule.code for found in check(context + wrong, [rule])}
    assert rule.code not in {found.rule.code for found in check(context + right, [rule])}


@pytest.mark.parametrize(
    "code",
    [
        "class Net(nn.Module):\n    def __init__(self, n_layers=1):\n        self.rnn = nn.GRU(8, 8, n_layers, dropout=0.5)\n",
        "def freeze(model):\n    model.training = False\n",
    ],
    ids=["another file may pass more layers", "the file does not show that the model is a module"],
)
def test_what_is_less_certain_is_in_preview(code: str) -> None:
    text = f"from torch import nn\n{code}"
    assert check(text, REGISTRY, preview=False) == []
    assert len(check(text, REGISTRY)) == 1


@pytest.mark.parametrize(("layer", "count"), [("nn.ReLU()", 0), ("nn.Dropout(0.5)", 1)])
def test_a_model_without_dropout_may_be_evaluated_in_either_mode(layer: str, count: int) -> None:
    text = f"""import torch
from torch import nn
def accuracy(x, y, model):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean()
model, optimizer = nn.Sequential(nn.Linear(3, 3), {layer}), None
found = [accuracy(x, y, model) for x, y in loader]
"""
    assert [found.rule.code for found in check(text, REGISTRY)] == ["THN108"] * count


def code_of(section: str, rule: LintRule) -> str:
    """The code below a heading, with its imports, in a module if it needs one."""
    code = section.removeprefix("```python\n").removesuffix("\n```")
    imports = "import random\nimport torch.distributed as dist\nfrom torch.utils.checkpoint import checkpoint\n"
    if not re.search(r"\bself\b|nn\.Dropout\(x|F\.dropout", code) or rule.kinds == (cst.FunctionDef,):
        return imports + code
    within = code if code.startswith("def ") else f"def forward(self, x, q, k, v, y, keep_prob, p):\n{indented(code)}"
    if "self.drop(" in code and "self.drop =" not in code:
        within = f"def __init__(self):\n    self.drop = nn.Dropout(0.5)\n    self.output = nn.Linear(3, 3)\n{within}"
    within = f"def set_up(self):\n    self.linear = nn.Linear(3, 3)\n    self.dropout = 0.5\n{within}"
    return f"{imports}class Net(nn.Module):\n{indented(within)}"


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


def test_codes_names_and_files_are_unique_and_in_order() -> None:
    codes, names = [rule.code for rule in REGISTRY], [rule.name() for rule in REGISTRY]
    assert codes == sorted(set(codes))
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"THN[1-5]\d\d", code) for code in codes)
    assert [Path(inspect.getfile(type(rule))).stem for rule in REGISTRY] == [name.replace("-", "_") for name in names]


def test_every_fixture_has_its_rule() -> None:
    assert {path.stem for path in FIXTURES.iterdir()} == {rule.code for rule in REGISTRY}


def test_the_table_of_the_documentation_has_every_rule() -> None:
    rows = table().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [rule.code for rule in REGISTRY]
    assert table() in DOCS.read_text()
