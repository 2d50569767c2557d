"""Hugging Face's Trainer with a small BERT: with its dropout replaced and a callback that sets step and ids."""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, default_data_collator
from transformers.utils import logging

import thinnet
from thinnet.integrations.transformers import DropoutRNGCallback
from thinnet.rng.sample_ids import KEY, collate, indexed

logging.set_verbosity_error()
logging.disable_progress_bar()
words = torch.randint(5, 100, (48, 12), generator=torch.Generator().manual_seed(0))
data = indexed([{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": int(row[0] > 50)} for row in words])


def build() -> nn.Module:
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 100}
    model = BertForSequenceClassification(BertConfig(**size, attention_probs_dropout_prob=0.0))
    model.accepts_loss_kwargs = False  # its loss is a mean, so the Trainer has to divide by the number of parts
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, thinnet.nn.Dropout(child.p))
    return model


def train(rows: int, folder: str, resume: str | None = None) -> nn.Module:
    """Trains 6 steps of 16 samples, `rows` at a time."""
    options = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 16 // rows, "num_train_epochs": 2}
    quiet = {"disable_tqdm": True, "report_to": [], "logging_strategy": "no", "use_cpu": True}
    arguments = TrainingArguments(folder, **options, **quiet, optim="sgd", learning_rate=0.05, save_steps=3)
    callbacks = [DropoutRNGCallback(thinnet.DropoutRNG(seed=0))]
    collator = collate(default_data_collator, key=KEY)
    trainer = Trainer(build(), arguments, data_collator=collator, train_dataset=data, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return trainer.model


def close(one: nn.Module, other: nn.Module, atol: float) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=atol) for a, b in pairs)


with tempfile.TemporaryDirectory() as folder:
    whole = train(16, folder)
    resumed = train(16, folder, f"{folder}/checkpoint-3")
    parts = train(4, f"{folder}/parts")
print(f"weights equal after resume: {close(whole, resumed, 0.0)}")
print(f"weights equal to rounding in four parts: {close(whole, parts, 1e-5)}")
print(f"the last of 6 steps is equal to the step of the masks: {resumed.dropout.context.step == 5}")
