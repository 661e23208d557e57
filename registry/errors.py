"""What the registry refuses, each with its facts as attributes."""


class RegistryError(Exception):
    """Base of every error the registry raises on purpose."""


class UnknownModelError(RegistryError, LookupError):
    """No model is registered under the name."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        listed = ", ".join(known[:8]) or "none yet"
        super().__init__(
            f"No model {name!r} is registered; known: {listed}. "
            f"Train one with 'pilotline train {name}', or list them with 'pilotline models'."
        )


class UnknownVersionError(RegistryError, LookupError):
    """A reference names no version of the model."""

    def __init__(self, name: str, reference: str, known: list[str]) -> None:
        self.name = name
        self.reference = reference
        self.known = known
        listed = ", ".join(known[-8:]) or "none"
        super().__init__(
            f"No version {reference!r} of model {name!r}; its versions: {listed}. "
            f"See 'pilotline show {name}'."
        )


class NoChampionError(RegistryError, LookupError):
    """Nothing was promoted, or nothing yet at the time asked for."""

    def __init__(self, name: str, when: str = "") -> None:
        self.name = name
        had = f"had no champion on {when}" if when else "has no champion"
        super().__init__(
            f"Model {name!r} {had}: no version was promoted. "
            f"Release one with 'pilotline release {name} VERSION'."
        )


class VersionUnfitError(RegistryError, ValueError):
    """A version's status or evidence forbids what was asked."""

    def __init__(self, name: str, number: str, problem: str, remedy: str) -> None:
        self.name = name
        self.number = number
        super().__init__(f"Version {number} of {name!r} {problem}. {remedy}")


class ApprovalError(RegistryError, ValueError):
    """A decision was refused: wrong person, wrong gate or wrong moment."""

    def __init__(self, name: str, number: str, gate: str, problem: str, remedy: str) -> None:
        self.name = name
        self.number = number
        self.gate = gate
        super().__init__(
            f"Decision at gate {gate!r} of {name!r} {number} refused: {problem}. {remedy}"
        )


class PolicyError(RegistryError, ValueError):
    """The factory's policy file is missing or says something it cannot mean."""

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        self.path = path
        super().__init__(f"Policy {path!r}: {problem}. {remedy}")


class NameRefusedError(RegistryError, ValueError):
    """A model or dataset name is outside the allowed form."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"Name {name!r}: expected 1 to 63 of a-z, 0-9 and '-', not starting with '-'. "
            "Rename the folder; folder name and model name are the same."
        )


class ConflictError(RegistryError, RuntimeError):
    """Somebody else changed the same thing first."""

    def __init__(self, thing: str, expected: str, found: str) -> None:
        self.thing = thing
        super().__init__(
            f"{thing} changed meanwhile: expected {expected}, found {found}. "
            "Look at it again and repeat the command."
        )


class DigestMismatchError(RegistryError, ValueError):
    """Stored bytes are not the bytes that were stored."""

    def __init__(self, thing: str, expected: str, found: str) -> None:
        self.thing = thing
        self.expected = expected
        self.found = found
        super().__init__(
            f"Digest mismatch for {thing}: expected {expected[:12]}..., read {found[:12]}.... "
            "The bytes are damaged; restore them from a copy, or register a new version."
        )


class MissingBlobError(RegistryError, LookupError):
    """A digest is named by the registry but its bytes are not in the blob store."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(
            f"Blob {digest[:12]}... is not in the blob store. "
            "Restore the store from a copy, or check PILOTLINE_BLOBS."
        )


class StoreError(RegistryError, OSError):
    """The registry's database or blob store cannot be opened or written."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        self.where = where
        super().__init__(f"Registry at {where!r}: {problem}. {remedy}")


class UnknownRunError(RegistryError, LookupError):
    """No run has the identifier."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"No run {run_id!r} is recorded. List runs with 'pilotline show MODEL'.")


class UnknownPartitionError(RegistryError, LookupError):
    """A dataset has no ingested partition for a day."""

    def __init__(self, dataset: str, date: str, span: str) -> None:
        self.dataset = dataset
        self.date = date
        super().__init__(
            f"Dataset {dataset!r} has no partition {date}; ingested: {span}. "
            f"Bring it in with 'pilotline ingest {dataset} --date {date}'."
        )
