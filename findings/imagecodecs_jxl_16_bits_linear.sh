#!/usr/bin/env bash
# imagecodecs 2026.3.6 (libjxl 0.11.2) calls samples of more than 8 bits linear light: jpegxl_encode writes the profile RGB_D65_SRG_Rel_Lin
# beside the very numbers it was given, and has no option for another. Its own decoder gives the numbers back, so a round trip shows
# nothing; a reader that heeds the profile shows mid grey 128/255 as 188. 8-bit samples are called sRGB.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check imagecodecs==2026.3.6 pillow-jxl-plugin==1.3.8 pillow==13.0.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import io
import imagecodecs, numpy as np, pillow_jxl
from PIL import Image, ImageCms

print("imagecodecs", imagecodecs.__version__, imagecodecs.jpegxl_version())

def written(grey):
    data = imagecodecs.jpegxl_encode(grey, lossless=True)
    picture = Image.open(io.BytesIO(data))
    profile = ImageCms.getOpenProfile(io.BytesIO(picture.info["icc_profile"]))
    shown = ImageCms.profileToProfile(picture.convert("RGB"), profile, ImageCms.createProfile("sRGB"))
    return ImageCms.getProfileDescription(profile).strip(), shown.getpixel((0, 0))[0], imagecodecs.jpegxl_decode(data)[0, 0, 0]

eight = written(np.full((16, 16, 3), 128, np.uint8))
sixteen = written(np.full((16, 16, 3), 128 * 257, np.uint16))
print("8 bits: profile, shown as, read back:", *eight)
print("16 bits: profile, shown as, read back:", *sixteen)
assert eight[0] == "sRGB" and eight[1] == 128
assert sixteen[0].endswith("Lin") and 186 <= sixteen[1] <= 189 and sixteen[2] == 128 * 257
PY
