"""From a location's words to the store there."""

from service.bulk.stores import Store, StoreError

SCHEMES = ("s3", "gs", "az")


def open_store(location: str, *, may_create: bool = False) -> Store:
    """The store at `location`: a folder, or s3://, gs:// or az:// with bucket and prefix.

    Raises StoreError for a folder that is not there (unless it may be created), for another scheme, and where obstore is missing.
    """
    scheme, separator, _ = location.partition("://")
    if not separator:
        from service.bulk.folder import Folder  # noqa: PLC0415

        return Folder(location, may_create=may_create)
    if scheme not in SCHEMES:
        raise StoreError(f"{location[:80]} has the scheme {scheme[:20]!r}; expected a folder, or {', '.join(SCHEMES)}", fatal=True)
    try:
        from service.bulk.object_store import ObjectStore  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise StoreError(
            f"{scheme}:// needs the package {missing.name}; install it with pip install 'rddm-serve[objects]'", fatal=True
        ) from missing
    return ObjectStore(location)
