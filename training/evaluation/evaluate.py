"""`rddm evaluate`: how good a model is on pictures of one's own, by every measure that is usual for its task.

    rddm evaluate runs/lol --target val/target --given val/input --size 256 --steps 2 -o report
    rddm evaluate runs/lol --split docs/models/splits.toml --set lowlight --part choose --data DATA -o report

MODEL is a checkpoint folder, a model of the repository (its folder, a version's folder or model.onnx).
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from rddm.condition import restore_whole
from rddm.graph import FILE as GRAPH
from rddm.graph import SPEC_KEY, GraphCall
from rddm.image import enlarged, to_pixels
from rddm.schedule import CURVES, schedule_of, with_curves
from rddm.spec import Curve, Method, ModelSpec, TableSchedule
from training.checkpoint import SPEC, build, check_folder, load_checkpoint, newest_graph
from training.data.file_lists import matched, to_listing
from training.data.pairs import Fit, read, resized
from training.evaluation.metrics import MEASURES, frechet_distance, imresize, inception_score, mae_lab
from training.evaluation.perceptual import INCEPTION, Inception, Lpips, find_weights, weights_folder
from training.evaluation.splits import PARTS, chosen_set, note_use
from training.pictures import Picture, in_rows, sheet, thumbnail
from training.sampling import as_graph, restore_picture

SHEET_ROWS, SHEET_SIDE = 12, 256
PROTOCOL_SIDE = 256
EQUAL = 100.0  # no other figure comes near it


@dataclass(frozen=True)
class Model:
    """A network in any form, called as the exported graph is, and what it is."""

    spec: ModelSpec
    network: GraphCall


def load_model(path: Path) -> Model:
    """A checkpoint folder, or a repository model: model.onnx, its version's folder or the folder above (newest version).

    Raises FileNotFoundError for a path that is none of them, ValueError for a graph without a spec.
    """
    if (path / SPEC).is_file():
        checkpoint = load_checkpoint(path)
        return Model(checkpoint.spec, as_graph(build(checkpoint)))
    graph = path if path.is_file() else newest_graph(path)
    if graph is None:
        raise FileNotFoundError(f"{path} holds neither {SPEC} (a checkpoint) nor {GRAPH} (a model of the repository)")
    return _load_graph(graph)


def _load_graph(path: Path) -> Model:
    import onnxruntime  # noqa: PLC0415 (only models of the repository need it)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map
    if SPEC_KEY not in known:
        raise ValueError(f"{path} carries no spec under {SPEC_KEY!r}; it was not exported by this project")

    return Model(ModelSpec.model_validate_json(known[SPEC_KEY]), lambda feeds: session.run(None, dict(feeds)))


@dataclass(frozen=True)
class Example:
    """What the model is given and should answer; mask: h w 3, of the given's size.

    region: the mask as figures are measured with, perceived: the target as LPIPS sees it, where a protocol shrinks them otherwise.
    """

    name: str
    given: Picture
    target: Picture
    mask: Picture | None = None
    region: Picture | None = None
    perceived: Picture | None = None

    def inside(self) -> NDArray[np.bool_] | None:
        """Which pixels the mask selects, h w; None without a mask."""
        region = self.mask if self.region is None else self.region
        return None if region is None else region.max(axis=-1) > 0


def restored(model: Model, example: Example, steps: int | None, seed: int, method: Method | None = None) -> Picture:
    """The given picture restored whole, at its own size."""
    return restore_picture(model.network, model.spec, example.given, steps, seed, method, example.mask)


def shrunk(example: Example, preprocessing: Sequence[str] = ()) -> Example:
    """The authors' 256 x 256 protocol: what is given is padded, equalised where the model's spec says so, and squashed, as in
    training; the target and what is measured of the mask are shrunk by MATLAB's imresize, for LPIPS by Pillow. What was given is
    then prepared: no model may equalise it again.
    """
    fit = Fit("resize", PROTOCOL_SIDE, equalize="equalize_histogram" in preprocessing)
    group = [example.target, example.given] + ([] if example.mask is None else [example.mask])
    _, given, *mask = fit(group)
    region = None if example.mask is None else imresize(example.mask, PROTOCOL_SIDE, PROTOCOL_SIDE)
    return Example(
        example.name,
        given,
        target=imresize(example.target, PROTOCOL_SIDE, PROTOCOL_SIDE),
        mask=mask[0] if mask else None,
        region=region,
        perceived=resized(example.target, PROTOCOL_SIDE, PROTOCOL_SIDE),
    )


def measured(answer: Picture, example: Example, measures: Mapping[str, Callable[[Picture, Picture], float]]) -> dict[str, float]:
    """All figures of one picture; with a mask, the Lab error inside and outside it too."""
    figures = {name: measure(answer, example.target) for name, measure in measures.items()}
    if (inside := example.inside()) is not None:
        for name, region in (("mae_lab_inside", inside), ("mae_lab_outside", ~inside)):
            figures[name] = mae_lab(answer, example.target, region) if region.any() else float("nan")
    return figures


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over the pictures that have one (and no nan). Equal pictures count as EQUAL dB."""
    return {name: float(np.nanmean([min(row[name], EQUAL) for row in rows if name in row])) for name in rows[0]}


def pooled(rows: Sequence[Mapping[str, float]], masks: Sequence[NDArray[np.bool_]]) -> dict[str, float]:
    """The Lab error inside and outside the masks over the pixels of all pictures, ISTD's other mean: large shadows weigh more."""
    counts = {"mae_lab_inside": [mask.sum() for mask in masks], "mae_lab_outside": [(~mask).sum() for mask in masks]}
    return {
        name: float(np.nansum([row[name] * n for row, n in zip(rows, pixels, strict=True)]) / max(sum(pixels), 1))
        for name, pixels in counts.items()
    }


def examples(target: str, given: str, mask: str | None) -> list[tuple[Path, ...]]:
    """(target, given[, mask]) files, matched by name. Raises ValueError or FileNotFoundError for what does not fit."""
    return matched(*(to_listing(source) for source in (target, given, mask) if source is not None))


def read_example(group: tuple[Path, ...], scale: int = 1) -> Example:
    """The pictures of one group, what is given enlarged by a scale. Raises ValueError where it then has not the target's size."""
    target, given, *mask = (read(path) for path in group)
    given = enlarged(given, scale)
    if given.shape != target.shape:
        raise ValueError(f"{group[1]} is {given.shape[1]}x{given.shape[0]}, {group[0]} {target.shape[1]}x{target.shape[0]}")
    return Example(group[1].stem, given, target, mask[0] if mask else None)


def adjusted(spec: ModelSpec, args: argparse.Namespace) -> ModelSpec:
    """The spec with what the command line exchanges: eta, order, update, grid, inversion, schedules, method."""
    keys = ("eta", "order", "update", "grid", "sm_n_inversion", "method")
    changes = {key: value for key in keys if (value := getattr(args, key)) is not None}
    if args.alpha or args.beta2:
        schedule = with_curves(schedule_of(spec), _curve(args.alpha), _curve(args.beta2))
        table = TableSchedule(
            alpha_bar=tuple(schedule.alpha_bar.tolist()),
            beta_bar=tuple(schedule.beta_bar.tolist()),
            delta_bar=None if schedule.delta_bar is None else tuple(schedule.delta_bar.tolist()),
            sum_scale=spec.schedule.sum_scale,
        )
        changes["schedule"] = table
    return ModelSpec.model_validate({**spec.model_dump(), **changes})


def _curve(text: str | None) -> Curve | None:
    """`increased` or `increased:2`."""
    if text is None:
        return None
    name, _, exponent = text.partition(":")
    return Curve(name=name, exponent=float(exponent or 1))


class Report:
    """The rows, and what is written of them: per_image.csv, mean.json, sheet.png."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.strips = folder, [], []
        folder.mkdir(parents=True, exist_ok=True)

    rows: list[dict[str, float | str]]
    strips: list[list[Picture]]

    def add(self, name: str, figures: Mapping[str, float], pictures: Sequence[Picture]) -> None:
        """One picture's figures, and what the contact sheet shows of it."""
        self.rows.append({"name": name, **{key: round(value, 5) for key, value in figures.items()}})
        if len(self.strips) < SHEET_ROWS:
            self.strips.append([thumbnail(picture, SHEET_SIDE) for picture in pictures])

    def write(self, summary: Mapping[str, object]) -> None:
        """All files."""
        if self.rows:
            with (self.folder / "per_image.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
                writer.writeheader()
                writer.writerows(self.rows)
        if self.strips:
            Image.fromarray(sheet(self.strips)).save(self.folder / "sheet.png")
        (self.folder / "mean.json").write_text(json.dumps(summary, indent=2) + "\n")


def evaluate_restoration(
    model: Model, groups: Sequence[tuple[Path, ...]], args: argparse.Namespace, report: Report
) -> dict[str, object]:
    """Every group restored and measured; the sheet shows given, answer and target."""
    lpips = Lpips(args.weights) if args.lpips else None
    rows, before, masks, answers, targets = [], [], [], [], []
    preprocessing = model.spec.preprocessing
    if args.size == "256":
        model = replace(model, spec=model.spec.model_copy(update={"preprocessing": ()}))
    for group in track(groups, model.spec.name):
        example = read_example(group, model.spec.scale)
        example = shrunk(example, preprocessing) if args.size == "256" else example
        answer = restored(model, example, args.steps, args.seed, args.method)
        rows.append(measured(answer, example, MEASURES))
        if lpips is not None:
            rows[-1]["lpips"] = lpips.measure(answer, example.target if example.perceived is None else example.perceived)
        if (inside := example.inside()) is not None:
            masks.append(inside)
        before.append(measured(example.given, example, {"psnr_rgb": MEASURES["psnr_rgb"]}))
        report.add(example.name, rows[-1], (example.given, answer, example.target))
        if args.fid:
            answers.append(answer)
            targets.append(example.target)
    summary: dict[str, object] = {"pictures": len(rows), "mean": means(rows), "given_psnr_rgb": means(before)["psnr_rgb"]}
    summary["worst_psnr_rgb"] = min(min(row["psnr_rgb"], EQUAL) for row in rows)
    summary |= {"pooled": pooled(rows, masks)} if masks else {}
    return summary | (_distribution(answers, targets, args.weights) if args.fid else {})


def evaluate_generation(model: Model, reference: Sequence[Path], args: argparse.Namespace, report: Report) -> dict[str, object]:
    """`count` pictures, picture k from seed + k; FID and IS if asked for."""
    rows, columns = model.spec.image_size or (0, 0)
    pictures: list[Picture] = []
    for start in track(range(0, args.count, args.batch), model.spec.name):
        seeds = list(range(args.seed + start, args.seed + min(start + args.batch, args.count)))
        black = np.zeros((len(seeds), 3, rows, columns), np.float32)
        x_0 = restore_whole(model.network, model.spec, black, args.steps, seeds, args.method)
        pictures += [to_pixels(picture[None]).astype(np.uint8) for picture in x_0]
    shown = pictures[: min(len(pictures), 36) // 6 * 6]
    report.strips = [[thumbnail(picture, SHEET_SIDE) for picture in row] for row in in_rows(shown, 6)]
    summary: dict[str, object] = {"pictures": len(pictures)}
    return summary | (_distribution(pictures, [read(path) for path in reference], args.weights) if args.fid else {})


def _distribution(pictures: list[Picture], targets: list[Picture], weights: Path) -> dict[str, object]:
    """FID against the targets, and the inception score of the generated pictures."""
    inception = Inception(weights)
    features = [inception.features(part) for part in (pictures, targets)]
    return {"fid": frechet_distance(*features), "inception_score": inception_score(inception.probabilities(pictures))}


def parser() -> argparse.ArgumentParser:
    """The verb's arguments."""
    p = argparse.ArgumentParser(prog="rddm evaluate", description="Measure a checkpoint or a model of the repository on pictures.")
    p.add_argument("model", type=Path, help="a checkpoint's folder, a model's folder in the repository, or model.onnx")
    p.add_argument("--data", type=Path, metavar="DIR", help="holds target/, input/ and perhaps mask/: the three below at once")
    p.add_argument("--target", help="what should come out: a folder, list file or glob pattern (for generation: FID's reference)")
    p.add_argument("--given", help="what is restored; matched with the targets by name")
    p.add_argument("--mask", help="for models that take a mask, and to measure inside and outside of it")
    split = p.add_argument_group("a part of a set (docs/models/splits.toml); --data is then the folder that its paths begin in")
    split.add_argument("--split", type=Path, metavar="FILE", help="which pictures choose weights, and which report")
    split.add_argument("--set", help="the set in it")
    split.add_argument("--part", choices=PARTS, default="choose", help="default: %(default)s")
    split.add_argument("--reason", help="why the report part is used: a line of report-uses.tsv beside FILE")
    p.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    p.add_argument(
        "--size", choices=["full", "256"], default="full", help="own size, or the authors' 256x256 (default: %(default)s)"
    )
    p.add_argument("--limit", type=int, help="only the first so many pictures")
    _add_sampling(p.add_argument_group("sampling (default: as the model's spec says)"))
    p.add_argument("--count", type=int, default=36, help="how many pictures a generator draws (default: %(default)s)")
    p.add_argument("--batch", type=int, default=16, help="how many of them at a time (default: %(default)s)")
    p.add_argument("--lpips", action="store_true", help="LPIPS too (needs its weights on disk)")
    p.add_argument("--fid", action="store_true", help="FID and IS too (needs the Inception network on disk)")
    p.add_argument("--weights", type=Path, default=weights_folder(), help="where those weights are (default: %(default)s)")
    p.add_argument("--threads", type=int, help="CPU threads (default: all)")
    return p


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    allowed = {name: get_args(ModelSpec.model_fields[name].annotation) for name in ("order", "update", "grid", "sm_n_inversion")}
    group.add_argument("--steps", type=int, help="network calls")
    group.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    group.add_argument("--method", choices=get_args(Method))
    group.add_argument("--eta", type=float, help="noise added back in each step, 0..1")
    for name, values in allowed.items():
        group.add_argument(f"--{name.replace('_', '-')}", choices=values)
    group.add_argument("--alpha", metavar="NAME[:EXPONENT]", help=f"another alpha schedule: {', '.join(CURVES)}")
    group.add_argument("--beta2", metavar="NAME[:EXPONENT]", help="another beta^2 schedule, of the same names")


def main(argv: list[str]) -> int:
    """Measure a model on your own pictures: PSNR, SSIM, Lab error, LPIPS, FID. 2 for what cannot be measured."""
    args = parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        check_folder(args.output)
        if args.split is None:
            _find_data(args)
        summary = _evaluate(args)
    except (ValueError, FileNotFoundError) as error:
        print(f"rddm evaluate: {error}", file=sys.stderr)
        return 2
    print(json.dumps(summary, indent=2))
    return 0


def _find_data(args: argparse.Namespace) -> None:
    """Turns --data into the folders in it that were not named themselves. Raises FileNotFoundError where it lacks target/."""
    if args.data is None:
        return
    if args.target is None and not (args.data / "target").is_dir():
        raise FileNotFoundError(f"--data {args.data} holds no folder target/; expected target/, input/ and perhaps mask/")
    for option, name in (("target", "target"), ("given", "input"), ("mask", "mask")):
        if getattr(args, option) is None and (args.data / name).is_dir():
            setattr(args, option, str(args.data / name))


def _evaluate(args: argparse.Namespace) -> dict[str, object]:
    if args.fid:
        find_weights(INCEPTION, args.weights)  # before hours of sampling
    model = load_model(args.model)
    model = Model(adjusted(model.spec, args), model.network)
    facts: dict[str, object] = {"model": model.spec.name, "size": args.size, "steps": args.steps or model.spec.default_steps}
    report = Report(args.output)
    if model.spec.generates:
        reference = list(to_listing(args.target).files.values()) if args.target else []
        if args.fid and not reference:
            raise ValueError("--fid needs --target, the pictures that generated ones are compared with")
        summary = facts | evaluate_generation(model, reference, args, report)
    else:
        groups = _groups(args, model.spec.name)[: args.limit]
        summary = facts | evaluate_restoration(model, groups, args, report)
    report.write(summary)
    if args.split is not None and args.part == "report":
        note_use(args.split, str(args.model), f"{args.set}.report", summary["pictures"], args.reason, summary["mean"])
    return summary


def _groups(args: argparse.Namespace, name: str) -> list[tuple[Path, ...]]:
    """The files that the arguments name. Raises ValueError for arguments that name none, or a report without a reason."""
    if args.split is not None:
        if args.data is None or args.set is None:
            raise ValueError("--split needs --data, the folder that its paths begin in, and --set")
        if args.part == "report" and not (args.reason or "").strip():
            raise ValueError("--part report needs --reason: it is measured when a model is final, and each use is noted")
        groups = chosen_set(args.split, args.set).groups(args.part, args.data)
        if not groups:
            raise ValueError(f"set {args.set!r} has no pictures to {args.part}")
        return groups
    if not args.target or not args.given:
        raise ValueError(f"{name} restores: name --data, or --target and --given")
    return examples(args.target, args.given, args.mask)
