"""A second training with the callbacks of training libraries: which step it starts at, and which model the rng follows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet
from thinnet.rng.sample_ids import KEY, collate, indexed

X = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))


class Steps(nn.Module):
    """Notes the step of its rng in each forward pass in training."""

    def __init__(self, *last: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), thinnet.nn.Dropout(0.5), nn.Linear(8, 2), *last)
        self.seen: list[int | None] = []

    def forward(self, x: Tensor) -> Tensor:
        context = self.layers[1].context
        if self.training:
            self.seen.append(None if context is None else context.step)
        return self.layers(x)

    def take(self) -> list[int | None]:
        seen, self.seen = self.seen, []
        return seen


@pytest.mark.filterwarnings("ignore")
def test_a_second_fit_with_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from thinnet.integrations.lightning import DropoutRNGCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Steps()

        def training_step(self, batch: Any, index: int) -> Tensor | None:
            loss = self.net(batch[1][0]).square().mean()
            return loss if index else None  # a step without a loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.net(batch[1][0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def trainer() -> Any:
        quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
        return lightning.Trainer(max_epochs=1, callbacks=[callback], accelerator="cpu", default_root_dir=tmp_path, **quiet)

    loader = DataLoader(indexed(TensorDataset(X)), batch_size=8, collate_fn=collate())
    callback, model, other = DropoutRNGCallback(thinnet.DropoutRNG(0)), Module(), Module()
    first = trainer()
    first.fit(model, loader, loader)
    assert model.net.take() == [0, 1, 2, 3]
    first.fit_loop.max_epochs = 2
    first.fit(model, loader)
    assert model.net.take() == [4, 5, 6, 7]  # the same Trainer goes on
    trainer().fit(model, loader)
    assert model.net.take() == [0, 1, 2, 3]  # a new one starts
    trainer().fit(other, loader)
    assert other.net.take() == [0, 1, 2, 3] and model.net.layers[1].context is None  # the rng follows to a new model
    trainer().validate(model, loader, verbose=False)
    assert other.net.layers[1].context is not None and callback.rng.context.calls.depth == 0


def test_a_second_train_with_the_trainer_of_hugging_face(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from thinnet.integrations.transformers import DropoutRNGCallback

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Steps()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.net(x)
            return {"loss": y.square().mean(), "logits": y}

    def train(model: nn.Module, callback: Any) -> list[int | None]:
        options = dict(per_device_train_batch_size=16, num_train_epochs=1, save_strategy="no", use_cpu=True)
        quiet = dict(disable_tqdm=True, report_to=[], logging_strategy="no", remove_unused_columns=False)
        trainer = transformers.Trainer(
            model,
            transformers.TrainingArguments(str(tmp_path), **options, **quiet),
            data_collator=collate(lambda rows: {"x": torch.stack(rows)}, key=KEY),
            train_dataset=indexed(X),
            callbacks=[callback],
        )
        trainer.train()
        first = model.net.take()
        trainer.train()
        assert model.net.take() == first
        return first

    model, other, callback = Model(), Model(), DropoutRNGCallback(thinnet.DropoutRNG(0))
    assert train(model, callback) == [0, 1]
    assert train(model, DropoutRNGCallback(thinnet.DropoutRNG(1))) == [0, 1]  # one callback after another
    assert train(other, callback) == [0, 1]
    callback.ids.rng.at(7, 0)
    for more in {}, {KEY: torch.arange(32)}:  # after a training, the ids of a batch are left out, and are not needed
        assert other.train()(x=X, **more)["logits"].shape == (32, 2)
    assert other.net.take() == [7, 7]


def test_a_second_fit_with_skorch() -> None:
    skorch = pytest.importorskip("skorch")
    from sklearn.base import clone

    from thinnet.integrations.skorch import DropoutRNGCallback

    class Network(Steps):
        def __init__(self) -> None:
            super().__init__(nn.Softmax(1))

    data, y = {"x": X.numpy(), KEY: np.arange(32)}, np.arange(32) % 2
    callbacks = [("rng", DropoutRNGCallback(thinnet.DropoutRNG(0)))]
    net = skorch.NeuralNetClassifier(Network, max_epochs=1, batch_size=16, callbacks=callbacks, verbose=0, train_split=None)
    for _ in range(2):
        assert net.fit(data, y).module_.take() == [0, 1]  # a new module starts
    assert net.partial_fit(data, y).module_.take() == [2, 3]
    assert net.set_params(warm_start=True).fit(data, y).module_.take() == [4, 5]
    assert clone(net).fit(data, y).module_.take() == [0, 1]
    assert net.fit(data, y).module_.take() == [6, 7] and net.predict(data).shape == (32,)
