#!/usr/bin/env bash
# object_store (by obstore 0.12.1) sends names of user metadata as they are. S3 takes a name with a hyphen and gives it back. Azure's
# names are identifiers of C#: Azurite 3.35 refuses the whole write with 400 InvalidMetadata. object_store does not look at names
# beforehand, and its GenericError does not say which name it was. A name without hyphens is taken by both.
# Needs node and npm.
set -euo pipefail
work=$(mktemp -d); azurite=
trap '[ -z "$azurite" ] || kill "$azurite"; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit azurite@3.35.0
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check obstore==0.12.1 azure-storage-blob==12.28.0 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5
node node_modules/azurite/dist/src/blob/main.js --blobPort 0 --inMemoryPersistence --skipApiVersionCheck --disableTelemetry >azurite.log &
azurite=$!
for _ in $(seq 100); do grep -q listens azurite.log && break; sleep 0.2; done
AZURITE=$(sed -n 's/.*listens on //p' azurite.log) venv/bin/python - <<'PY'
import logging
import os
import re
from importlib.metadata import version

import boto3
import obstore
from azure.storage.blob import ContainerClient
from moto.server import ThreadedMotoServer
from obstore.store import AzureStore, S3Store

logging.getLogger("werkzeug").setLevel(logging.ERROR)
print("obstore", version("obstore"), "azurite 3.35.0", "moto", version("moto"))
ACCOUNT = "devstoreaccount1"  # Azurite's own, with the key that its documentation gives
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
address = f"{os.environ['AZURITE']}/{ACCOUNT}"
ContainerClient(address, "pictures", credential={"account_name": ACCOUNT, "account_key": KEY}).create_container()
azure = AzureStore("pictures", account_name=ACCOUNT, account_key=KEY, endpoint=address, client_options={"allow_http": True})

server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
access = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
boto3.client("s3", endpoint_url=f"http://{host}:{port}", **access).create_bucket(Bucket="pictures")
s3 = S3Store(
    "pictures", endpoint=f"http://{host}:{port}", access_key_id="key", secret_access_key="secret", region="us-east-1",
    client_options={"allow_http": True},
)


def answer(store, name):
    try:
        obstore.put(store, "picture.txt", b"hello", attributes={name: "x"}, mode="overwrite")
    except obstore.exceptions.GenericError as error:
        code = re.search(r"<Code>(\w+)</Code>", str(error))
        return f"{'400 Bad Request' in str(error) and 400} {code and code[1]}, {'names' if name in str(error) else 'does not name'} it"
    return "kept" if dict(obstore.get(store, "picture.txt").attributes).get(name) == "x" else "lost"


answers = {(kind, name): answer(store, name) for kind, store in (("S3", s3), ("Azure", azure)) for name in ("rainrecipe", "rain-recipe")}
for (kind, name), value in answers.items():
    print(kind, name, value)
server.stop()
assert answers["S3", "rainrecipe"] == answers["S3", "rain-recipe"] == answers["Azure", "rainrecipe"] == "kept"
assert answers["Azure", "rain-recipe"] == "400 InvalidMetadata, does not name it"
PY
