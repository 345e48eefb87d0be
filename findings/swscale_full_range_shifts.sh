#!/usr/bin/env bash
# libswscale 9.5 (FFmpeg 8.1, PyAV 18.1) with its exact flags keeps limited-range luma to the bit, but writes full-range chroma half a
# level low (8 bits: textured pictures by -0.5; 10 bits: neutral grey is 511, not 512) and 10-bit full-range luma 1.5 levels high.
# Tagging an encoder's stream converts nothing. So full range has to be converted by hand.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import av, numpy as np
from av.video.reformatter import Interpolation as I, VideoReformatter

print("PyAV", av.__version__, "libswscale", av.library_versions["libswscale"])
EXACT = int(I.BICUBIC | I.ACCURATE_RND | I.FULL_CHR_H_INT | I.FULL_CHR_H_INP)

def convert(frame, to, source, target):
    return VideoReformatter().reformat(frame, format=to, src_colorspace=1, dst_colorspace=1, src_color_range=source,
                                       dst_color_range=target, interpolation=EXACT, threads=1)

def planes(frame, kind):
    size = np.dtype(kind).itemsize
    return [np.frombuffer(memoryview(p), kind).reshape(p.height, p.line_size // size)[:, :p.width].astype(float) for p in frame.planes]

def shifts(layout, mid, kind, range_):
    y, x = np.mgrid[:96, :128]
    scale = 1 if kind == np.uint8 else 257
    rgb = np.stack([120 + 80 * np.sin(x / (9 + c)) * np.cos(y / (7 + c)) for c in range(3)], -1).astype(kind) * kind(scale)
    first = convert(av.VideoFrame.from_ndarray(rgb, mid), layout, 2, range_)
    again = convert(convert(first, mid, range_, 2), layout, 2, range_)
    return [round(float((b - a).mean()), 2) for a, b in zip(planes(first, kind), planes(again, kind))]

limited, full = shifts("yuv444p", "rgb24", np.uint8, 1), shifts("yuv444p", "rgb24", np.uint8, 2)
limited10, full10 = shifts("yuv444p10le", "rgb48le", np.uint16, 1), shifts("yuv444p10le", "rgb48le", np.uint16, 2)
grey = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 128 * 257, np.uint16), "rgb48le")
neutral = [int(p[8, 8]) for p in planes(convert(grey, "yuv444p10le", 2, 2), np.uint16)]
print("mean shift of Y, Cb, Cr in one round trip: limited", limited, "full", full, "limited 10 bits", limited10, "full 10 bits", full10)
print("mid grey in full-range 10 bits:", neutral)
assert limited == limited10 == [0, 0, 0]
assert abs(full[0]) < 0.1 and all(-0.7 < shift < -0.3 for shift in full[1:])
assert full10[0] > 1 and neutral[1:] == [511, 511]
PY
