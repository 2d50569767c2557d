"""MC mode: every kind of dropout is on, in one thread, and the model is unchanged afterwards."""

import copy
import pickle
import threading
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

import thinnet
from thinnet.inference import mc_mode
from thinnet.models.edit.checks import matches

WIDTH = 8


class Mask(nn.Module):
    """A mask made by hand, without an attribute that declares its rate."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) < 0.7) / 0.7 if self.training else x


class Attention(nn.Module):
    """Attention with `dropout_p=p if training else 0`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.project = p, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x)[:, None].chunk(3, -1)
        return x + F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0.0)[:, 0]


class Functional(nn.Module):
    """Dropout and a norm, both called as functions with `training=self.training`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("var", torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(x.transpose(1, 2), self.mean, self.var, training=self.training).transpose(1, 2)
        return F.dropout(x, self.p, training=self.training)


class Always(nn.Module):
    """Depends on the mode and is no dropout."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1000 if self.training else x


def bert() -> nn.Module:
    small = dict(vocab_size=50, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    return transformers.BertModel(transformers.BertConfig(**small, hidden_dropout_prob=0.0)).encoder.layer[0]


class Everything(nn.Module):
    """One model with every kind of dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.always = nn.BatchNorm1d(WIDTH), Always()
        self.ours, self.theirs = thinnet.nn.Dropout(0.3), nn.Dropout(0.3)
        self.function, self.attention, self.mask = Functional(0.3), Attention(0.3), Mask()
        self.encoder = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.0, batch_first=True)
        self.encoder.self_attn.dropout = 0.3
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2, dropout=0.3, batch_first=True)
        self.bert = bert()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        x = self.theirs(self.ours(self.always(x)))
        x = self.encoder(self.mask(self.attention(self.function(x))))
        x = self.bert(self.lstm(x)[0])
        return x[0] if isinstance(x, tuple) else x


KINDS = {
    "a site": "ours",
    "a module of PyTorch": "theirs",
    "a function": "function",
    "scaled_dot_product_attention": "attention",
    "a mask by hand": "mask",
    "multi-head attention in an encoder layer": "encoder.self_attn",
    "between the layers of an LSTM": "lstm",
    "attention of Hugging Face": "bert.*",
}
X = torch.randn(4, 5, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> nn.Module:
    return Everything().eval()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def snapshot(model: nn.Module) -> tuple[list[object], dict[str, Tensor]]:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return [(type(module), dict(vars(module))) for module in model.modules()], state


def assert_unchanged(model: nn.Module, before: tuple[list[object], dict[str, Tensor]]) -> None:
    modules, state = snapshot(model)
    assert [kind for kind, _ in modules] == [kind for kind, _ in before[0]]  # type: ignore[misc]
    assert modules == before[0]
    assert all(torch.equal(state[name], value) for name, value in before[1].items())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_dropout_can_be_on_alone(model: nn.Module, kind: str) -> None:
    plain, before = model(X), snapshot(model)
    with mc_mode(model, only=KINDS[kind]) as inside:
        one, other = model(X), model(X)
        owners = inside.owners()
    assert not torch.equal(one, other), kind
    assert owners and all(matches(path, KINDS[kind]) for path in owners)
    assert_unchanged(model, before)
    assert torch.equal(model(X), plain)


@pytest.mark.parametrize("training", [True, False])
def test_norms_and_everything_else_are_in_eval(model: nn.Module, training: bool) -> None:
    for p, module in ((0.0, module) for module in model.modules()):
        for name in vars(module).keys() & {"p", "dropout", "dropout_prob"}:
            if isinstance(vars(module)[name], float):
                setattr(module, name, p)
    model.ours.p, model.function.p = 0.0, 1e-9
    model.bert.attention.self.dropout.p = 0.0
    model.mask = nn.Identity()
    plain = model(X)
    model.train(training)
    before = snapshot(model)
    with mc_mode(model):
        assert (model(X) - plain).abs().max() < 1e-4
        assert not model.norm.training and not model.always.training and model.function.training
    assert_unchanged(model, before)


def test_a_model_with_all_kinds_is_unchanged_afterwards(model: nn.Module) -> None:
    before, state = snapshot(model), torch.get_rng_state()
    with mc_mode(model, example=X) as inside:
        assert torch.equal(torch.get_rng_state(), state)
        model(X)
        assert {"ours", "theirs", "function", "attention", "mask", "encoder.self_attn", "lstm"} <= inside.owners().keys()
        assert not inside.owners().keys() & {"", "norm", "always", "encoder", "bert"}
    assert_unchanged(model, before)


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupt])
def test_an_error_restores_the_model(model: nn.Module, error: type[BaseException]) -> None:
    before = snapshot(model)

    def fail(*_: object) -> None:
        raise error

    with pytest.raises(error), mc_mode(model):
        model(X)
        handle = model.lstm.register_forward_pre_hook(fail)
        try:
            model(X)
        finally:
            handle.remove()
    assert_unchanged(model, before)


def test_closing_a_generator_restores_the_model(model: nn.Module) -> None:
    before, plain = snapshot(model), model(X)

    def draws() -> Iterator[Tensor]:
        with mc_mode(model):
            while True:
                yield model(X)

    run = draws()
    first = next(run)
    with torch.device("meta"):  # another mode on top
        run.close()
        assert torch.empty(1).is_meta
    assert not torch.equal(first, plain)
    assert_unchanged(model, before)


def test_contexts_nest(model: nn.Module) -> None:
    before = snapshot(model)
    outer = mc_mode(model, only="ours", example=X)
    with outer:
        with mc_mode(model, only=["theirs", "ours"], example=X):
            assert model.ours.training and model.theirs.training
        assert model.ours.training and not model.theirs.training
        with outer:
            assert model.ours.training
        assert model.ours.training
    assert not model.ours.training
    assert_unchanged(model, before)


def test_other_threads_stay_in_eval(model: nn.Module) -> None:
    plain, before = model(X), snapshot(model)
    wrong: list[str] = []
    inside, stop = threading.Event(), threading.Event()

    def watch() -> None:
        inside.wait()
        with torch.no_grad():
            while not stop.is_set():
                if not torch.equal(model(X), plain):
                    wrong.append("a plain prediction was random")

    def draw() -> None:
        with torch.no_grad():
            for _ in range(3):
                with mc_mode(model):
                    inside.set()
                    for _ in range(3):
                        if torch.equal(model(X), plain):
                            wrong.append("a draw was not random")

    watcher, drawers = threading.Thread(target=watch), [threading.Thread(target=draw) for _ in range(2)]
    for thread in (watcher, *drawers):
        thread.start()
    for thread in drawers:
        thread.join()
    stop.set()
    watcher.join()
    assert not wrong
    assert_unchanged(model, before)


def test_copies_made_inside_are_plain_modules(model: nn.Module) -> None:
    plain = model(X)
    with mc_mode(model, example=X):
        second, third = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        assert type(second) is type(third) is Everything and type(second.lstm) is nn.LSTM
        assert torch.equal(second(X), plain) and torch.equal(third(X), plain)
        assert torch.equal(model.eval()(X), plain) is False  # the flag of the module does not matter


def test_pinned_sites_keep_their_mode() -> None:
    model = nn.Sequential(thinnet.nn.Dropout(0.5), nn.Dropout(0.5), nn.Dropout(0.5)).eval()
    thinnet.freeze(model, "0")
    thinnet.freeze(model, "1", training=True)
    with mc_mode(model, example=torch.ones(4, 2)) as inside:
        assert [module.training for module in model] == [False, True, True]
    assert [module.training for module in model] == [False, True, False]
    assert "0" not in inside.owners()
    with mc_mode(model):  # the declared dropout
        assert [module.training for module in model] == [False, True, True]


def test_a_fused_encoder_with_padding_drops() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.5, batch_first=True)
    model, padding = nn.TransformerEncoder(layer, 2).eval(), torch.zeros(4, 5, dtype=torch.bool)
    padding[:, 3:] = True
    with mc_mode(model, only="layers.1.dropout2"):
        one, other = (model(X, src_key_padding_mask=padding) for _ in range(2))
    assert not torch.equal(one[:, :3], other[:, :3])


@pytest.mark.parametrize("way", ["around", "inside", "in place"])
def test_compiled_models_drop(way: str) -> None:
    layers = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    inner = torch.compile(layers, backend="eager") if way == "inside" else layers
    model = nn.Sequential(inner, nn.Dropout(0.5)).eval()
    run = torch.compile(model, backend="eager") if way == "around" else model
    if way == "in place":
        model.compile(backend="eager")
    x = torch.ones(16, 2)
    plain, kinds = run(x), [type(module) for module in run.modules()]
    with mc_mode(run, example=x):
        assert not torch.equal(run(x), run(x))
    with mc_mode(run):
        assert not torch.equal(run(x), run(x))
    assert torch.equal(run(x), plain) and kinds == [type(module) for module in run.modules()]


def test_bad_input_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).eval()
    with pytest.raises(ValueError, match=r"pattern 'head.\*' must match a module with dropout; there are: 1\."):
        mc_mode(model, only="head.*")
    with pytest.raises(ValueError, match=r"pattern '0' must match a module with dropout"), mc_mode(model, only="0"):
        model(torch.ones(1, 2))
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module; got type"):
        mc_mode(nn.Dropout)  # type: ignore[arg-type]
    plain = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="model must contain active dropout"), mc_mode(plain):
        plain(torch.ones(1, 2))
    with pytest.raises(ValueError, match="model must contain active dropout"):
        mc_mode(nn.Sequential(nn.Dropout(0.0)), example=torch.ones(1, 2))
    assert type(plain) is nn.Sequential and type(model) is nn.Sequential
