"""From settings to a running service."""

import os
import socket
import sys
import tempfile

from mooc_maml.common.errors import UserError
from mooc_maml.recommend.service.settings import ServiceSettings

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SHARED = "PROMETHEUS_MULTIPROC_DIR"


def serve(settings: ServiceSettings) -> None:
    """Serve until SIGTERM or Ctrl-C; the process is taken as the service's own.

    Raises:
        UserError: the address or the bundle cannot be used, or a package is missing.
    """
    for name in _THREADS:  # a worker answers on one core; there are as many workers as wanted
        os.environ[name] = "1"
    try:
        folder = tempfile.TemporaryDirectory(prefix="mooc-maml-metrics-")
    except OSError as error:
        raise UserError(
            f"no folder for temporary files, where the workers count ({error.strerror}); name one "
            "in TMPDIR, or give a container that is read-only one: --tmpfs /tmp"
        ) from None
    with folder as shared:
        os.environ[_SHARED] = shared  # before prometheus_client is imported, which reads it then
        _serve(settings)


def _serve(settings: ServiceSettings) -> None:
    try:
        from mooc_maml.recommend.service.supervisor import Supervisor, load_all
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mooc_maml"):
            raise
        raise UserError(
            f"the package {error.name} is missing, which only the service needs; install the "
            "extra: pip install 'mooc-maml[serve]'"
        ) from None
    import torch

    torch.set_num_threads(1)
    with listen(settings.host, settings.port) as listening:
        Supervisor(settings, load_all, _say).run(listening)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises:
        UserError: the address is another's, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{host}, port {port}: {words}; name another with --host or --port, or end the "
            "program that has it"
        ) from None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
