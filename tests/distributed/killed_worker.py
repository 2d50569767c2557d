"""Trains, saves every third step, prints its step, and resumes when it is started again."""

import os
import sys
from pathlib import Path

import torch
from torch import nn
from training import batch, build, data

import thinnet

STEPS, EVERY = 60, 3


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    model, (x, y), saved = build(), data(), folder / "saved.pt"
    rng, optimizer = thinnet.DropoutRNG(7).bind(model), torch.optim.AdamW(model.parameters(), lr=0.01)
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rng.load_state_dict(state["rng"])
    first = 0 if rng.step is None else rng.step + 1
    for step in range(first, STEPS):
        ids = batch(step)
        rng.advance(ids)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[ids]), y[ids]).backward()
        print(step, flush=True)
        optimizer.step()
        if step % EVERY == EVERY - 1:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng.state_dict()}
            torch.save(state, folder / "new.pt")
            os.replace(folder / "new.pt", saved)  # whole or not at all, whenever the process dies
    torch.save(model.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
