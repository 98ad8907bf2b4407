"""What a service may be told: where it listens, who may ask, and how much it takes."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Upper bounds of what one request, or all at once, may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: int = Field(default=1 << 20, ge=1)
    header_bytes: int = Field(default=32 << 10, ge=1024)
    request_seconds: float = Field(default=10.0, gt=0)
    idle_seconds: float = Field(default=5.0, gt=0)  # of a connection on which no request comes
    waiting: int = Field(default=64, ge=1)  # requests in a worker, those at work included
    connections: int = Field(default=1000, ge=1)  # open to a worker


class ServiceSettings(BaseModel):
    """How `mooc-maml serve` serves. `key`: what a caller must send as X-API-Key; None: nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path = Path("models/bundle")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)  # 0: any free one
    workers: int = Field(default=1, ge=1, le=256)
    key: str | None = Field(default=None, min_length=8, repr=False)
    with_learners: bool = False  # offer models from which training learners' sessions can be read
    origins: tuple[str, ...] = ()  # of pages elsewhere that may ask (CORS)
    hosts: tuple[str, ...] = ()  # names beside the loopback's that requests may be sent to
    limits: Limits = Limits()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in LOOPBACK


LOOPBACK = ("127.0.0.1", "::1", "localhost")
