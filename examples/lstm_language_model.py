"""AWD-LSTM (Merity et al. 2018) on CPython's documentation: five kinds of dropout, each with its own rate."""

import pydoc_data.topics
import re

import torch
from torch import Tensor, nn

import thinnet

WORDS = re.findall(r"\w+|[^\w\s]", " ".join(pydoc_data.topics.topics.values()))[:20_000]
VOCABULARY = {word: number for number, word in enumerate(sorted(set(WORDS)))}
TEXT = torch.tensor([VOCABULARY[word] for word in WORDS])
LENGTH, BATCH, WIDTH = 35, 16, 64


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = thinnet.nn.EmbeddingDropout(nn.Embedding(len(VOCABULARY), WIDTH), 0.1)  # whole words
        self.input = thinnet.nn.LockedDropout(0.4, batch_first=True)  # one mask for all time steps
        self.lstm = thinnet.nn.WeightDrop(nn.LSTM(WIDTH, WIDTH, 2, batch_first=True), 0.5)  # hidden-to-hidden weights
        self.output = thinnet.nn.LockedDropout(0.4, batch_first=True)
        self.head = nn.Linear(WIDTH, len(VOCABULARY))
        self.head.weight = self.embed.layer.weight  # tied

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.lstm(self.input(self.embed(words)))
        return self.head(self.output(states))


def loss_of(model: nn.Module, starts: Tensor) -> Tensor:
    rows = TEXT[starts[:, None] + torch.arange(LENGTH + 1)]
    return nn.functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


torch.manual_seed(0)
model = LanguageModel()
rng = thinnet.DropoutRNG(seed=0).bind(model)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
held_out = len(TEXT) - LENGTH - 1 - torch.arange(16) * LENGTH
for step in range(100):
    starts = torch.randint(len(TEXT) - 20 * LENGTH, (BATCH,))
    rng.at(step, samples=starts)
    optimizer.zero_grad()
    loss_of(model, starts).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()
with torch.no_grad():
    print(f"validation perplexity {float(loss_of(model.eval(), held_out).exp()):.0f} of {len(VOCABULARY)} words")

plain = nn.LSTM(WIDTH, WIDTH, 2, batch_first=True)
plain.load_state_dict(model.lstm.state_dict())  # the keys are those of nn.LSTM
x = torch.randn(2, 5, WIDTH)
print(f"outputs of nn.LSTM equal in eval: {torch.equal(plain(x)[0], model.lstm(x)[0])}")

mask = rng.mask("input", step=7, samples=[123], shape=(LENGTH, WIDTH))
print(f"masks of all time steps equal: {bool((mask == mask[:1]).all())}")
