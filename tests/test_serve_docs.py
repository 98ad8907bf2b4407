"""docs/serve.md: every command in it is tried, on a small bundle."""

import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from service_helpers import running
from small_bundle import write_bundle
from typer.testing import CliRunner

from mooc_maml.recommend.command import app
from mooc_maml.recommend.service import command
from mooc_maml.recommend.service.api import WORK
from mooc_maml.recommend.service.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
LINES = "".join(BLOCKS).replace("\\\n", "").splitlines()
INLINE = re.findall(r"`((?:curl|kill) [^`]+)`", TEXT)


@pytest.mark.parametrize("line", [own for own in LINES if "mooc-maml serve" in own])
def test_every_way_to_serve_is_one(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[ServiceSettings] = []

    def start(settings: ServiceSettings) -> None:
        found.append(settings)
        raise SystemExit(0)

    monkeypatch.setattr(command, "start", start)
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("a long random word\n")
    words = shlex.split(line.split("#")[0])
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    (settings,) = found
    assert settings.bundle == Path("models/bundle")
    assert (settings.key is not None) == ("--key-file" in words)
    assert settings.is_local == ("--host" not in words)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_every_request_is_answered_and_a_signal_reads_the_bundle_again(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    asked = [own for own in (*LINES, *INLINE) if own.startswith(("curl", "kill"))]
    assert len(asked) == 4
    (tmp_path / "key").write_text("a long random word\n")
    with running(bundle, "--key-file", str(tmp_path / "key")) as service:
        for line in asked:
            place = service.log.stat().st_size
            own = line.replace("http://127.0.0.1:8000", service.address).replace('"ID"', '"C001"')
            own = own.replace("PID", str(service.process.pid))
            if own.startswith("curl") and "X-API-Key" not in own:
                own += ' -H "X-API-Key: $(cat key)"'
            done = subprocess.run(
                ["bash", "-c", own], cwd=tmp_path, capture_output=True, text=True, check=True
            )
            if own.startswith("curl"):
                assert "error" not in json.loads(done.stdout), done.stdout
            if "HUP" in own:
                service.wait_for_log("in place of", place)
        assert service.process.poll() is None
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0


def test_the_page_names_addresses_that_are() -> None:
    from mooc_maml.recommend import service

    sources = Path(str(service.__file__)).parent
    api = (sources / "app.py").read_text(encoding="utf-8")
    for address in re.findall(r"^\| `(?:GET|POST) (/\w+)", TEXT, re.MULTILINE):
        assert f'"{address}"' in api


def test_limits_are_told_as_they_are() -> None:
    from mooc_maml.recommend.service import schemas
    from mooc_maml.recommend.service.settings import Limits

    limits = Limits()
    told = re.sub(r"\s+", " ", TEXT)
    assert f"{schemas.COURSES:,} courses a learner, {schemas.LISTED:,} listed courses" in told
    assert f"for 1 to {schemas.LEARNERS} learners" in told
    assert f"{limits.request_seconds:g} s a request" in told
    assert f"{limits.idle_seconds:g} s for headers, {limits.waiting} requests" in told
    assert limits.body_bytes == 1 << 20
    assert f"summed over the learners, is at most {WORK:,}" in told
    assert 16 * schemas.LEARNERS * (5 * 5) ** 2 == WORK
