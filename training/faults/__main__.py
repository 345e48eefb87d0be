"""`python -m training.faults -o RUN --photographs DIR`: trains the classifier of faults, in minutes on one core.

Synthesis takes most of the time, so every picture is learnt from several times: fresh ones join a store, from which further batches
are drawn. The learning rate falls to 0 at the end of the minutes, which are the process's own (CPU time), whatever else runs.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rddm.faults import FAULTS
from training.faults.examples import Examples, FaultyPictures
from training.faults.network import FaultNetwork
from training.faults.refining import loss_of, refine
from training.synthesis.draws import Dice
from training.synthesis.photographs import Collection
from training.synthesis.pool import default_cache, load_pool

BATCH, FRESH_OF, KEPT = 24, 5, 6000  # pictures a step; one step of so many has fresh ones; pictures in the store
SIDE, MAPS = 256, 240
RATE, DECAY, WARMUP, EMA = 2e-3, 0.02, 60, 0.99
THUMBNAILS, WINDOWS = (64, 96, 128), 4  # real pictures are shrunk by more than those drawn; of six windows so many a step
SEED = 22
TELL_EVERY = 50
JUDGE = "judge.0.weight"
WEIGHTS, FACTS, LOG = "model.safetensors", "facts.json", "log.jsonl"


@dataclass
class Store:
    """The latest KEPT examples."""

    parts: list[Examples] = field(default_factory=list)

    def add(self, examples: Examples) -> None:
        """Takes a batch in; the oldest goes."""
        self.parts = [*self.parts, examples][-(KEPT // BATCH) :]

    def draw(self, dice: Dice) -> Examples:
        """A batch out of all."""
        at = dice.integers(0, len(self.parts), BATCH).tolist()
        rows = dice.integers(0, BATCH, BATCH).tolist()
        examples = [[part[row] for part in self.parts[index].tensors] for index, row in zip(at, rows, strict=True)]
        return Examples(*(torch.stack(column) for column in zip(*examples, strict=True)))


def batches(pictures: FaultyPictures, dice: Dice) -> Iterator[Examples]:
    """For ever: a fresh batch, then some out of the store."""
    store = Store()
    while True:
        fresh = pictures.draw(BATCH, dice)
        store.add(fresh)
        yield fresh
        for _ in range(FRESH_OF - 1):
            yield store.draw(dice)


def varied(examples: Examples, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
    """What the network is given: mirrored by chance, the thumbnail of another side, a choice of the windows; float32 in [-1, 1]."""
    side = THUMBNAILS[int(dice.integers(0, len(THUMBNAILS), 1))]
    thumbnails = functional.interpolate(examples.thumbnails.float(), size=(side, side), mode="area") / 127.5 - 1
    chosen = torch.randperm(examples.windows.shape[1], generator=dice.generator)[:WINDOWS]
    windows = examples.windows[:, chosen].float() / 127.5 - 1
    if float(dice.uniform(0, 1, 1)) < 0.5:
        thumbnails, windows = thumbnails.flip(-1), windows.flip(-1)
    return thumbnails, windows, examples.numbers


@dataclass(frozen=True)
class Run:
    """A trained network, and what it took."""

    network: FaultNetwork
    steps: int
    seconds: float


def of_weights(weights: Mapping[str, Tensor]) -> FaultNetwork:
    """A network with these weights. Where it takes more numbers than they know, those begin without a say."""
    network = FaultNetwork()
    first = network.judge[0].weight.detach().zero_()
    known = weights.get(JUDGE, first)
    first[:, : known.shape[1]] = known
    network.load_state_dict({**weights, JUDGE: first})
    return network


def train(
    network: FaultNetwork, pictures: FaultyPictures, seconds: float, tell: Callable[[Run, float], None], seed: int = SEED
) -> Run:
    """So many seconds of CPU time; the averaged network, in eval mode. tell: given the run and its loss every TELL_EVERY steps."""
    # Channels last and bfloat16 take a third of the time of float32 on a core with AMX.
    network, dice = network.to(memory_format=torch.channels_last), Dice(torch.Generator().manual_seed(seed))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(EMA), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    begin, step, recent = time.process_time(), 0, 0.0
    for step, examples in enumerate(batches(pictures, dice), 1):
        share = (time.process_time() - begin) / seconds
        if share >= 1:
            break
        rate = RATE * min(1.0, step / WARMUP) * (1 + torch.cos(torch.tensor(torch.pi * share)).item()) / 2
        optimiser.param_groups[0]["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(*varied(examples, dice))
        loss = loss_of(logits.float(), examples.labels, examples.weights)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        recent += (loss.item() - recent) * (0.02 if step > 50 else 1 / step)
        if step % TELL_EVERY == 0:
            tell(Run(average.module, step, time.process_time() - begin), recent)
    return Run(average.module.eval(), step, time.process_time() - begin)


def save(run: Run, folder: Path, photographs: str) -> None:
    """Weights, and facts for the card."""
    save_file({name: value.contiguous() for name, value in run.network.state_dict().items()}, folder / WEIGHTS)
    parameters = sum(value.numel() for value in run.network.parameters())
    facts = {"faults": FAULTS, "steps": run.steps, "cpu_seconds": round(run.seconds), "parameters": parameters, "seed": SEED}
    (folder / FACTS).write_text(json.dumps({**facts, "photographs": photographs}, indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """The verb."""
    parser = argparse.ArgumentParser(prog="python -m training.faults", description="Trains the classifier behind task=auto.")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="a folder that holds no other run")
    parser.add_argument("--photographs", type=Path, required=True, metavar="DIR", help="free photographs, with ATTRIBUTION.tsv")
    parser.add_argument("--cpu-minutes", type=float, default=45, metavar="N", help="of training, of this process's CPU time (45)")
    parser.add_argument("--from", dest="before", type=Path, metavar="RUN", help="a run whose weights are taken to begin with")
    parser.add_argument("--refine", type=int, default=3000, metavar="N", help="pictures for the last layers alone (3000)")
    parser.add_argument("--pictures", type=int, default=2352, metavar="N", help="in the pool (2352)")
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR", help="where pools are kept")
    given = parser.parse_args(argv)
    if (given.output / WEIGHTS).exists():
        parser.error(f"{given.output} holds a run; expected another folder")
    torch.set_num_threads(1)
    given.output.mkdir(parents=True, exist_ok=True)
    collection = Collection.read(given.photographs)
    pool = load_pool("photographic", given.pictures, SIDE, given.cache, collection=collection)
    streaks, drops = (load_pool(kind, MAPS, SIDE, given.cache) for kind in ("streaks", "drops"))
    console = Console()

    def tell(run: Run, loss: float) -> None:
        line = json.dumps({"step": run.steps, "loss": round(loss, 4), "cpu_seconds": round(run.seconds)})
        console.print(line)
        with (given.output / LOG).open("a") as file:
            file.write(line + "\n")
        save(run, given.output, collection.digest)

    torch.manual_seed(SEED)
    network = FaultNetwork() if given.before is None else of_weights(load_file(given.before / WEIGHTS))
    pictures = FaultyPictures(pool, streaks, drops)
    run = train(network, pictures, given.cpu_minutes * 60, tell) if given.cpu_minutes > 0 else Run(network.eval(), 0, 0.0)
    refined = Dice(torch.Generator().manual_seed(SEED + 1))
    refine(run.network, pictures, given.refine, refined, lambda step, loss: console.print(f"refining {step} {loss:.4f}"))
    save(run, given.output, collection.digest)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
