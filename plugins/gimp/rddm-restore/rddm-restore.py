#!/usr/bin/env python3
"""A plug-in of GIMP 3: the layer, restored by a running gateway, as a new layer above it. Standard library and GIMP only.

The layer is sent as a PNG of the image's own depth and profile. A selection becomes the mask of the new layer.
"""

import json
import os
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp, Gio, GLib, GObject  # noqa: E402

NAME = "plug-in-rddm-restore"
SERVER = "http://127.0.0.1:8000"
SECONDS = 330
LONGEST_ANSWER = 1 << 30  # bytes


class RefusedError(Exception):
    """What the gateway, or the way to it, says against a restoration, in words."""


def restore(server: str, picture: bytes, task: str, steps: int, key: str | None) -> bytes:
    """The restored PNG. task: a model's name or task, "" for the gateway's default; steps: 0 for the model's own number."""
    if urllib.parse.urlsplit(server).scheme not in {"http", "https"}:
        raise RefusedError(f"the server {server!r} is no address; expected http://... or https://...")
    query = {"format": "png", "metadata": "keep"} | ({"task": task} if task else {}) | ({"steps": steps} if steps else {})
    headers = {"Content-Type": "image/png", "Accept": "image/png"} | ({"Authorization": f"Bearer {key}"} if key else {})
    address = f"{server.rstrip('/')}/restore?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(address, picture, headers)  # noqa: S310  the scheme was looked at
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return answer.read(LONGEST_ANSWER)
    except urllib.error.HTTPError as refused:
        raise RefusedError(_problem(refused)) from refused
    except (urllib.error.URLError, OSError) as error:
        raise RefusedError(f"{server} does not answer ({getattr(error, 'reason', error)}); is `rddm serve` running?") from error


def _problem(refused: urllib.error.HTTPError) -> str:
    """The detail of a problem document, or the status where there is none."""
    try:
        return str(json.loads(refused.read(1 << 16))["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {refused.code} {refused.reason}"


def layer_as_png(image: "Gimp.Image", layer: "Gimp.Drawable", path: Path) -> None:
    """The layer alone, at its own size, written to the path."""
    alone = Gimp.Image.new_with_precision(layer.get_width(), layer.get_height(), image.get_base_type(), image.get_precision())
    try:
        alone.set_color_profile(image.get_effective_color_profile())
        copy = Gimp.Layer.new_from_drawable(layer, alone)
        alone.insert_layer(copy, None, 0)
        copy.set_offsets(0, 0)
        copy.set_visible(True)
        Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, alone, Gio.File.new_for_path(str(path)), None)
    finally:
        alone.delete()


def add_above(image: "Gimp.Image", layer: "Gimp.Drawable", path: Path) -> None:
    """The file as a new layer above the layer, where that lies; a selection is its mask."""
    _, x, y = layer.get_offsets()
    restored = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(path)))
    restored.set_name(f"{layer.get_name()}, restored")
    image.undo_group_start()
    try:
        image.insert_layer(restored, layer.get_parent(), image.get_item_position(layer))
        restored.set_offsets(x, y)
        if not Gimp.Selection.is_empty(image):
            restored.add_mask(restored.create_mask(Gimp.AddMaskType.SELECTION))
    finally:
        image.undo_group_end()


class RestorePlugIn(Gimp.PlugIn):
    """Registers one procedure, which the menu and scripts call."""

    def do_query_procedures(self) -> list[str]:
        """See Gimp.PlugIn."""
        return [NAME]

    def do_set_i18n(self, _name: str) -> bool:
        """There are no translations."""
        return False

    def do_create_procedure(self, name: str) -> "Gimp.Procedure":
        """See Gimp.PlugIn."""
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, self.run, None)
        procedure.set_image_types("RGB*, GRAY*")
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE)
        procedure.set_menu_label("_Restore (RDDM)...")
        procedure.add_menu_path("<Image>/Filters/Enhance/")
        words = "The layer, restored by a running gateway of RDDM Serve, as a new layer"
        procedure.set_documentation(words, "Dark, rainy, hazy photographs and drops on the lens; see `rddm serve`.", name)
        procedure.set_attribution("RDDM Serve", "RDDM Serve", "2026")
        both = GObject.ParamFlags.READWRITE
        procedure.add_string_argument("server", "_Server", "Where the gateway answers", SERVER, both)
        tasks = "auto, clean, lowlight, derain, raindrop, dehaze; empty: the default model"
        procedure.add_string_argument("task", "_Task", tasks, "", both)
        procedure.add_int_argument("steps", "Ste_ps", "Network calls; 0: as many as the model likes", 0, 1000, 0, both)
        return procedure

    def run(self, procedure, run_mode, image, drawables, config, _data) -> "Gimp.ValueArray":
        """One layer; the image is changed only where everything went well."""
        if len(drawables) != 1:
            return _failed(procedure, f"{len(drawables)} layers are chosen; expected one")
        if run_mode == Gimp.RunMode.INTERACTIVE and not _asked(procedure, config):
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
        server, task, steps = (config.get_property(name) for name in ("server", "task", "steps"))
        Gimp.progress_init("Restoring")
        try:
            with tempfile.TemporaryDirectory(prefix="rddm-") as folder:
                sent, received = Path(folder, "layer.png"), Path(folder, "restored.png")
                layer_as_png(image, drawables[0], sent)
                received.write_bytes(restore(server, sent.read_bytes(), task, steps, os.environ.get("RDDM_API_KEY")))
                add_above(image, drawables[0], received)
        except (RefusedError, OSError, GLib.Error) as error:
            return _failed(procedure, getattr(error, "message", None) or str(error))
        Gimp.displays_flush()
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)


def _asked(procedure: "Gimp.Procedure", config: "Gimp.ProcedureConfig") -> bool:
    """Whether the dialog was confirmed; it fills the configuration."""
    gi.require_version("GimpUi", "3.0")
    from gi.repository import GimpUi  # noqa: PLC0415  needs a display

    GimpUi.init(NAME)
    dialog = GimpUi.ProcedureDialog.new(procedure, config, "Restore")
    dialog.fill(None)
    try:
        return dialog.run()
    finally:
        dialog.destroy()


def _failed(procedure: "Gimp.Procedure", words: str) -> "Gimp.ValueArray":
    return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(words))


if __name__ == "__main__":
    Gimp.main(RestorePlugIn.__gtype__, sys.argv)
