"""rddm convert: a spec in the form of another method that makes the same pictures."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from rddm.equivalence import NETWORKS, convert
from rddm.relatives import RELATIVES, relative_spec
from rddm.spec import ModelSpec
from service.cli.arguments import path
from service.cli.verb import Refused, run_verb
from service.cli.work.files import write_whole
from service.engines.configuration import FILE, read_config, to_models


def convert_spec(argv: Sequence[str]) -> int:
    """Write a model's spec in the form of another method, where both make the same pictures."""
    return run_verb(_convert, argv)


def _parser() -> argparse.ArgumentParser:
    methods = "\n".join(f"  {name:<17} {relative.paper}\n{'':<20}{relative.formula}" for name, relative in RELATIVES.items())
    parser = argparse.ArgumentParser(
        prog="rddm convert",
        description="Writes a spec in the form of another method; refused where the pictures would differ.",
        epilog=f"methods:\n{methods}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC", help="a spec's JSON file, a model's folder in a repository, or a method's name")
    parser.add_argument("--to", required=True, choices=sorted(RELATIVES), metavar="METHOD", help="the method, see below")
    parser.add_argument("-o", "--output", type=path, metavar="OUT", help="JSON file to write (standard output)")
    return parser


def _convert(argv: Sequence[str]) -> int:
    given = _parser().parse_args(argv)
    spec = read_spec(given.spec)
    try:
        conversion = convert(spec, given.to)
    except ValueError as refused:
        raise Refused(str(refused)) from refused
    text = conversion.spec.model_dump_json(indent=2) + "\n"
    if given.output is None:
        print(text, end="")
    else:
        write_whole(given.output, text.encode())
    print(
        f"{spec.name} as {given.to}: largest difference over {NETWORKS} random networks {conversion.difference:.1e}",
        file=sys.stderr,
    )
    return 0


def read_spec(source: str) -> ModelSpec:
    """The spec of a JSON file, of the newest version in a model's folder, or of a method. Raises Refused for anything else."""
    place = Path(source)
    if not place.exists() and source in RELATIVES:
        return relative_spec(source, name=source, task="example", licence="none", image_size=(64, 64))
    try:
        if place.is_dir():
            models = to_models(read_config(place / FILE))
            return models[max(models)].spec
        return ModelSpec.model_validate_json(place.read_text(encoding="utf-8"))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise Refused(f"{source} holds no spec: {'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].lower()}") from wrong
    except (OSError, UnicodeDecodeError, ValueError) as wrong:
        raise Refused(
            f"{source} cannot be read as a spec; expected JSON, a model's folder, or one of {sorted(RELATIVES)}: {wrong}"
        ) from wrong
