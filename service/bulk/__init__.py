"""Many pictures: a folder, a bucket or a manifest, restored once each, with a record of every one."""

from service.bulk.locations import open_store
from service.bulk.picture import BatchJob
from service.bulk.records import Record
from service.bulk.runner import Summary, run_batch
from service.bulk.stores import Store, StoreError

__all__ = ["BatchJob", "Record", "Store", "StoreError", "Summary", "open_store", "run_batch"]
