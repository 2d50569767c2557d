"""DropoutRNG: binding, steps, state, copies and threads."""

import copy
import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from assertions import assert_rate, assert_same_bits
from torch import nn
from torch.optim.swa_utils import AveragedModel

import thinnet
from thinnet.schedules import Linear


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 40), thinnet.nn.Dropout(0.5), nn.ReLU(), nn.Sequential(thinnet.nn.Dropout(0.2)))


def test_a_prompt_shows_seed_step_and_number_of_sites() -> None:
    rng = thinnet.DropoutRNG(seed=7).bind(network())
    assert (repr(rng), repr(rng.at(3))) == ("DropoutRNG(seed=7, step=None, sites=2)", "DropoutRNG(seed=7, step=3, sites=2)")


def test_masks_need_no_forward_pass() -> None:
    model, x, ids = network(), torch.randn(4, 6), torch.tensor([4711, 3, 99, 2**32 - 1])
    rng = thinnet.DropoutRNG(seed=2**63 + 9).bind(model).at(200, ids)
    hidden = model[1](model[0](x))
    mask = rng.mask("1", step=200, samples=ids, shape=(40,))
    assert mask.dtype == torch.bool and mask.shape == (4, 40)
    assert torch.equal(hidden != 0, mask)
    for one in ([4711], 4711):
        assert torch.equal(rng.mask("1", step=200, samples=one, shape=(40,)), mask[:1])
    with pytest.raises(KeyError, match=r"site must be one of \['1', '3.0'\]; got 'head'"):
        rng.mask("head", step=0, samples=[0], shape=(1,))


def test_channels_and_rows() -> None:
    layer = thinnet.nn.Dropout2d(0.5)
    rng = thinnet.DropoutRNG(1).bind(layer).at(3, samples=10)
    kept = layer(torch.ones(5, 8, 3, 3)) != 0
    mask = rng.mask("", step=3, samples=range(10, 15), shape=(8, 1, 1))
    assert torch.equal(kept, mask.expand_as(kept))
    rng.at(3)
    assert torch.equal(layer(torch.ones(1, 8, 3, 3))[0, :, 0, 0] != 0, rng.mask("", step=3, samples=[0], shape=(8,))[0])


def test_sites_steps_seeds_and_samples_differ() -> None:
    def kept(seed: int = 0, step: int = 0, sample: int = 0, site: str = "1") -> tuple[bool, ...]:
        rng = thinnet.DropoutRNG(seed).bind(network_of_halves())
        return tuple(rng.mask(site, step=step, samples=[sample], shape=(64,))[0].tolist())

    masks = {kept(), kept(seed=1), kept(step=1), kept(sample=1), kept(site="3.0"), kept(seed=1 << 32)}
    assert len(masks) == 6


def network_of_halves() -> nn.Module:
    model = network()
    model[3][0].p = 0.5
    return model


def stored(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.load": stored,
    "EMA": lambda model: AveragedModel(model).train(),
    "copy of a copy": lambda model: copy.deepcopy(copy.deepcopy(model)),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_has_its_own_rng_without_a_step(name: str) -> None:
    model, x = network(), torch.randn(4, 6)
    rng = thinnet.DropoutRNG(3, {"1": Linear(0.5, 0.1, steps=10)}).bind(model).at(5, samples=[3, 1, 4, 1])
    twin = COPIES[name](model)
    own = thinnet.rng_of(twin)
    assert own is not rng and thinnet.rng_of(model) is rng
    assert (own.seed, own.step, own.scheduled) == (3, None, rng.scheduled) and [*own.sites] == ["1", "3.0"]
    assert all(own.sites[each] is not rng.sites[each] for each in own.sites)
    with pytest.raises(RuntimeError, match=r"site '1': its RNG has no step yet.*thinnet\.rng_of\(model\)"):
        twin(x)
    twin.eval()(x)
    for step in (5, 6):
        rng.at(step, samples=[3, 1, 4, 1])
        own.at(step, samples=[3, 1, 4, 1])
        assert_same_bits(twin.train()(x), model(x))
    own.at(9)
    assert (rng.step, rng.sites["1"].p) == (6, rng.scheduled["1"](6)) and own.sites["1"].p == own.scheduled["1"](9)
    own.unbind()
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in twin.modules())
    twin(x)  # with seeds of torch's generator again


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_can_be_bound_anew(name: str) -> None:
    model, x = network(), torch.randn(4, 6)
    thinnet.DropoutRNG(3).bind(model).at(5)
    twin = COPIES[name](model)
    root = twin.module if name == "EMA" else twin
    rng = thinnet.DropoutRNG(8).bind(root).at(2)
    assert thinnet.rng_of(twin) is rng and len(root._forward_pre_hooks) == len(root._forward_hooks) == 1
    thinnet.DropoutRNG(8).bind(model).at(2)
    assert_same_bits(root(x), model(x))


def test_binding_again_replaces() -> None:
    model, x = network(), torch.randn(4, 6)
    first = thinnet.DropoutRNG(1, {"1": Linear(0.5, 0.1, steps=10)}).bind(model).at(5)
    second = thinnet.DropoutRNG(2).bind(model).at(5)
    assert not first.sites and thinnet.rng_of(model) is second and model[1].p == 0.5
    assert len(model._forward_pre_hooks) == len(model._forward_hooks) == 1
    first.at(6)
    expected = model(x)
    second.unbind()
    thinnet.DropoutRNG(2).bind(model).at(5)
    assert_same_bits(model(x), expected)


def test_a_site_added_later_is_refused_until_the_model_is_bound_again() -> None:
    model, x = network(), torch.randn(4, 6)
    rng = thinnet.DropoutRNG(1).bind(model).at(5)
    model[3].append(thinnet.nn.Dropout(0.3))
    with pytest.raises(RuntimeError, match=r"added after bind\. Call rng\.bind\(model\) again"):
        model(x)
    other = thinnet.nn.Dropout(0.5)  # of another model
    model[0].register_forward_hook(lambda module, args, output: other(output) * 0 + output)
    assert rng.bind(model).step == 5 and [*rng.sites] == ["1", "3.0", "3.1"]
    assert_same_bits(model(x), model(x))
    del model[3][1]
    assert [*rng.bind(model).sites] == ["1", "3.0"]


def test_a_site_added_later_is_refused_by_the_compiler() -> None:
    model, x = network(), torch.randn(4, 6)
    rng = thinnet.DropoutRNG(1).bind(model).at(5)
    model[3].append(thinnet.nn.Dropout(0.3))
    compiled = torch.compile(model, backend="aot_eager")
    with pytest.raises(Exception, match=r"added after bind\. Call rng\.bind\(model\) again"):
        compiled(x)
    rng.bind(model)
    torch.testing.assert_close(compiled(x), model(x))


def test_a_part_of_a_bound_model_can_be_copied() -> None:
    model = network()
    rng = thinnet.DropoutRNG(1).bind(model).at(5)
    part = copy.deepcopy(model[3])
    own = thinnet.rng_of(part).at(5)
    assert [*own.sites] == ["3.0"] and [*rng.sites] == ["1", "3.0"]
    x = torch.ones(4, 40)
    assert_same_bits(part(x), model[3](x))


def test_rng_of_a_model_that_is_not_bound() -> None:
    with pytest.raises(ValueError, match="rng_of: model must be bound by one DropoutRNG; it is not bound"):
        thinnet.rng_of(network())
    pair = nn.ModuleList([network(), network()])
    for seed, model in enumerate(pair):
        thinnet.DropoutRNG(seed).bind(model)
    with pytest.raises(ValueError, match="its sites are bound by 2"):
        thinnet.rng_of(pair)


def test_a_model_has_no_buffers_of_ours() -> None:
    model = network()
    thinnet.DropoutRNG(1).bind(model).at(5)
    theirs = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5), nn.ReLU(), nn.Sequential(nn.Dropout(0.2)))
    assert not list(model.buffers()) and model.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(model.state_dict())
    model.load_state_dict(theirs.state_dict())


def test_uninitialised_memory_never_reaches_the_rate() -> None:
    """As transformers, FSDP and Fabric load a model: made on meta, then every parameter and buffer is replaced."""
    with torch.device("meta"):
        model = network()
    for module in model.modules():
        for name, parameter in [*module.named_parameters(recurse=False)]:
            setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="cpu").zero_()))
        for name, buffer in [*module.named_buffers(recurse=False)]:
            setattr(module, name, torch.full_like(buffer, 7, device="cpu"))
    assert_rate(model[1](torch.ones(100_000)) == 0, 0.5)
    assert_rate(model.to_empty(device="cpu")[1](torch.ones(100_000)) == 0, 0.5)


def test_a_loaded_transformer_has_its_rate(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")

    class Classifier(transformers.BertPreTrainedModel):
        def __init__(self, config) -> None:
            super().__init__(config)
            self.bert, self.drop = transformers.BertModel(config), thinnet.nn.Dropout(0.3)
            self.post_init()

    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=50)
    Classifier(transformers.BertConfig(**sizes)).save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path).train()
    assert loaded.drop.p == 0.3
    assert_rate(loaded.drop(torch.ones(100_000)) == 0, 0.3)


def test_a_pickle_of_an_older_version_loads() -> None:
    layer = thinnet.nn.Dropout(0.3)
    state = layer.__getstate__() | {"clock": None, "calls": 2, "_captured": None}
    for name in ("context", "_device"):
        del state[name]
    state["_buffers"] = {"rate": torch.tensor(7, dtype=torch.int32), "site": None}
    state["_non_persistent_buffers_set"] = {"rate", "site"}
    old = thinnet.nn.Dropout.__new__(thinnet.nn.Dropout)
    old.__setstate__(state)
    assert old.p == 0.3 and not list(old.buffers()) and old.context is None and not hasattr(old, "clock")
    assert_rate(old(torch.ones(100_000)) == 0, 0.3)


def test_threads_count_for_themselves() -> None:
    model, x = network(), torch.randn(4, 6)
    thinnet.DropoutRNG(0).bind(model).at(0)
    expected = model(x)
    barrier = threading.Barrier(2)

    def meet(module: nn.Module, args: object) -> None:
        barrier.wait()

    model[0].register_forward_pre_hook(meet)  # both threads are in the middle of a pass
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            for y in pool.map(model, [x, x]):
                assert_same_bits(y, expected)


def test_threads_have_steps_of_their_own() -> None:
    model, x = network(), torch.randn(4, 6)
    rng = thinnet.DropoutRNG(0).bind(model).at(3)
    expected = [rng.at(step, [step] * 4) and model(x) for step in range(8)]
    barrier = threading.Barrier(8)

    def run(step: int) -> torch.Tensor:
        rng.at(step, [step] * 4)
        barrier.wait()
        return model(x)

    with ThreadPoolExecutor(8) as pool:
        for y, other in zip(pool.map(run, range(8)), expected, strict=True):
            assert_same_bits(y, other)
    assert rng.step == 7


def test_replicas_of_data_parallel_are_refused() -> None:
    layer = thinnet.nn.Dropout(0.5)
    layer._replicate_for_data_parallel()
    thinnet.DropoutRNG(0).bind(layer).at(0)
    with pytest.raises(RuntimeError, match=r"under DataParallel.*DistributedDataParallel"):
        layer._replicate_for_data_parallel()
    layer.eval()._replicate_for_data_parallel()


def test_unbinding_returns_to_the_generator_of_torch() -> None:
    model, x = network(), torch.randn(4, 6)
    torch.manual_seed(1)
    expected = model(x)
    thinnet.DropoutRNG(3).bind(model).unbind()
    torch.manual_seed(1)
    assert_same_bits(model(x), expected)


def test_state_resumes() -> None:
    model, x = network(), torch.randn(4, 6)
    rng = thinnet.DropoutRNG(3).bind(model)
    for _ in range(4):
        rng.advance()
    state = pickle.loads(pickle.dumps(rng.state_dict()))
    expected = rng.advance() and model(x)
    rng.unbind()
    again = thinnet.DropoutRNG().bind(model)
    again.load_state_dict(state)
    assert (again.seed, again.step) == (3, 3)
    assert_same_bits(again.advance() and model(x), expected)


def test_state_of_another_model_is_refused_with_a_list() -> None:
    rng = thinnet.DropoutRNG(3).bind(network())
    rng.at(9)
    state = rng.state_dict()
    other = nn.Sequential(nn.Linear(6, 40), thinnet.nn.Dropout(0.4), thinnet.nn.Dropout(0.2))
    theirs = thinnet.DropoutRNG(1).bind(other)
    with pytest.raises(
        ValueError, match=r"'1' has rate 0.4, saved 0.5; '2' is here but not saved; '3.0' is saved but not here"
    ):
        theirs.load_state_dict(state)
    assert (theirs.seed, theirs.step) == (1, None)


@pytest.mark.parametrize("seed", [-1, 1 << 64, 0.5, True, None])
def test_bad_seeds(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be an integer"):
        thinnet.DropoutRNG(seed)


@pytest.mark.parametrize("step", [-1, 1 << 32, 0.5, True, None])
def test_bad_steps(step: object) -> None:
    with pytest.raises(ValueError, match="step must be an integer"):
        thinnet.DropoutRNG().bind(network()).at(step)


@pytest.mark.parametrize("samples", [[-1], [1 << 32], -1, 1 << 32, [0.5], [[1]], [True], torch.zeros(2, 2), ["a", "b"], 0.5])
def test_bad_samples(samples: object) -> None:
    rng = thinnet.DropoutRNG().bind(network()).at(3)
    with pytest.raises(ValueError, match="samples must be integers"):
        rng.at(4, samples)
    assert rng.step == 3


def test_a_batch_on_another_axis_is_refused() -> None:
    layer = thinnet.nn.Dropout(0.5)
    thinnet.DropoutRNG().bind(layer).at(0, samples=[1, 2, 3])
    with pytest.raises(ValueError, match=r"axis 0 of x must count the samples .* got x of shape \(7, 3\) and 3 samples"):
        layer(torch.ones(7, 3))


def test_a_missing_step_and_a_model_without_sites_are_refused() -> None:
    model = network()
    rng = thinnet.DropoutRNG().bind(model)
    with pytest.raises(RuntimeError, match=r"site '1': its RNG has no step yet. Call rng.at"):
        model(torch.randn(4, 6))
    with pytest.raises(ValueError, match="the model has no site"):
        thinnet.DropoutRNG().bind(nn.Linear(3, 3))
    rng.unbind()
    model(torch.randn(4, 6))


def test_two_names_with_one_number_are_refused() -> None:
    model = nn.Module()
    for name in ("plumless", "buckeroo"):  # a pair whose CRC-32 is the same
        model.add_module(name, thinnet.nn.Dropout(0.5))
    with pytest.raises(ValueError, match="'plumless' and 'buckeroo' have the same number"):
        thinnet.DropoutRNG().bind(model)
    assert model.plumless.context is None


def test_a_captured_graph_reads_the_step_of_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph reads the same memory at each replay; what no graph reads is still replaced and never written to."""
    layer = thinnet.nn.Dropout(0.5)
    rng = thinnet.DropoutRNG(2**64 - 1).bind(layer).at(1, samples=[3, 5])
    context, device = rng.context, torch.device("cpu")
    with monkeypatch.context() as patch:
        patch.setattr("thinnet.rng.context.capturing", lambda device: True)
        pair = context.tensors(device)
        rng.at(2, samples=[1, 2, 3])
        triple = context.tensors(device)
        rng.at(3, samples=[7, 8])
        assert context.tensors(device) is pair
    eager = context.tensors(device)
    rng.at(4, samples=[9, 10])
    assert [tensor.tolist() for tensor in pair] == [-1, 4, [9, 10]]
    assert [tensor.tolist() for tensor in triple] == [-1, 4, [1, 2, 3]]
    assert [tensor.tolist() for tensor in eager] == [-1, 3, [7, 8]]


def test_a_captured_graph_reads_the_rate_of_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, read = thinnet.nn.Dropout(0.0), []
    with monkeypatch.context() as patch:
        patch.setattr("thinnet.rng.site.capturing", lambda device: True)
        read.append(layer._rate(torch.device("cpu")))
        layer.p = 0.25
        read.append(layer._rate(torch.device("cpu")))
        layer.p = 0.5
    now = layer._rate(torch.device("cpu"))
    assert read[0] is read[1] is not now and int(read[0]) == int(now) == 32768


@pytest.mark.parametrize("number", [np.int64(3), torch.tensor(3), np.uint8(3)], ids=lambda number: str(type(number)))
def test_integers_of_numpy_and_torch_are_integers(number) -> None:
    layer, x = thinnet.nn.Dropout(0.5), torch.ones(2, 64)
    expected = thinnet.DropoutRNG(3).bind(layer).at(3, samples=3) and layer(x)
    rng = thinnet.DropoutRNG(number).bind(layer).at(number, samples=number)
    assert torch.equal(layer(x), expected)
    assert torch.equal(rng.mask("", step=number, samples=number, shape=(64,)), expected[:1] != 0)


@pytest.mark.parametrize("number", [True, np.bool_(True), torch.tensor(True), 1.0, "1", -1, 1 << 64, torch.ones(2), None])
def test_what_is_no_integer_is_refused(number) -> None:
    rng = thinnet.DropoutRNG(0).bind(thinnet.nn.Dropout(0.5))
    for use in (lambda: thinnet.DropoutRNG(number), lambda: rng.at(number), lambda: rng.view(number), lambda: rng.call(number)):
        with pytest.raises(ValueError, match=r"DropoutRNG.*must be an integer in 0 .. 2\^"):
            use()


@pytest.mark.parametrize("samples", [True, 1.0, "ab", ["a", "b"], [0.5], -1, [-1], [1 << 32], [[1]], torch.ones(2), [None], {}])
def test_what_is_no_sample_id_is_refused(samples) -> None:
    rng = thinnet.DropoutRNG(0).bind(thinnet.nn.Dropout(0.5))
    for use in (lambda: rng.at(0, samples), lambda: rng.mask("", step=0, samples=samples, shape=(4,))):
        with pytest.raises(ValueError, match=r"samples must be integers in 0 .. 2\^32 - 1, one a row; got"):
            use()


NO_MODULE = (None, "model", [], torch.ones(2), object())


@pytest.mark.parametrize("model", NO_MODULE, ids=lambda model: type(model).__name__)
def test_what_is_no_module_is_refused(model) -> None:
    for use in (thinnet.DropoutRNG(0).bind, thinnet.rng_of):
        with pytest.raises(TypeError, match=r"(DropoutRNG.bind|rng_of): model must be a torch.nn.Module; got"):
            use(model)


@pytest.mark.parametrize("shape", [4, None, "4", (4, -1), (4.0,), (True,), torch.ones(1)], ids=str)
def test_what_is_no_shape_is_refused(shape) -> None:
    rng = thinnet.DropoutRNG(0).bind(thinnet.nn.Dropout(0.5))
    with pytest.raises(ValueError, match=r"DropoutRNG.mask: shape must be a tuple of integers; got"):
        rng.mask("", step=0, samples=[1, 2], shape=shape)
    assert rng.mask("", step=0, samples=[1, 2], shape=()).shape == (2,)


@pytest.mark.parametrize("value", [1, "*", [Linear(0.0, 0.1, steps=3)], (1, 2), {"*": 0.5}, torch.ones(2)], ids=str)
def test_what_are_no_schedules_is_refused(value) -> None:
    with pytest.raises(TypeError, match=r"DropoutRNG: schedules must"):
        thinnet.DropoutRNG(0, value)


@pytest.mark.parametrize("state", [None, 3, {}, {"seed": 1}, []], ids=str)
def test_what_is_no_state_is_refused(state) -> None:
    with pytest.raises(ValueError, match=r"DropoutRNG.load_state_dict: state must be one of state_dict\(\)"):
        thinnet.DropoutRNG(0).load_state_dict(state)


def test_a_loaded_seed_replaces_that_of_earlier_steps():
    models = [nn.Sequential(thinnet.nn.Dropout(0.5)) for _ in range(2)]
    first, second = (thinnet.DropoutRNG(seed).bind(model).at(0) for seed, model in enumerate(models, start=1))
    x = torch.ones(4, 64)
    assert not torch.equal(models[0](x), models[1](x))
    first.load_state_dict(second.state_dict())
    assert torch.equal(models[0](x), models[1](x))
