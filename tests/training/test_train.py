"""Training: it learns, it resumes exactly, it stops when told, and what it leaves can be loaded."""

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from rddm.image import encode
from rddm.objective import MIXTURES, mixture, targets
from rddm.relatives import relative_spec
from rddm.spec import ModelSpec
from training import checkpoint
from training import train as training_run
from training.checkpoint import RESUME, WEIGHTS, Checkpoint, build, load_checkpoint, save_checkpoint
from training.ema import Ema
from training.evaluation.evaluate import Example
from training.evaluation.validation import Validation, read_pairs
from training.networks import SmallConfig
from training.objective import LOSSES, Objective, asked_indices
from training.recipe import EmaConfig, Optimiser, Recipe, SynthesisData, built_in_recipes, load_recipe
from training.synthesis.draws import Dice, Pairs
from training.train import chosen_recipe, main, overridden, parser
from training.trainer import Budget, MicroBatch, Trainer, drawn_batches, rate_share, train

SPEC = ModelSpec(name="tiny", task="tiny", licence="CC0-1.0", size_multiple=8, default_steps=2)
NETWORK = SmallConfig(widths=(8, 8), depths=(1, 1), time_width=8)
RECIPE = Recipe(
    spec=SPEC,
    network=NETWORK,
    data=SynthesisData(kind="rain"),
    steps=30,
    batch=4,
    optimiser=Optimiser(rate=3e-3),
    ema=EmaConfig(update_every=1, update_after_step=0),
)


@dataclass(frozen=True)
class Dimmed:
    """Pairs whose given picture is the target, half as bright."""

    def draw(self, batch: int, dice: Dice) -> Pairs:
        target = dice.uniform(-1, 1, batch, 3, 16, 16)
        return Pairs(target, (target - 1) / 2)


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def batches(trainer: Trainer, own: Dice) -> Iterator[MicroBatch]:
    return drawn_batches(trainer.recipe, trainer.objective, Dimmed(), own)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def test_a_restoration_is_learned() -> None:
    trainer, own = Trainer(RECIPE, torch.device("cpu")), dice()
    losses = [trainer.step(batches(trainer, own)) for _ in range(120)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_same_seed_gives_the_same_weights() -> None:
    found = []
    for _ in range(2):
        trainer = Trainer(RECIPE.model_copy(update={"rollout": 0.5}), torch.device("cpu"))
        stream = batches(trainer, dice(3))
        for _ in range(5):
            trainer.step(stream)
        found.append(weights(trainer))
    assert torch.equal(*found)


def test_a_deeper_network_begins_with_the_answers_of_a_shallower_one(tmp_path: Path) -> None:
    shallow, own = Trainer(RECIPE, torch.device("cpu")), dice(2)
    for _ in range(3):
        shallow.step(batches(shallow, own))
    shallow.save(tmp_path, {}, own)
    deep = Trainer(RECIPE.model_copy(update={"network": NETWORK.model_copy(update={"depths": (2, 3)})}), torch.device("cpu"))
    deep.start_from(tmp_path)
    x, time = torch.rand(1, 3, 16, 16), torch.zeros(1, 2)
    assert torch.equal(deep.network(x, x, time)[0], shallow.ema.average(x, x, time)[0])
    wider = Trainer(RECIPE.model_copy(update={"network": NETWORK.model_copy(update={"outputs": 2})}), torch.device("cpu"))
    with pytest.raises((ValueError, RuntimeError), match=r"fit|size mismatch"):
        wider.start_from(tmp_path)


def test_a_frozen_part_stays_and_the_rest_learns() -> None:
    trainer, own = Trainer(RECIPE, torch.device("cpu")), dice(2)
    trainer.freeze(["encode."])
    before = {name: weight.clone() for name, weight in trainer.network.state_dict().items()}
    for _ in range(3):
        trainer.step(batches(trainer, own))
    changed = {name for name, weight in trainer.network.state_dict().items() if not torch.equal(weight, before[name])}
    assert "exit.weight" in changed
    assert not any(name.startswith("encode.") for name in changed)
    with pytest.raises(ValueError, match="no parameter begins with 'encoder'"):
        trainer.freeze(["encoder"])


@pytest.mark.parametrize("name", ["adam", "radam"])
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path: Path, name: str) -> None:
    recipe = RECIPE.model_copy(update={"optimiser": Optimiser(name=name, rate=1e-3, warmup=4)})
    whole, own = Trainer(recipe, torch.device("cpu")), dice(1)
    for step in range(8):
        whole.step(batches(whole, own))
        if step == 3:
            whole.save(tmp_path, {}, own)
    resumed, later = Trainer(recipe, torch.device("cpu")), dice(99)
    resumed.resume(tmp_path, later)
    for _ in range(4):
        resumed.step(batches(resumed, later))
    assert resumed.steps == 8
    assert torch.equal(weights(whole), weights(resumed))
    for mine, theirs in zip(whole.ema.average.parameters(), resumed.ema.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_resuming_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        Trainer(RECIPE, torch.device("cpu")).resume(tmp_path, dice())


def test_a_run_ends_with_its_budget() -> None:
    trainer, seen = Trainer(RECIPE, torch.device("cpu")), []
    train(trainer, batches(trainer, dice()), Budget(6, None), seen.append)
    assert trainer.steps == len(seen) == 6
    assert Budget(100, 1.0).spent(10, 30) == 0.5


def test_the_rate_warms_up_and_falls() -> None:
    config = Optimiser(warmup=10, decay="cosine")
    shares = [rate_share(config, step, step / 100) for step in (0, 4, 50, 100)]
    assert shares == pytest.approx([0.1, 0.5 * 0.996, 0.5, 0.005], rel=0.01)


@pytest.mark.parametrize(
    "objective", ["pred_res", "pred_noise", "pred_x0", "pred_res_noise", "pred_x0_noise", "pred_res_add_noise"]
)
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_true_outputs_have_no_loss(objective: str, loss: str) -> None:
    spec = SPEC.model_copy(update={"objective": objective})
    heads = 2 if objective.endswith("noise") and objective != "pred_noise" else 1
    recipe = RECIPE.model_copy(update={"spec": spec, "loss": loss, "network": NETWORK.model_copy(update={"outputs": heads})})
    pairs, eps = Dimmed().draw(3, dice(2)), dice(4).normal(3, 3, 16, 16)
    truth = {"res": pairs.given - pairs.target, "noise": eps, "x0": pairs.target}
    truth |= {"res_add_noise": truth["res"] + eps}
    names = objective.removeprefix("pred_")
    parts = (
        [names]
        if names in truth
        else {"res_noise": ["res", "noise"], "x0_noise": ["x0", "noise"]}.get(names, ["res", "res_add_noise"])
    )
    parts = ["res", "res_add_noise"] if objective == "pred_res_add_noise" else parts

    class Oracle(torch.nn.Module):
        def forward(self, *_: object) -> tuple[torch.Tensor, ...]:
            return tuple(truth[part] for part in parts)

    assert float(Objective(recipe, torch.device("cpu")).loss(Oracle(), pairs, torch.tensor([0, 500, 999]), eps)) < 1e-6


@pytest.mark.parametrize("relative", ["sr3", "indi", "i2sb", "resshift", "diffuir", "resfusion"])
def test_a_relative_is_trained_on_what_its_sampler_inverts(relative: str) -> None:
    """The network that solves each x_t for x_0 as sampling does, given the truth, has no loss; and x_t is the forward process's."""
    spec = relative_spec(relative, name="a", task="b", licence="c", image_clip=None)
    objective = Objective(RECIPE.model_copy(update={"spec": spec, "loss": "l2"}), torch.device("cpu"))
    pairs, eps, t = Dimmed().draw(3, dice(2)), dice(4).normal(3, 3, 16, 16), torch.tensor([0, 2, spec.first_index])
    seen: list[torch.Tensor] = []

    class Oracle(torch.nn.Module):
        def forward(self, x_t: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
            seen.append(x_t)
            mixes = [mixture(spec.objective, objective.schedule, int(k)) for k in t] if spec.objective in MIXTURES else None
            mix = (
                None
                if mixes is None
                else tuple(torch.tensor(column).view(-1, 1, 1, 1).float() for column in zip(*mixes, strict=True))
            )
            return targets(spec.objective, pairs.target, pairs.given - pairs.target, eps, mix)

    assert float(objective.loss(Oracle(), pairs, t, eps)) < 1e-9
    for row, index in enumerate(t.tolist()):
        x_t = objective.schedule.diffuse(pairs.target[row], pairs.given[row], eps[row], index)
        torch.testing.assert_close(seen[0][row], x_t.float(), atol=1e-5, rtol=0)
    assert int(objective.draw_t(400, dice()).max()) <= spec.first_index


def test_grain_is_learned_beside_a_wrong_tone() -> None:
    grain = torch.tensor([1.0, -1.0]).repeat(1, 3, 16, 8) * 0.01
    slopes = {}
    for loss in ("l1", "l1_pyramid"):
        found = (grain + 0.2).requires_grad_()
        LOSSES[loss](found, torch.zeros_like(found)).backward()
        slopes[loss] = float((found.grad * grain.sign()).mean())
    assert slopes["l1"] == pytest.approx(0, abs=1e-9)
    assert slopes["l1_pyramid"] > 1e-4


def test_times_on_the_grid_are_those_that_sampling_asks() -> None:
    recipe = RECIPE.model_copy(update={"time_sampling": "grid", "spec": SPEC.model_copy(update={"max_steps": 3})})
    drawn = set(Objective(recipe, torch.device("cpu")).draw_t(400, dice()).tolist())
    assert drawn == {999, 499, 665, 332} == {t for row in asked_indices(recipe.spec) for t in row}
    assert len(set(Objective(RECIPE, torch.device("cpu")).draw_t(400, dice()).tolist())) > 200


def test_the_average_copies_then_follows() -> None:
    line = torch.nn.Linear(1, 1, bias=False)
    ema = Ema(line, EmaConfig(beta=0.9, update_every=1, update_after_step=2))
    seen = []
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        torch.nn.init.constant_(line.weight, value)
        ema.update(line)
        seen.append(float(ema.average.weight.detach()))
    assert seen[:4] == [1.0, 2.0, 3.0, 4.0]
    assert seen[4] == pytest.approx(4 + 3 ** (-2 / 3))


def test_a_checkpoint_round_trips(tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, torch.device("cpu"))
    save_checkpoint(tmp_path, Checkpoint(SPEC, NETWORK, trainer.network.state_dict(), {"hours": 1}))
    loaded = load_checkpoint(tmp_path)
    assert (loaded.spec, loaded.network, loaded.facts) == (SPEC, NETWORK, {"hours": 1})
    for name, value in build(loaded).state_dict().items():
        assert torch.equal(value, trainer.network.state_dict()[name])
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_without_weights_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("size", [4, 100, 5000])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, size: int) -> None:
    trainer = Trainer(RECIPE, torch.device("cpu"))
    trainer.save(tmp_path, {}, dice())
    for name in (WEIGHTS, RESUME):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read, it may be cut short"):
        load_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"resume\.safetensors cannot be read, it may be cut short"):
        trainer.resume(tmp_path, dice())


def test_every_built_in_recipe_is_valid() -> None:
    assert {"lowlight", "derain", "raindrop", "emoji"} <= set(built_in_recipes())
    for name, path in built_in_recipes().items():
        assert load_recipe(path).spec.name == name


@pytest.mark.parametrize("text", [b"steps = 6\nbatch = = 2\n", b"\xff\xfe"])
def test_a_recipe_that_is_no_toml_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(text)
    assert main([str(tmp_path / "mine.toml"), "-o", str(tmp_path / "run")]) == 2
    assert f"rddm train: {tmp_path / 'mine.toml'} is no TOML: " in capsys.readouterr().out


def test_the_readmes_recipe_trains_on_a_folder_of_pairs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [recipe] = re.findall(r"```toml\n(.*?)```", (root / "training" / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "denoise.toml").write_text(recipe)
    for part in ("input", "target"):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        for name in "ab":
            (tmp_path / "pairs" / part / f"{name}.png").write_bytes(encode(np.full((130, 140, 3), 90, np.uint8)))
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("denoise.toml")).data.kind == "folder"
    assert main(["denoise.toml", "-o", "runs/denoise", "--steps", "1", "--batch", "1", "--device", "cpu"]) == 0
    assert load_checkpoint(Path("runs/denoise")).spec.task == "denoise"


def test_an_unknown_recipe_lists_the_known(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown recipe 'desnow'.*derain"):
        chosen_recipe("desnow")
    assert main(["desnow", "-o", str(tmp_path)]) == 2
    assert "unknown recipe" in capsys.readouterr().out


def test_a_recipe_that_does_not_fit_names_its_file_and_every_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (path := tmp_path / "mine.toml").write_text('steps = "many"\n[spec]\nname = "mine"\n')
    assert main([str(path), "-o", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().out
    for part in ("mine.toml is no recipe", "spec.task: Field required", "steps = 'many': Input should be a valid integer"):
        assert part in told
    assert not (tmp_path / "run").exists()


def test_validation_pairs_must_be_complete(tmp_path: Path) -> None:
    for part in ("input", "target"):
        (tmp_path / part).mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        read_pairs(tmp_path)
    for name in ("input/a.png", "input/b.png", "target/a.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"no partner of the same name.*b\.png"):
        read_pairs(tmp_path)


@pytest.fixture
def recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(training_run, "make_sources", lambda data, cache, device: (Dimmed(), Dimmed()))
    path = tmp_path / "tiny.toml"
    path.write_text(
        """
steps = 6
batch = 2
validate_every = 3
save_every = 4
[spec]
name = "tiny"
task = "tiny"
licence = "CC0-1.0"
size_multiple = 8
default_steps = 1
[network]
kind = "small"
widths = [8, 8]
depths = [1, 1]
time_width = 8
[data]
kind = "rain"
"""
    )
    return path


def test_the_command_leaves_checkpoint_log_and_curve(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert all(line["loss"] > 0 for line in lines)
    assert "synthetic_psnr" in lines[-1]
    assert load_checkpoint(out).facts["steps"] == 6
    assert (out / "curve.png").stat().st_size > 1000
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu", "--resume", "--steps", "8"]) == 0
    found = load_checkpoint(out).facts
    assert found["steps"] == 8
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu", "--resume", "--steps", "8"]) == 0
    assert load_checkpoint(out).facts == found
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [3, 6, 8]


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("steps", "-4", "greater than or equal to 1"),
        ("steps", "0", "greater than or equal to 1"),
        ("batch", "0", "greater than or equal to 1"),
        ("seed", "-3", "greater than or equal to 0"),
        ("minutes", "-1", "greater than 0"),
        ("minutes", "nan", "greater than 0"),
        ("threads", "0", "greater than 0"),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, allowed: str
) -> None:
    assert main([str(recipe_file), "-o", str(tmp_path / "run"), "--device", "cpu", f"--{option}", value]) == 2
    told = capsys.readouterr().out
    assert f"--{option} {value}: " in told
    assert allowed in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def without(*_: object, **__: object) -> None:
        raise RuntimeError("Found no NVIDIA driver on your system")

    if name == "cuda":
        monkeypatch.setattr(torch, "zeros", without)
    assert main([str(recipe_file), "-o", str(tmp_path / "run"), "--device", name]) == 2
    assert f"rddm train: --device {name} cannot be used; expected cpu" in capsys.readouterr().out


def test_every_recipe_may_be_overridden() -> None:
    for name, path in built_in_recipes().items():
        recipe = load_recipe(path)
        assert overridden(recipe, parser().parse_args([name, "-o", "run", "--steps", "7"])) == recipe.model_copy(
            update={"steps": 7}
        )


def test_a_run_is_not_overwritten_by_another(recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, run = tmp_path / "run", [str(recipe_file), "--device", "cpu", "-o"]
    assert main([*run, str(out)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    for again in ([*run, str(out)], [*run, str(out), "--from", str(out)]):
        assert main(again) == 2
        assert f"{out} holds a run of 6 steps; --resume continues it" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert main([*run, str(tmp_path / "other"), "--from", str(out), "--steps", "1"]) == 0
    assert load_checkpoint(tmp_path / "other").facts["steps"] == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_stops_a_run_saves_it(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    def interrupted(trainer: Trainer, stream: Iterator[MicroBatch], *_: object) -> None:
        trainer.step(stream)
        signal.raise_signal(sent)

    monkeypatch.setattr(training_run, "train", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
    try:
        assert main([str(recipe_file), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert load_checkpoint(tmp_path / "run").facts["steps"] == 1


def test_a_run_that_diverges_ends_with_the_weights_before(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Dimmed):
        drawn = 0

        def draw(self, batch: int, dice: Dice) -> Pairs:
            Broken.drawn += 1
            pairs = super().draw(batch, dice)
            return Pairs(pairs.target * float("nan"), pairs.given) if Broken.drawn == 3 else pairs  # two make a step

    monkeypatch.setattr(training_run, "make_sources", lambda data, cache, device: (Broken(), Dimmed()))
    out = tmp_path / "run"
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu"]) == 1
    assert "step 2 has a loss of nan" in capsys.readouterr().out
    found = load_checkpoint(out)
    assert found.facts["steps"] == 1
    assert all(bool(torch.isfinite(weight).all()) for weight in found.weights.values())


def test_a_picture_that_breaks_a_run_leaves_what_was_trained(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Torn(Dimmed):
        left = 2  # make a step

        def draw(self, batch: int, dice: Dice) -> Pairs:
            if self.left == 0:
                raise ValueError("a.png cannot be read as a picture")
            self.left -= 1
            return super().draw(batch, dice)

    torn = Torn()
    monkeypatch.setattr(training_run, "make_sources", lambda data, cache, device: (torn, Dimmed()))
    run = [str(recipe_file), "--device", "cpu", "-o", str(tmp_path / "run")]
    assert main(run) == 3
    assert "a.png cannot be read as a picture; saved after 1 steps, continue with --resume" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run").facts["steps"] == 1
    assert main([*run[:-1], str(tmp_path / "other")]) == 3
    assert "a.png cannot be read as a picture; nothing was trained" in capsys.readouterr().out


def test_a_full_disk_ends_a_run_in_one_line(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert main([str(recipe_file), "--device", "cpu", "-o", str(tmp_path / "run")]) == 3
    told = capsys.readouterr().out
    assert "model.safetensors cannot be written: Error while serializing: I/O error: No space left" in told
    assert "its 4 steps could not be saved" in told
    assert not list((tmp_path / "run").glob("*.safetensors*"))


def test_an_output_that_is_a_file_is_refused(recipe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(recipe_file), "--device", "cpu", "-o", str(recipe_file)]) == 2
    assert f"{recipe_file} is a file; --output takes a folder" in capsys.readouterr().out


def test_validation_measures_whole_pictures(tmp_path: Path) -> None:
    network = Trainer(RECIPE, torch.device("cpu")).network.eval()
    picture = np.full((20, 12, 3), 100, np.uint8)
    pairs = Dimmed().draw(2, dice())
    found = Validation(SPEC, pairs, [Example("a", picture, picture + 5)]).measure(network)
    assert found["pairs_psnr"] == pytest.approx(34.15, abs=0.01)
    assert found["pairs_psnr_mean_matched"] > 60
