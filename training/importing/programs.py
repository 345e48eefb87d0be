"""torch.export programs (.pt2) as ONNX graphs."""

import pickle
import warnings
from pathlib import Path
from zipfile import BadZipFile

import onnx
import torch

UNREADABLE = (RuntimeError, ValueError, OSError, EOFError, KeyError, BadZipFile, pickle.UnpicklingError)


def to_onnx(path: Path) -> onnx.ModelProto:
    """The program's graph, its free axes free. Raises ValueError for a file that is no program of torch.export."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
    except UNREADABLE as error:
        raise ValueError(f"{path} is no torch.export program: {str(error).splitlines()[0]}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    model: onnx.ModelProto = exported.model_proto  # type: ignore[union-attr]
    return model
