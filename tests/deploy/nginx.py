"""A real nginx with `deploy/nginx.conf`: as it is shipped, but for addresses, paths, and what a test changes."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
_MOST_CONNECTIONS = 100

_MAIN = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/main.log;
events {{ worker_connections 2048; }}
http {{
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/gapless.conf;
}}
"""


class Line(NamedTuple):
    """One line of the access log."""

    request: str
    status: int
    upstream: str
    """The gateway's status; ``-`` when it wasn't asked."""
    cache: str


@dataclass
class Nginx:
    """One running nginx."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def logs(self) -> str:
        """Return all that it wrote about itself and its requests."""
        return "".join((self.folder / name).read_text() for name in ("access.log", "error.log", "main.log"))

    def lines(self, containing: str = "") -> list[Line]:
        """Return the lines of the access log; a request's is written when it has ended."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [_line(line) for line in lines if containing in line]

    async def counted(self, containing: str) -> int:
        """Return how many requests are in the access log, once all that were answered are in it."""
        marked = f"/api/v1/nothing/{uuid4().hex}"
        async with self.client() as http:
            await http.get(marked)
        await until(lambda: bool(self.lines(marked)))
        return len(self.lines(containing))

    async def logged(self, count: int, containing: str) -> list[Line]:
        """Wait until so many requests are in the access log."""
        await until(lambda: len(self.lines(containing)) >= count)
        found = self.lines(containing)
        assert len(found) == count
        return found

    def client(self) -> httpx2.AsyncClient:
        """Make a client that trusts the certificate; HTTP/1.1."""
        trust = ssl.create_default_context(cafile=str(self.certificate))
        limits = httpx2.Limits(max_connections=_MOST_CONNECTIONS)
        return httpx2.AsyncClient(base_url=self.url, verify=trust, limits=limits, timeout=PATIENCE_S)


@asynccontextmanager
async def nginx(folder: Path, upstream_port: int, changes: Mapping[str, str] | None = None) -> AsyncIterator[Nginx]:
    """Run nginx in front of a gateway until the block ends; `changes` replace text of the shipped configuration."""
    port = free_port()
    places = {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{upstream_port};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "listen [::]:443 ssl http2;": f"listen 127.0.0.1:{free_port()} ssl http2;",
        "/etc/ssl/gapless/fullchain.pem": f"{folder}/certificate.pem",
        "/etc/ssl/gapless/key.pem": f"{folder}/key.pem",
        "/var/cache/gapless-nginx": f"{folder}/cache",
        "/var/log/nginx/": f"{folder}/",
    }
    _certify(folder)
    (folder / "gapless.conf").write_text(replaced(SHIPPED.read_text(), {**places, **(changes or {})}))
    user = "user root;" if os.geteuid() == 0 else ""  # the folders of tests are their user's alone
    (folder / "main.conf").write_text(_MAIN.format(folder=folder, user=user))
    one = Nginx(folder, port, _launch(folder))
    try:
        await until(lambda: _listens(one))
        yield one
    finally:
        one.process.terminate()
        one.process.wait()


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """Replace texts that must be there."""
    for written, wanted in changes.items():
        assert written in text, written
        text = text.replace(written, wanted)
    return text


def binary() -> str:
    found = which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "nginx is missing: `make test` installs it"
    return found


def _launch(folder: Path) -> subprocess.Popen[bytes]:
    command = [binary(), "-p", str(folder), "-e", str(folder / "main.log"), "-c", str(folder / "main.conf")]
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(command, stdout=said, stderr=said)


async def _listens(one: Nginx) -> bool:
    assert one.process.poll() is None, (one.folder / "said").read_text() + (one.folder / "main.log").read_text()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", one.port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _line(text: str) -> Line:
    _, request, rest = text.split('"')
    status, _, _, upstream, cache = rest.split()
    return Line(request, int(status), upstream.removeprefix("upstream="), cache.removeprefix("cache="))


def _certify(folder: Path) -> None:
    """Write a key and a certificate for 127.0.0.1 that vouches for itself."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
