"""The last layers once more, on features that are computed once: thousands of steps in the time of a hundred whole ones."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from training.faults.examples import Examples, FaultyPictures
from training.faults.network import FaultNetwork
from training.synthesis.draws import Dice

CHUNK, HELD_OUT, PASSES = 24, 5, 60  # pictures at a time; every fifth is held out; passes over the others
RATE, DECAY, DROPOUT = 1e-3, 0.05, 0.1


def features_of(network: FaultNetwork, examples: Examples) -> Tensor:
    """What the last layers are given: (b, features)."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        thumbnails, windows = (part.float() / 127.5 - 1 for part in (examples.thumbnails, examples.windows))
        return network.features(thumbnails, windows, examples.numbers).float()


def loss_of(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy over the faults that count."""
    losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses * weights).sum() / weights.sum()


def refine(
    network: FaultNetwork, pictures: FaultyPictures, count: int, dice: Dice, tell: Callable[[int, float], None]
) -> FaultNetwork:
    """The network with its last layers trained on `count` fresh pictures; those of the pass that did best on the held out ones.

    tell: given the pictures drawn so far, then passes, with the loss on the held out ones.
    """
    network.eval()
    drawn = []
    for _ in range(0, count, CHUNK):
        examples = pictures.draw(CHUNK, dice)
        drawn.append((features_of(network, examples), examples.labels, examples.weights))
        tell(CHUNK * len(drawn), float("nan"))
    features, labels, weights = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    held = torch.arange(len(features)) % HELD_OUT == 0
    optimiser = torch.optim.AdamW(network.judge.parameters(), lr=RATE, weight_decay=DECAY)
    best, kept = float("inf"), {name: value.clone() for name, value in network.judge.state_dict().items()}
    for one in range(PASSES):
        network.judge.eval()
        with torch.no_grad():
            loss = float(loss_of(network.judge(features[held]), labels[held], weights[held]))
        tell(one, loss)
        if loss < best:
            best, kept = loss, {name: value.clone() for name, value in network.judge.state_dict().items()}
        rows = torch.nonzero(~held).flatten()[torch.randperm(int((~held).sum()), generator=dice.generator)]
        for chosen in rows.split(64):
            mixed = functional.dropout(features[chosen], DROPOUT)
            loss_now = loss_of(network.judge(mixed), labels[chosen], weights[chosen])
            optimiser.zero_grad()
            loss_now.backward()
            optimiser.step()
    network.judge.load_state_dict(kept)
    return network
