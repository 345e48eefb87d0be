"""rddm models: what can be served; load and unload."""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from service.cli.arguments import add_server
from service.cli.verb import Refused, local_settings, run_verb, settings_of
from service.cli.work.backends import open_backend
from service.settings import Settings

LINE = 1000  # a table's line is as long as its words: a terminal breaks it, a pipe takes it whole


def models(argv: Sequence[str]) -> int:
    """List the models: task, steps, sizes, licence, digest; load and unload them on a running gateway."""
    return run_verb(_models, argv)


def _models(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="rddm models", description="Lists the models that can be used, or loads and unloads one on a running gateway."
    )
    parser.add_argument("action", nargs="?", choices=["load", "unload", "reload"], help="what to do with NAME; list all if absent")
    parser.add_argument("name", nargs="?", metavar="NAME", help="load and reload take its newest version on disk")
    add_server(parser)
    given = parser.parse_args(argv)
    if given.action is None:
        return _show_models(given.server, given.key, local_settings(given.server, given.model_repository))
    if given.name is None:
        raise Refused(f"{given.action} what? Expected rddm models {given.action} NAME")
    from service.client import Client  # noqa: PLC0415 (imports httpx2, which a list of this machine's models does not need)

    with Client(given.server or f"http://127.0.0.1:{settings_of().port}", api_key=given.key) as client:
        done = client.unload(given.name) if given.action == "unload" else client.load(given.name)
    print(f"{done.name}  version {done.version}  {done.digest[:8]}  {'loaded' if done.loaded else 'unloaded'}")
    return 0


def _show_models(server: str | None, key: str | None, settings: Callable[..., Settings]) -> int:
    table = Table("name", "task", "aliases", "kind", "version", "steps", "size", "licence", "digest", box=None, pad_edge=False)
    for facts in asyncio.run(_list_models(server, key, settings)):
        steps, size = facts["steps"], facts["size"]["image_size"]
        table.add_row(
            *(facts["name"], facts["task"], " ".join(facts["aliases"]) or "-", facts["kind"], str(facts["version"])),
            f"{steps['default']} ({steps['min']}..{steps['max']})",
            f"{size[1]}x{size[0]}" if size else "any",
            *(facts["licence"], facts["digest"][:8]),
        )
    Console(width=LINE).print(table)
    return 0


async def _list_models(server: str | None, key: str | None, settings: Callable[..., Settings]) -> list[dict[str, Any]]:
    async with open_backend(server, key, settings) as backend:
        return await backend.models()
