#!/usr/bin/env bash
# A form's part with "Content-Transfer-Encoding: base64", as a MIME library makes it (here the standard library's email package):
# - Starlette's request.form() takes no notice of it: the file is the base64 letters.
# - FormParser of python-multipart, on whose lower half Starlette parses, undoes base64 in one line, but not in lines of 76
#   letters, as RFC 2045 requires and every MIME library writes: DecodeError, as it counts the line breaks as letters.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check starlette==1.10.0 python-multipart==0.0.34
cd "$work"
"$work/venv/bin/python" - <<'PY'
import asyncio
import base64
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.policy import HTTP
from importlib.metadata import version

from python_multipart.exceptions import DecodeError
from python_multipart.multipart import FormParser, parse_options_header
from starlette.requests import Request

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
form, part = MIMEMultipart("form-data"), MIMEImage(PICTURE, "png")
part.add_header("Content-Disposition", "form-data", name="image", filename="a.png")
form.attach(part)
head, _, folded = form.as_bytes(policy=HTTP).partition(b"\r\n\r\n")
content_type = form["Content-Type"].replace("\n", "").encode()
_, options = parse_options_header(content_type)
lines = base64.encodebytes(PICTURE).replace(b"\n", b"\r\n").rstrip()
assert part["Content-Transfer-Encoding"] == "base64" and lines in folded
in_one_line = folded.replace(lines + b"\r\n", base64.b64encode(PICTURE))

async def by_starlette(body):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "headers": [(b"content-type", content_type)]}, receive)
    return await (await request.form())["image"].read()

def by_form_parser(body):
    files = []
    parser = FormParser("multipart/form-data", None, files.append, boundary=options[b"boundary"])
    try:
        parser.write(body)
        parser.finalize()
    except DecodeError as error:
        return str(error)
    files[0].file_object.seek(0)
    return files[0].file_object.read()

print("starlette", version("starlette"), "python-multipart", version("python-multipart"))
letters = asyncio.run(by_starlette(in_one_line))
print("Starlette gives the letters:", letters[:24])
print("FormParser, base64 in one line: the picture:", by_form_parser(in_one_line) == PICTURE)
refusal = by_form_parser(folded)
print("FormParser, base64 in lines of 76:", refusal)
assert letters == base64.b64encode(PICTURE) and asyncio.run(by_starlette(folded)).rstrip() == lines
assert by_form_parser(in_one_line) == PICTURE
assert isinstance(refusal, str)
PY
