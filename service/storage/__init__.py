"""Where state outlives a request: one database, SQLite for a gateway by itself or PostgreSQL for several.

Each room keeps tables of its own in it, by the same statements for both: jobs, webhook deliveries, quotas, finished pictures.
"""

from service.storage.database import Database, Transaction
from service.storage.opening import open_database

__all__ = ["Database", "Transaction", "open_database"]
