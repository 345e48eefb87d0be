#!/usr/bin/env bash
# Three things that PyAV 18.1 loses or refuses when packets are copied into a new file:
# - add_stream_from_template of an AV1 track raises UnknownCodecError (it asks for an encoder named as the decoder, libdav1d);
#   with opaque=True it works.
# - The pixel aspect set on an encoder never reaches the stream: Matroska, NUT and AVI lose it with FFV1, which has no place for it.
# - A first frame later than 0 moves in MP4, since the empty edit counts in movie ticks of 1/1000 s; option movie_timescale mends it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - 2>/dev/null <<'PY'
import av, numpy as np
from fractions import Fraction

print("PyAV", av.__version__, "FFmpeg", av.ffmpeg_version_info)

def write(path, codec, container, times=(0, 3750, 7500), **options):
    with av.open(path, "w", format=container, container_options=options) as file:
        stream = file.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        stream.codec_context.max_b_frames = 0
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for pts in times:
            frame = av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 90000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())

write("a.mp4", "libsvtav1", "mp4")
with av.open("a.mp4") as source, av.open("b.mp4", "w") as target:
    try:
        target.add_stream_from_template(source.streams.video[0])
        refused = "nothing"
    except Exception as error:
        refused = type(error).__name__
with av.open("a.mp4") as source, av.open("b.mp4", "w") as target:
    stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
    for packet in source.demux(video=0):
        if packet.size:
            packet.stream = stream
            target.mux(packet)
print("an AV1 template raises", refused, "and with opaque=True works")

aspects = {}
for container in ("matroska", "nut", "avi"):
    write("c", "ffv1", container)
    with av.open("c") as file:
        aspects[container] = file.streams.video[0].sample_aspect_ratio
print("aspect of FFV1, set to 4:3:", aspects)

moved = {}
for name, options in (("default", {}), ("movie_timescale", {"movie_timescale": "90000"})):
    write("d.mp4", "libx264", "mp4", times=(3000, 6750), **options)
    with av.open("d.mp4") as file:
        moved[name] = [int(frame.pts * frame.time_base * 90000) for frame in file.decode(video=0)]
print("frames written at 3000 and 6750 ticks of 1/90000 s come back at", moved)
assert refused == "UnknownCodecError"
assert set(aspects.values()) <= {None, Fraction(0)}
assert moved["movie_timescale"] == [3000, 6750] and moved["default"] != [3000, 6750]
PY
