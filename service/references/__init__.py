"""Pictures named by an address instead of sent, and results put where an address says: off unless the operator allows places."""

from service.references.hosts import AllowedHosts
from service.references.references import References, references_of

__all__ = ["AllowedHosts", "References", "references_of"]
