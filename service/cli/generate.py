"""rddm generate: pictures out of noise."""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from service.cli.arguments import add_server, add_steps, add_writing, place
from service.cli.verb import local_settings, parameters_of, run_verb
from service.cli.work.backends import open_backend
from service.cli.work.files import SUFFIX_OF, format_of, is_folder, write_whole
from service.cli.work.output import display, summary_of
from service.pictures.formats import FORMATS
from service.restoration.parameters import GenerateParameters
from service.settings import Settings


def generate(argv: Sequence[str]) -> int:
    """Generate pictures out of noise."""
    return run_verb(_generate, argv)


def _generate(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="rddm generate", description="Generates pictures; picture k of n is what seed + k gives alone."
    )
    parser.add_argument(
        "-o",
        "--output",
        type=place,
        default="generated.png",
        metavar="OUT",
        help="file, or folder for generated.png; with -n a number is put into its name",
    )
    parser.add_argument("--model", help="see `rddm models` (the first that generates)")
    add_steps(parser)
    parser.add_argument("--seed", type=int, help="random if absent, and shown")
    parser.add_argument("-n", type=int, help="how many (1)")
    parser.add_argument("--grid", action="store_true", help="one picture with all of them")
    parser.add_argument("--format", choices=list(FORMATS), help="of the files (by OUT's name, else png)")
    add_writing(parser, restores=False)
    add_server(parser)
    given = parser.parse_args(argv)
    parameters = parameters_of(
        GenerateParameters,
        **{name: getattr(given, name) for name in ("model", "steps", "seed", "n", "grid", "quality", "lossless")},
        format=format_of(given.output, given.format),
    )
    name = f"generated{SUFFIX_OF[parameters.format or 'png']}"
    output = Path(given.output, name) if is_folder(given.output) else Path(given.output)
    settings = local_settings(given.server, given.model_repository)
    return asyncio.run(_generate_all(parameters, output, given.server, given.key, settings))


async def _generate_all(
    parameters: GenerateParameters, output: Path, server: str | None, key: str | None, settings: Callable[..., Settings]
) -> int:
    with display("generating") as shown:
        async with open_backend(server, key, settings, parameters) as backend:
            pictures = await backend.generate(parameters)
        for number, picture in enumerate(pictures):
            target = output if len(pictures) == 1 else output.with_stem(f"{output.stem}-{number}")
            write_whole(target, picture.body)
            shown.tell(f"{target}  {summary_of(picture)}")
    return 0
