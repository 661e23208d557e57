"""Let uv and pip trust the certificates that this system trusts, a company's own among them.

As a script it runs a command that way, before anything is installed:
``python -I tasks/certificates.py uv pip sync ...``
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

# Where systems keep their certificates, and where uv 0.13 looks for them (its crate openssl-probe).
BUNDLES = (
    "etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",  # openSUSE
    "etc/pki/tls/cacert.pem",
    "etc/ssl/cert.pem",
)
FOLDERS = ("etc/ssl/certs", "etc/pki/tls/certs")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # the names that OpenSSL looks for in a folder
_HAVE_STORE = ("darwin", "win32")  # always, and not in files
_USERS_CHOICE = ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS", "SSL_CERT_FILE", "SSL_CERT_DIR")


def trusting(environment: Mapping[str, str], root: Path = Path("/")) -> dict[str, str]:
    """Return ``environment`` for uv and pip, so that they trust what the system trusts.

    uv by itself knows only the roots it brings along, and so does pip before 24.2. Without a store
    that stays so: told to use it, uv would trust nobody. What the user has set is left alone.

    Args:
        environment: the variables of this process.
        root: of the file system.
    """
    settings = dict(environment)
    store = system_store(root)
    if not any(settings.get(name) for name in _USERS_CHOICE) and (
        store is not None or sys.platform in _HAVE_STORE
    ):
        settings["UV_SYSTEM_CERTS"] = "1"
    # Weaker than PIP_CERT and pip.conf. Newer pip trusts these beside what OpenSSL names.
    known = settings.get("SSL_CERT_FILE") or store
    if known is not None:
        settings.setdefault("REQUESTS_CA_BUNDLE", str(known))
    return settings


def system_store(root: Path = Path("/")) -> Path | None:
    """Return the file or else the folder of the system's certificates, None where it has none."""
    for bundle in BUNDLES:
        if _holds_certificate(root / bundle):
            return root / bundle
    for folder in FOLDERS:
        if _is_hashed(root / folder):
            return root / folder
    return None


def _holds_certificate(path: Path) -> bool:
    try:
        return b"-----BEGIN " in path.read_bytes()
    except OSError:
        return False


def _is_hashed(folder: Path) -> bool:
    try:
        return any(
            _HASHED.fullmatch(path.name) and _holds_certificate(path) for path in folder.iterdir()
        )
    except OSError:
        return False


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], trusting(os.environ))
