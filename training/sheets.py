"""A grid of what the averaged network makes during a run: given, restored and wanted pictures, or generated ones."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from rddm.spec import ModelSpec
from training.pictures import in_rows, sheet, to_pictures
from training.sampling import sample_with
from training.synthesis.draws import Pairs

ACROSS = 8


def grid(network: nn.Module, spec: ModelSpec, pairs: Pairs) -> NDArray[np.uint8]:
    """h w 3: restoration shows rows of given, restored and wanted; generation two rows of pictures, seeds 0, 1, ..."""
    first = slice(0, ACROSS)
    given, target = pairs.given[first], pairs.target[first]
    if spec.generates:
        made = sample_with(network, spec, torch.zeros_like(torch.cat([given, given])))
        return sheet(in_rows(to_pictures(made), len(given)))
    context, mask = (None if part is None else part[first] for part in (pairs.context, pairs.mask))
    answer = sample_with(network, spec, given, context, mask=mask)
    return sheet([to_pictures(part) for part in (given, answer, target)])


def save_grid(path: Path, picture: NDArray[np.uint8]) -> None:
    """As PNG; the folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
