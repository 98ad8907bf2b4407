"""Who may ask what: the key, the names of the host, and who may change the bundle."""

import hmac
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

from mooc_maml.recommend.service.errors import Refused
from mooc_maml.recommend.service.settings import LOOPBACK, ServiceSettings

PROTECTED = ("/recommend", "/courses", "/model", "/metrics", "/reload")
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


def check_access(scope: Scope, settings: ServiceSettings) -> None:
    """Let a request pass.

    Raises:
        Refused: 400 if it names two hosts, 421 if it was sent to another host's name, 401 if it
            lacks the key, 403 if it may not change the bundle.
    """
    headers = Headers(scope=scope)
    if len(headers.getlist("host")) > 1:  # a proxy may go by the one, and we by the other
        raise Refused(400, "bad_request", "more than one host is named", "header.Host")
    _check_host(headers.get("host", ""), settings)
    path = scope["path"].rstrip("/")
    if path in PROTECTED and settings.key is not None:
        _check_key(headers.get("x-api-key", ""), settings.key)
    elif path == "/reload":
        _check_loopback(scope, headers)


def _check_host(host: str, settings: ServiceSettings) -> None:
    """A page elsewhere whose name is made to point here (DNS rebinding) shall not read answers."""
    if not settings.is_local and not settings.hosts:
        return
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.strip("[]").lower() not in {*LOOPBACK, *settings.hosts}:
        message = "this service does not answer under that name; --allow-host adds one"
        raise Refused(421, "wrong_host", message, "header.Host")


def _check_key(sent: str, key: str) -> None:
    if not hmac.compare_digest(sent.encode(), key.encode()):
        message = "a key is needed: send it in the header X-API-Key"
        headers = {"WWW-Authenticate": "X-API-Key"}
        raise Refused(401, "unauthorized", message, "header.X-API-Key", headers)


def _check_loopback(scope: Scope, headers: Headers) -> None:
    """From this machine, not through a proxy, and not by a page of another site in a browser."""
    address = (scope.get("client") or ("",))[0]
    origin = headers.get("origin")
    elsewhere = origin is not None and origin.split("//")[-1] != headers.get("host")
    if elsewhere or not _is_loopback(address) or any(name in headers for name in _FORWARDED):
        message = "without a key, only a program on the service's own machine may ask this"
        raise Refused(403, "forbidden", message)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
