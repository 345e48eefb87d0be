#!/usr/bin/env bash
# pillow-heif 1.4.0 documents four options for the code points of a HEIC file: color_primaries, transfer_characteristic,
# matrix_coefficients and full_range_flag. Its code reads transfer_characteristics, with an s. The documented name is passed over
# without a word, so a picture saved as PQ (16) in BT.2020 is written as sRGB (13) in BT.2020, and shown with a wrong curve.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pillow-heif==1.4.0 pillow==13.0.0
"$work/venv/bin/python" -W error - <<'PY'
import io

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
print("pillow-heif", pillow_heif.__version__, "libheif", pillow_heif.libheif_version())
documented = pillow_heif.HeifFile.save.__doc__
assert "``transfer_characteristic``" in documented and "transfer_characteristics``" not in documented


def written(**options):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 30)).save(file, "HEIF", color_primaries=9, matrix_coefficients=9, **options)
    points = Image.open(io.BytesIO(file.getvalue())).info["nclx_profile"]
    return points["color_primaries"], points["transfer_characteristics"], points["matrix_coefficients"]


as_documented, as_read = written(transfer_characteristic=16), written(transfer_characteristics=16)
print("primaries, transfer, matrix with the documented transfer_characteristic=16:", as_documented)
print("primaries, transfer, matrix with transfer_characteristics=16:", as_read)
assert as_documented == (9, 13, 9) and as_read == (9, 16, 9)
PY
