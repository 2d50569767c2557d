"""An audit has no findings on correct models of many kinds, and the right finding on the same models with a mistake."""

import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet

X = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
SEQUENCES = torch.randn(16, 10, 16, generator=torch.Generator().manual_seed(1))
MAPS = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(2))


class Model(nn.Module):
    """A model whose forward pass is a function of itself and its inputs; `one` and `two` are linear layers."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run, self.one, self.two = run, nn.Linear(16, 16), nn.Linear(16, 4)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.run(self, *inputs)


def latent(draw: Callable[[Tensor, Tensor], Tensor]) -> Model:
    def run(self: Any, x: Tensor) -> Tensor:
        h = self.drop(self.one(x).relu())
        return self.two(draw(self.mean(h), (0.5 * self.deviation(h)).exp()))

    return Model(run, drop=nn.Dropout(0.2), mean=nn.Linear(16, 16), deviation=nn.Linear(16, 16))


def logistic(mean: Tensor, deviation: Tensor) -> Tensor:
    u = torch.rand_like(deviation).clamp(0.01, 0.99)
    return mean + deviation * (u.log() - (1 - u).log())


def interpolated(self: Any, x: Tensor) -> Tensor:
    share = torch.rand(len(x), 1)
    return self.two(self.one(share * x + (1 - share) * x.flip(0)).relu())


def styled(self: Any, x: Tensor) -> Tensor:
    w = self.one(x)
    if random.random() < 0.9:
        w = torch.cat([w[:, :8], self.one(torch.randn_like(x))[:, 8:]], 1)
    return self.two(w + 0.1 * torch.randn(len(w), 1))


def teacher_forced(self: Any, x: Tensor) -> Tensor:
    state = x[:, 0]
    for step in range(1, x.shape[1]):
        state = self.one(self.drop(state)).tanh() + (x[:, step] if random.random() < 0.5 else state)
    return self.two(state)


def token_selected(self: Any, x: Tensor) -> Tensor:
    hidden = torch.rand(x.shape[:2]) < 0.5
    return self.two(self.one(torch.where(hidden[..., None], self.token, x)).relu())


def token_added(self: Any, x: Tensor) -> Tensor:
    hidden = (torch.rand(x.shape[:2]) < 0.5).float()[..., None]
    return self.two(self.one(x * (1 - hidden) + self.token * hidden).relu())


def tokens_kept(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.rand(x.shape[:2]).argsort(1)
    kept = x.gather(1, order[:, :5, None].expand(-1, -1, 16))
    return self.two(self.one(kept).relu()), order.argsort(1)


def timestep(self: Any, x: Tensor) -> Tensor:
    step = torch.randint(0, 50, (len(x),))
    return self.two(self.drop(self.one(x + self.table(step)).relu()))


def hashed(self: Any, x: Tensor) -> Tensor:
    bucket = (x @ torch.randn(16, 4)).argmax(-1, keepdim=True)
    return self.two(self.drop(self.one(x) + 0.1 * bucket))


def drop_path(self: Any, x: Tensor) -> Tensor:
    y = self.drop(self.one(x))
    return self.two(x + y * y.new_empty(len(y), 1, 1).bernoulli_(0.8) / 0.8 if self.training else x + y)


def beside(self: Any, x: Tensor) -> dict[str, Tensor]:
    state = self.drop(self.one(x).relu())
    return {"logits": self.two(F.layer_norm(state, (16,))), "encoder": state}


def skipped(self: Any, x: Tensor) -> Tensor:
    for layer in self.layers:
        skip = random.random() < 0.3
        if not (self.training and skip):
            x = x + layer(x).relu()
    return self.two(x)


def skipped_in_eval(self: Any, x: Tensor) -> Tensor:
    for layer in self.layers:
        if random.random() < 0.3:
            continue
        x = x + layer(x).relu()
    return self.two(x)


class Block(nn.Module):
    """DropBlock whose factor is made of the mask."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = 1 - F.max_pool2d((torch.rand(len(x), 1, *x.shape[2:]) < 0.02).float(), 3, 1, 1)
        return x * mask * (mask.numel() / mask.sum())


def inverted(self: Any, x: Tensor) -> Tensor:
    x = self.one(x).relu()
    dropped = (1 - torch.empty_like(x).bernoulli_(0.9)).to(torch.bool)
    return self.two(x.masked_fill(dropped, 0) * (1 / 0.9) if self.training else x)


class Vanishing(nn.Module):
    """A network whose activations vanish, as at an initialisation of small weights, before a norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.norms, self.drop, self.two = nn.ModuleList(nn.BatchNorm1d(16) for _ in range(2)), nn.Dropout(0.3), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.drop(self.norms[1](1e-9 * self.norms[0](1e-9 * x))))


def two_rates() -> nn.Module:
    """A scripted model: its two dropouts are one site."""
    model = nn.Sequential(
        nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 4)
    )
    return torch.jit.script(model)


def scheduled(self: Any, x: Tensor) -> Tensor:
    self.drop.p = 0.1
    return self.two(self.drop(self.one(x).relu()))


def layers() -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(16, 16) for _ in range(3))


def seeded_by_step(self: Any, x: Tensor) -> Tensor:
    self.step += self.training
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(self.step)) > 0.3
    return self.two(torch.where(mask, self.one(x), 0) / 0.7 if self.training else self.one(x))


def zoneout(self: Any, x: Tensor) -> Tensor:
    state = x.new_zeros(len(x), 16)
    for step in range(x.shape[1]):
        new = (self.one(x[:, step]) + state).tanh()
        state = torch.where(torch.rand_like(state) < 0.2, state, new) if self.training else 0.2 * state + 0.8 * new
    return self.two(state)


def own_generator(self: Any, x: Tensor) -> Tensor:
    mask = torch.rand(x.shape, generator=self.generator) > 0.3
    return self.two(torch.where(mask, self.one(x), 0) / 0.7 if self.training else self.one(x))


def recurrent(self: Any, x: Tensor) -> Tensor:
    x = self.one(x)
    x = x * x.new_empty(1, *x.shape[1:]).bernoulli_(0.8) / 0.8 if self.training else x
    return self.two(self.rnn(x)[0])


def stochastic_depth(self: Any, x: Tensor) -> Tensor:
    return self.two(self.norm(self.drop(5 * self.one(x)) + x))


def pixels(self: Any, x: Tensor) -> Tensor:
    x = x[..., None, None]
    return self.two(self.norm(self.drop(5 * x) + x).flatten(1))


def fused(self: Any, x: Tensor) -> Tensor:
    p = self.drop.p if self.training else 0.0
    return self.two(F.scaled_dot_product_attention(*[self.one(x)[:, None]] * 3, dropout_p=p)[:, 0])


warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
RIGHT: dict[str, tuple[nn.Module, Tensor]] = {
    "a variational autoencoder": (latent(lambda mean, deviation: mean + deviation * torch.randn_like(deviation)), X),
    "a distribution": (latent(lambda mean, deviation: torch.distributions.Laplace(mean, deviation).rsample()), X),
    "a normal distribution": (latent(lambda mean, deviation: mean - mean.detach() + torch.normal(mean.detach(), deviation)), X),
    "a beta distribution": (latent(lambda mean, deviation: torch.distributions.Beta(mean.exp(), deviation).rsample()), X),
    "a logistic distribution": (latent(logistic), X),
    "interpolated samples": (Model(interpolated), X),
    "style mixing": (Model(styled), X),
    "teacher forcing": (Model(teacher_forced, drop=nn.Dropout(0.3)), SEQUENCES),
    "a masked autoencoder that selects": (Model(token_selected, token=nn.Parameter(torch.zeros(16))), SEQUENCES),
    "a masked autoencoder that adds": (Model(token_added, token=nn.Parameter(torch.zeros(16))), SEQUENCES),
    "a masked autoencoder that keeps tokens": (Model(tokens_kept), SEQUENCES),
    "steps of a diffusion": (Model(timestep, table=nn.Embedding(50, 16), drop=nn.Dropout(0.1)), X),
    "a random projection": (Model(hashed, drop=nn.Dropout(0.1)), X),
    "dropout, then drop path": (Model(drop_path, drop=nn.Dropout(0.1)), SEQUENCES),
    "a state beside the logits": (Model(beside, drop=nn.Dropout(0.1)), X),
    "numbers that eval does not use": (Model(skipped, layers=layers()), X),
    "a mask that makes its factor": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Block(), nn.Conv2d(8, 3, 3)), MAPS),
    "one mask for all steps": (Model(recurrent, rnn=nn.GRU(16, 16)), SEQUENCES),
    "a seed for each step": (Model(seeded_by_step, step=0), X),
    "zoneout": (Model(zoneout), SEQUENCES),
    "a generator of its own": (Model(own_generator, generator=torch.Generator()), X),
    "two rates at one line": (two_rates(), X),
    "a mask of what is dropped": (Model(inverted), X),
    "a norm of activations that vanish": (Vanishing(), X),
    "stochastic depth before a batch normalisation": (
        Model(stochastic_depth, drop=thinnet.nn.DropPath(0.4), norm=nn.BatchNorm1d(16)),
        X,
    ),
    "stochastic depth of maps of one pixel": (
        Model(pixels, drop=thinnet.nn.DropPath(0.4), norm=nn.BatchNorm2d(16)),
        X.repeat(8, 1),
    ),
    "a rate that the forward pass sets": (Model(scheduled, drop=nn.Dropout(0.5)), X.repeat(4, 1)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_correct_model_has_no_findings(name: str) -> None:
    model, x = RIGHT[name]
    assert [str(finding) for finding in thinnet.audit(model, x) if finding.fails] == []


def attend(self: Any, x: Tensor) -> Tensor:
    y = F.scaled_dot_product_attention(*[self.one(x)[:, None]] * 3)
    return self.two(self.drop(self.one(y[:, 0])))


def consistent(self: Any, x: Tensor) -> Tensor:
    x = self.one(x).relu()
    mask = torch.bernoulli(x[0].detach(), p=0.3).unsqueeze(0).repeat(len(x), 1, 1)
    return self.two(torch.where(mask == 1, x, 0) / (1 - 0.3) if self.training else x)


class Kernel(nn.Module):
    """Attention by a kernel that takes a rate, as FlashAttention does."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.thinnet_test.flash_attn(x, 0.2)


@torch.library.custom_op("thinnet_test::flash_attn", mutates_args=())
def flash_attn(x: Tensor, dropout_p: float) -> Tensor:
    return F.dropout(x, dropout_p)


def autograd_of_flash_attn(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return gradient, None


flash_attn.register_autograd(autograd_of_flash_attn)


class Attention(nn.Module):
    """Attention with a dropout module that it does not call."""

    def __init__(self, called: bool) -> None:
        super().__init__()
        self.qkv, self.attn_drop, self.proj_drop = nn.Linear(16, 48), nn.Dropout(0.1), nn.Dropout(0.1)
        self.called = called

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        weights = (q @ k.transpose(1, 2)).softmax(-1)
        return self.proj_drop((self.attn_drop(weights) if self.called else weights) @ v)


def flash(self: Any, x: Tensor) -> Tensor:
    return self.two(self.kernel(self.one(x)))


def attended(self: Any, x: Tensor) -> Tensor:
    return self.two(self.attention(x))


def seeded(self: Any, x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return self.two(self.drop(self.one(x).relu()))


def own_seed(self: Any, x: Tensor) -> Tensor:
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) > 0.3
    return self.two(torch.where(mask, self.one(x), 0) / 0.7 if self.training else self.one(x))


WRONG: dict[str, tuple[str, nn.Module, Tensor]] = {
    "layers dropped in eval": ("AUD101", Model(skipped_in_eval, layers=layers()), X),
    "edges dropped in eval": ("AUD101", Model(lambda self, x: self.two(self.one(x)[torch.rand(len(x)) > 0.3])), X),
    "a kernel with a rate in eval": (
        "AUD101",
        Model(flash, kernel=Kernel()),
        SEQUENCES,
    ),
    "Gaussian dropout in eval": ("AUD101", Model(lambda self, x: self.two(self.one(x) * torch.normal(1.0, 0.5, (32, 16)))), X),
    "an attention rate that is not given": ("AUD103", Model(attend, attention_dropout=0.1, drop=nn.Dropout(0.1)), SEQUENCES),
    "an attention dropout that is not called": (
        "AUD103",
        Model(attended, attention=Attention(False)),
        SEQUENCES,
    ),
    "a seed in the forward pass": ("AUD107", Model(seeded, drop=nn.Dropout(0.2)), X),
    "a generator that is seeded in the forward pass": ("AUD107", Model(own_seed), X),
    "one mask for all samples": ("AUD401", Model(recurrent, rnn=nn.GRU(16, 16, batch_first=True)), SEQUENCES),
    "a rate taken for a keep probability": ("AUD202", Model(consistent), SEQUENCES),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_found(name: str) -> None:
    code, model, x = WRONG[name]
    assert code in {finding.rule.code for finding in thinnet.audit(model, x) if finding.fails}


def test_the_default_rate_of_a_recurrent_layer_is_no_finding() -> None:
    model = Model(recurrent, rnn=nn.GRU(16, 16), attention=nn.MultiheadAttention(16, 2), drop=nn.Dropout(0.0))
    assert [finding.module for finding in thinnet.audit(model, SEQUENCES) if finding.rule.code == "AUD106"] == ["drop"]


def test_modules_of_rate_zero_are_one_finding_and_a_module_whose_rate_is_read_is_none() -> None:
    model = Model(fused, drop=nn.Dropout(0.2), more=nn.ModuleList(nn.Dropout(0.0) for _ in range(3)))
    found = [(finding.rule.code, finding.module, finding.message) for finding in thinnet.audit(model, SEQUENCES)]
    assert ("AUD106", "", "3 modules, the first at 'more.0': they drop nothing.") in found
    assert "AUD105" not in [code for code, *_ in found]


def test_attention_dropout_that_is_called_is_right() -> None:
    thinnet.assert_dropout_right(Model(attended, attention=Attention(True)), SEQUENCES)


def test_one_module_behind_every_layer_is_found() -> None:
    model = Model(lambda self, x: self.drop(self.two(self.drop(self.one(self.drop(x)).relu()))), drop=nn.Dropout(0.5))
    assert {"AUD301", "AUD304", "AUD305"} <= {finding.rule.code for finding in thinnet.audit(model, X)}


def test_a_correct_model_of_transformers_has_no_errors() -> None:
    transformers = pytest.importorskip("transformers")
    ids = torch.randint(3, 90, (4, 12), generator=torch.Generator().manual_seed(0))
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37, image_size=32, patch_size=8)
    decoder = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37)
    swin = dict(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 4], window_size=4, drop_path_rate=0.3)
    masked = transformers.ViTMAEConfig(**sizes, **{f"decoder_{name}": value for name, value in decoder.items()})
    text = transformers.T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    t5, images = transformers.T5ForConditionalGeneration(text), dict(pixel_values=torch.randn(4, 3, 32, 32))
    models = {
        t5: dict(input_ids=ids, decoder_input_ids=ids),
        t5.encoder: dict(input_ids=ids),
        transformers.ViTMAEForPreTraining(masked): images,
        transformers.SwinForImageClassification(transformers.SwinConfig(**swin, hidden_dropout_prob=0.1)): images,
    }
    for model, inputs in models.items():
        findings = thinnet.audit(model.train(), **inputs)
        assert [str(finding) for finding in findings if finding.fails] == []


@pytest.mark.parametrize("bound", [False, True])
def test_attention_that_sites_serve_is_right(bound: bool) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = dict(vocab_size=99, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37)
    ids = dict(input_ids=torch.randint(3, 90, (4, 12), generator=torch.Generator().manual_seed(0)))
    for config in (transformers.BertConfig(**sizes), transformers.LlamaConfig(**sizes, attention_dropout=0.1)):
        model = transformers.AutoModel.from_config(config).train()
        thinnet.replace(model, functional=True, example=ids)
        if bound:
            thinnet.DropoutRNG(1).bind(model)
        thinnet.assert_dropout_right(model, passes=2, **ids)


def test_a_layer_that_training_drops_is_no_layer_that_draws_nothing() -> None:
    model = Model(lambda self, x: self.two(self.one(x) if self.training else self.drop(self.one(x))), drop=nn.Dropout(0.2))
    assert [finding.rule.code for finding in thinnet.audit(model, X)] == ["AUD105"]


def test_an_audit_of_a_transformer_runs_it_at_most_30_times() -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=99, n_embd=32, n_layer=3, n_head=4, n_positions=16))
    calls: list[None] = []
    model.register_forward_pre_hook(lambda module, args: calls.append(None))
    thinnet.assert_dropout_right(model.train(), torch.randint(0, 99, (2, 12)))
    assert len(calls) <= 30
