"""`insert`: its places, and the models that result."""

import pytest
import torch
from assertions import assert_same_bits
from edited import IDS, MAPS, NETWORKS, PRETRAINED, FunctionalMLP, ResNet, Words, mlp, run
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import thinnet
from thinnet.models.edit import insert

LINES = {  # where the catalogue puts it, with an example
    "mlp": [
        "~ 2: 0.0 -> 0.5  (hidden activation; already present)",
        "+ 4: thinnet.nn.Dropout(p=0.5, inplace=False) behind GELU",
    ],
    "functional mlp": [
        "+ first: thinnet.nn.Dropout(p=0.5, inplace=False) behind Linear",
        "+ second: thinnet.nn.Dropout(p=0.5, inplace=False) behind Linear",
    ],
    "convolutional": [
        "+ 2: thinnet.nn.Dropout2d(p=0.1, inplace=False) behind MaxPool2d",
        "+ 5: thinnet.nn.Dropout2d(p=0.1, inplace=False) behind AdaptiveAvgPool2d",
        "+ 8: thinnet.nn.Dropout(p=0.5, inplace=False) behind ReLU",
    ],
    "resnet": ["+ fc: thinnet.nn.Dropout(p=0.2, inplace=False) before Linear"],
    "convnext": ["+ head: thinnet.nn.Dropout(p=0.2, inplace=False) before Linear"],
    "words": [
        "+ words: thinnet.nn.LockedDropout(p=0.4, inplace=False, batch_first=True) behind Embedding",
        "+ first: thinnet.nn.LockedDropout(p=0.25, inplace=False, batch_first=True) behind LSTM",
        "~ second.dropout: 0.0 -> 0.25  (between its layers",
        "+ second: thinnet.nn.LockedDropout(p=0.4, inplace=False, batch_first=True) behind LSTM",
    ],
    "llama": [
        "~ model.layers.0.self_attn.attention_dropout: 0.0 -> 0.1  (attention weights)",
        "~ model.layers.1.self_attn.attention_dropout: 0.0 -> 0.1  (attention weights)",
    ],
}


@pytest.mark.parametrize("name", LINES)
def test_auto_follows_the_catalogue(name: str) -> None:
    factory, example = (NETWORKS | PRETRAINED)[name]
    model = factory()
    edit = insert(model, example=example)
    assert len(edit) == len(LINES[name]), str(edit)
    for change, line in zip(edit, LINES[name], strict=True):
        assert str(change).startswith(line), str(edit)
    assert str(edit).count("\n# ") == len(edit.notes) == 2


def test_auto_finds_no_place_twice() -> None:
    model = mlp()
    insert(model)
    with pytest.raises(ValueError, match=r"must find a place.*with dropout at: .*4\.dropout_behind"):
        insert(model, example=torch.randn(2, 16))


def test_auto_names_the_dropout_that_a_fused_path_does_not_run() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    with pytest.raises(ValueError, match=r"among Dropout, .* with dropout at: self_attn, dropout, dropout1, dropout2\."):
        insert(layer, example=torch.randn(2, 5, 8))


def test_auto_handles_other_layouts() -> None:
    dead = nn.Sequential(nn.Linear(4, 4), nn.SELU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    assert [str(change).split("  (")[0] for change in insert(dead)] == [
        "+ 1: thinnet.nn.AlphaDropout(p=0.1, inplace=False) behind SELU"
    ]
    normed = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    assert [change.place for change in insert(normed)] == ["3"]
    maps = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Conv1d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    assert [change.text for change in insert(maps)] == ["thinnet.nn.Dropout1d(p=0.1, inplace=False) behind Conv1d"]
    forecast = nn.Sequential(nn.LSTM(4, 4), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="must find a place"):
        insert(forecast)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
    assert {(change.place, change.reason) for change in insert(encoder)} == {
        ("self_attn.dropout", "attention weights"),
        *((name, "feed-forward and residual") for name in ("dropout", "dropout1", "dropout2")),
    }


def test_auto_finds_no_place_where_a_kernel_takes_the_weights_of_a_convolution() -> None:
    class Kernel(nn.Module):  # as in Mamba
        def __init__(self) -> None:
            super().__init__()
            self.into, self.conv, self.out = nn.Linear(4, 8), nn.Conv1d(8, 8, 3), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            mixed = nn.functional.conv1d(self.into(x).mT, self.conv.weight, self.conv.bias)
            return self.out(mixed.mT.relu())

    with pytest.raises(ValueError, match='insert: policy "auto" must find a place; it found none among Conv1d, Linear,'):
        insert(Kernel(), example=torch.randn(2, 6, 4))


def test_auto_skips_a_shared_activation_of_the_output_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.a, self.b = nn.Sigmoid(), nn.Linear(16, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.b(self.act(self.a(x))))

    (change,) = insert(Net(), example=torch.randn(2, 16))
    assert change.place == "a"


def test_patterns_take_rates_sites_classes_and_functions() -> None:
    model = nn.Sequential(mlp(), nn.ReLU(), nn.Linear(4, 2))
    site = thinnet.nn.GaussianDropout(0.3)
    edit = insert(model, {"0.*": 0.1, "0.4": site, "1": thinnet.nn.AlphaDropout, "2": lambda module: thinnet.nn.Dropout(0.2)})
    names = {change.place: type(change.writes[0].after).__name__ for change in edit}
    expected = {"0.0": "Dropout", "0.1": "Dropout", "0.3": "Dropout", "0.4": "GaussianDropout", "0.5": "Dropout"}
    assert names == expected | {"1": "AlphaDropout", "2": "Dropout"}
    assert site not in set(model.modules())
    rng = thinnet.DropoutRNG(0).bind(model)
    assert {f"{place}.dropout_behind" for place in names} <= rng.sites.keys()


def test_a_sequential_gets_its_site_at_its_last_module() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))
    (change,) = insert(model, {"0": 0.5})
    assert change.place == "0.1"
    assert len(model[0]) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_a_recurrent_layer_gets_one_mask_for_all_steps(packed: bool) -> None:
    model = nn.Sequential(nn.LSTM(3, 64, batch_first=True), nn.Linear(64, 2))
    insert(model, {"0": 0.5})
    x = torch.randn(4, 7, 3)
    output = model[0](pack_sequence(list(x)) if packed else x)[0]
    y = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0] if packed else output
    dropped = (y == 0).sum(1)
    assert set(dropped.flatten().tolist()) == {0, 7}


def test_a_pattern_skips_dropout_but_not_layers_with_a_rate() -> None:
    model = nn.Sequential(nn.LSTM(4, 4), nn.Dropout(0.1), nn.Linear(4, 4), nn.Linear(4, 4))
    assert [change.place for change in insert(model, {"[012]": 0.3})] == ["0", "2"]


def test_existing_hooks_see_the_output_without_dropout() -> None:
    model, seen = mlp(), []
    model[1].register_forward_hook(lambda module, args, output: seen.append(output))
    insert(model, {"1": 1.0})
    model[1].register_forward_hook(lambda module, args, output: seen.append(output))
    model(torch.randn(3, 16))
    assert seen[0].any() and not seen[1].any()


def test_a_site_takes_the_mode_and_the_device_of_its_module() -> None:
    model = mlp()
    model[1].eval()
    insert(model, {"1": 0.5, "4": 0.5})
    assert [module.training for module in model.modules() if isinstance(module, thinnet.nn.Dropout)] == [False, True]
    with torch.device("meta"):
        empty = mlp()
    insert(empty, {"1": 0.5})
    assert empty.to_empty(device="cpu").train()[1].dropout_behind.key(torch.ones(1)).rate == 32768


def test_a_site_before_the_head_survives_pickling() -> None:
    model = ResNet()
    insert(model, example=MAPS)
    assert -1 in model.fc._forward_pre_hooks  # PyTorch counts from 0
    model.fc.dropout_before.p = 1.0
    assert_same_bits(run(model, MAPS, training=True)[0], model.fc.bias.detach().expand(4, 5).contiguous())


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"nobody": 0.5}, r"pattern 'nobody' must match a module; there are: 0, 1, 2, 3, 4, 5\."),
        ({"*": 0.5}, r"pattern '\*' must not match the output layer; it matches '5'"),
        ({"1": 1.5}, "p must be a number"),
        ("everywhere", 'policy must be "auto" or a mapping'),
        ({"1": lambda module: thinnet.nn.WeightDrop(nn.Linear(4, 4))}, "must map to a site that takes a tensor"),
        ({"1": lambda module: thinnet.nn.VariationalDropout(4)}, "would add"),
        ({"1": "half"}, "must map to a rate"),
        ({"1": nn.Dropout}, "must map to a site"),
    ],
)
def test_bad_policies_are_refused(policy, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        insert(mlp(), policy)


def test_bad_models_are_refused() -> None:
    model = mlp()
    insert(model, {"1": 0.5})
    with pytest.raises(ValueError, match="must have no site yet"):
        insert(model, {"1": 0.5})
    thinnet.DropoutRNG(0).bind(model)
    with pytest.raises(ValueError, match="sites must not be bound"):
        insert(model, {"4": 0.5})
    with pytest.raises(ValueError, match="must be one module that is called"):
        insert(nn.ModuleDict({"held": nn.ModuleList([nn.Linear(1, 1)]), "last": nn.Linear(1, 1)}), {"held": 0.5})
    lost = nn.Sequential(nn.Identity(), nn.Linear(16, 2))
    lost[0].forward = lambda x: {"x": x}  # type: ignore[method-assign]
    insert(lost, {"0": 0.5})
    with pytest.raises(TypeError, match="Identity must return a tensor or a tuple; got dict"):
        lost(torch.randn(2, 16))


def test_the_edit_says_that_places_follow_the_definition() -> None:
    assert "places follow the order of definition" in str(insert(FunctionalMLP()))
    assert "order of execution" in str(insert(Words(), example=IDS.remainder(50)))
