"""A location's words lead to a store, or are refused with what is allowed."""

import sys
from pathlib import Path

import pytest

from service.bulk.folder import Folder
from service.bulk.locations import open_store
from service.bulk.stores import StoreError


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    assert isinstance(open_store(str(tmp_path)), Folder)
    with pytest.raises(StoreError) as missing:
        open_store(str(tmp_path / "none"))
    assert missing.value.fatal
    assert isinstance(open_store(str(tmp_path / "none"), may_create=True), Folder)


@pytest.mark.parametrize("location", ["ftp://host/x", "https://host/x", "://x"])
def test_another_scheme_is_refused_with_the_list(location: str) -> None:
    with pytest.raises(StoreError, match="expected a folder, or s3, gs, az") as refused:
        open_store(location)
    assert refused.value.fatal


def test_without_obstore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "service.bulk.object_store", raising=False)
    with pytest.raises(StoreError, match=r"s3:// needs the package obstore; install it with pip install 'rddm-serve\[objects\]'"):
        open_store("s3://bucket/prefix")
