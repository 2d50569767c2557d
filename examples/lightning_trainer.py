"""Lightning: a callback sets step and ids; a resumed training has the masks of an uninterrupted one."""

import logging
import tempfile
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet
from thinnet.integrations.lightning import DropoutRNGCallback
from thinnet.rng.sample_ids import collate, indexed

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(32, 1))

    def training_step(self, batch, index):
        _, (x, y) = batch
        return nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


x = torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
loader = DataLoader(indexed(TensorDataset(x, x[:, :1])), batch_size=32, collate_fn=collate())
quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def fit(epochs: int, folder: str, ckpt: str | None = None) -> tuple[Model, Trainer]:
    model, rng = Model(), DropoutRNGCallback(thinnet.DropoutRNG(seed=0))
    trainer = Trainer(max_epochs=epochs, callbacks=[rng], default_root_dir=folder, enable_checkpointing=False, **quiet)
    trainer.fit(model, loader, ckpt_path=ckpt, weights_only=True if ckpt else None)
    return model, trainer


with tempfile.TemporaryDirectory() as folder:
    through, _ = fit(4, folder)
    _, trainer = fit(2, folder)
    trainer.save_checkpoint(f"{folder}/half.ckpt")
    resumed, _ = fit(4, folder, f"{folder}/half.ckpt")
same = all(torch.equal(a, b) for a, b in zip(through.parameters(), resumed.parameters(), strict=True))
print(f"weights equal after resume: {same}")
print(f"the last of 12 steps is equal to the step of the masks: {resumed.net[2].context.step == 11}")
