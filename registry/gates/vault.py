"""Secrets at rest: encrypted with a key that scoring workers do not have."""

import json

from cryptography.fernet import Fernet, InvalidToken

from pilotline.registry.form import ApproverError

KEY_VARIABLE = "PILOTLINE_APPROVAL_KEY"


class Vault:
    """Seals and opens the secrets of approvers.

    Source:
        Fernet: AES-128-CBC with HMAC-SHA256, https://github.com/fernet/spec.
    """

    def __init__(self, key: str | None) -> None:
        """Take the key from the environment's variable, None where it is not set."""
        self._key = key

    def seal(self, name: str, secret: str) -> str:
        """Return ``secret`` encrypted, bound to ``name``.

        Raises:
            ApproverError: there is no key, or it is none.
        """
        return self._fernet(name).encrypt(json.dumps([name, secret]).encode()).decode()

    def open(self, name: str, sealed: str) -> str:
        """Return the secret that was sealed for ``name``.

        Raises:
            ApproverError: there is no key, another one, or the secret was sealed for another name.
        """
        try:
            owner, secret = json.loads(self._fernet(name).decrypt(sealed.encode()))
        except InvalidToken:
            raise ApproverError(
                name,
                f"the key in {KEY_VARIABLE} does not open the secret",
                "Use the key that it was enrolled with.",
            ) from None
        if owner != name:
            raise ApproverError(
                name, f"the secret was sealed for {owner!r}", "Compare the registry with a backup."
            )
        return str(secret)

    def _fernet(self, name: str) -> Fernet:
        if not self._key:
            raise ApproverError(
                name,
                f"{KEY_VARIABLE} is not set, so no one-time code can be checked here",
                "Set it; 'pilotline approvers key' makes a new one for a new registry.",
            )
        try:
            return Fernet(self._key)
        except ValueError:
            raise ApproverError(
                name,
                f"{KEY_VARIABLE} is no key (32 bytes in URL-safe base64)",
                "Make one with 'pilotline approvers key'.",
            ) from None


def make_key() -> str:
    """Return a new key."""
    return Fernet.generate_key().decode()
