"""A company's index of packages, behind a certificate that only its own machines trust."""

import datetime as dt
import re
import ssl
import stat
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "127.0.0.1"
STORE = Path("/etc/ssl/certs")
# Puts another folder ($1) in the place of the system's store and runs the rest.
WITH_STORE = f'mount --bind "$1" {STORE} && shift && exec "$@"'


@dataclass(frozen=True)
class Wheel:
    """A package as an index serves it."""

    name: str
    version: str
    data: bytes

    @property
    def filename(self) -> str:
        """The name that an installer expects."""
        return f"{self.name}-{self.version}-py3-none-any.whl"

    @property
    def locked(self) -> str:
        """Its lines of a lock."""
        return (
            f"{self.name}=={self.version} \\\n    --hash=sha256:{sha256(self.data).hexdigest()}\n"
        )


@dataclass(frozen=True)
class Company:
    """The running index and what its machines have in their store."""

    index: str
    certificate: bytes


def wheel_of_installed(name: str) -> Wheel:
    """Return a wheel of a package as it is installed here, without what was compiled of it."""
    files = {
        str(path): path.read_binary()
        for path in metadata.files(name) or ()
        if path.suffix != ".pyc" and (path.name == "entry_points.txt" or not _is_facts(path))
    }
    return make_wheel(name, metadata.version(name), files)


def _is_facts(path: metadata.PackagePath) -> bool:
    return path.parts[0].endswith(".dist-info")


def make_wheel(name: str, version: str, files: Mapping[str, str | bytes]) -> Wheel:
    """Return a wheel of ``files``; those under ``bin/`` are programs."""
    facts = f"{name}-{version}.dist-info"
    contents: dict[str, str | bytes] = {
        re.sub("^bin/", f"{name}-{version}.data/scripts/", path): text
        for path, text in files.items()
    }
    contents[f"{facts}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents[f"{facts}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{facts}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{facts}/RECORD"])
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in contents.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (stat.S_IFREG | 0o755) << 16  # programs must be executable
            archive.writestr(entry, text)
    return Wheel(name, version, packed.getvalue())


@contextmanager
def company_index(folder: Path, *wheels: Wheel) -> Iterator[Company]:
    """Serve ``wheels`` over HTTPS (PEP 503); ``folder`` takes the server's key."""
    pages: dict[str, tuple[str, bytes]] = {}
    for wheel in wheels:
        digest = sha256(wheel.data).hexdigest()
        link = f'<a href="/files/{wheel.filename}#sha256={digest}">{wheel.filename}</a>'
        pages[f"/simple/{wheel.name}/"] = (
            "text/html",
            f"<html><body>{link}</body></html>".encode(),
        )
        pages[f"/files/{wheel.filename}"] = ("application/octet-stream", wheel.data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = pages.get(self.path, ("", b""))
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: a client that does not trust us is no news."""

    root, chain = _certificates()
    pem = folder / "server.pem"
    pem.write_bytes(chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Company(f"https://{HOST}:{server.server_address[1]}/simple", root)
        finally:
            server.shutdown()
            thread.join()


def _certificates() -> tuple[bytes, bytes]:
    """Return a root, and the key and certificate that it signed for ``HOST``, as PEM."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = _name("A company's own root")
    authority = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = (
        _unsigned(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(authority, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    # What Python 3.13 asks of a certificate is here too.
    signed = (
        _unsigned(_name(HOST), root_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return root.public_bytes(pem), secret + signed.public_bytes(pem)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
