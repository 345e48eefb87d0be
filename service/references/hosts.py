"""Which https addresses may be spoken to: one rule for pictures, results and webhooks."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from service.errors import InvalidValue

HTTPS_PORT = 443


@dataclass(frozen=True)
class AllowedHosts:
    """https addresses at the hosts that an operator names. names: `host`, which means port 443, or `host:port`."""

    names: tuple[str, ...]

    def check(self, address: str, name: str, *others: str) -> None:
        """name: of the member that holds the address; others: what else the member may say, for the words.

        Raises InvalidValue for an address that is not https, names a user, or is at another place.
        """
        try:
            parts = urlsplit(address)
            host, port = parts.hostname or "", HTTPS_PORT if parts.port is None else parts.port
        except ValueError as wrong:
            raise InvalidValue(f"{name} is no address") from wrong
        place = host if port == HTTPS_PORT else f"{host}:{port}"
        if parts.scheme != "https" or parts.username is not None or not {place, f"{host}:{port}"} & set(self.names):
            allowed = [*(f"https://{one}" for one in self.names), *others]
            words = f"an address at one of {allowed}" if allowed else "none: the operator allows no addresses"
            raise InvalidValue(f"{name} is at {parts.scheme[:20]}://{place[:80]}; expected {words}")
