"""A picture's analysis: what is measured, how probable each fault is, and the plan."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from rddm.faults import PERCENTILES, PixelFacts, facts_of, views_of
from rddm.image import Pixels
from service.analysis.classifier import Classifier
from service.analysis.plan import CERTAIN, CERTAIN_QUALITY, planned
from service.pictures.picture import Picture


@dataclass(frozen=True)
class Analysis:
    """facts: numbers by name, as `described` gives them. probabilities: of faults, 0..1. plan: tasks in order."""

    facts: dict[str, Any]
    probabilities: dict[str, float]
    plan: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        rounded = {fault: round(value, 4) for fault, value in self.probabilities.items()}
        return {"facts": self.facts, "probabilities": rounded, "plan": list(self.plan)}


def analyse(picture: Picture, classifier: Classifier, tasks: Collection[str]) -> Analysis:
    """The analysis of a decoded picture; tasks: those that can be planned."""
    facts, probabilities = faults_of(picture.pixels, classifier)
    quality = picture.compression
    if quality is not None and quality <= CERTAIN_QUALITY:
        probabilities["jpeg"] = CERTAIN
    return Analysis(described(picture, facts), probabilities, planned(probabilities, classifier.thresholds, tasks))


def faults_of(pixels: Pixels, classifier: Classifier) -> tuple[PixelFacts, dict[str, float]]:
    """What pixels h w 3 alone tell: facts, and the probability of each fault."""
    views = views_of(eight_bits(pixels))
    facts = facts_of(views)
    return facts, classifier.probabilities(views, facts)


def plan_of_shot(frames: Sequence[Pixels], classifier: Classifier, tasks: Collection[str]) -> tuple[str, ...]:
    """The plan for all frames of a shot, by the mean probabilities of some of them (h w 3 each)."""
    known = [faults_of(pixels, classifier)[1] for pixels in frames]
    means = {fault: fmean(probabilities[fault] for probabilities in known) for fault in known[0]}
    return planned(means, classifier.thresholds, tasks)


def described(picture: Picture, facts: PixelFacts) -> dict[str, Any]:
    """The facts by name: those of the file, then those of its pixels (rddm.faults.PixelFacts)."""
    height, width = picture.pixels.shape[:2]
    return {
        "width": width,
        "height": height,
        "jpeg_quality": picture.compression,
        "exposure_ev": None if picture.exposure is None else round(picture.exposure, 1),
        "luma_percentiles": {str(at): round(value, 1) for at, value in zip(PERCENTILES, facts.percentiles, strict=True)},
        "mean": round(facts.mean, 3),
        "dark_channel": round(facts.dark_channel, 3),
        "noise": [round(value, 2) for value in facts.noise],
        "coloured_grain": round(facts.coloured_grain, 2),
        "blocks": round(facts.blocks, 2),
    }


def eight_bits(pixels: Pixels) -> Pixels:
    """Pixels of 16 bits by their upper 8."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
