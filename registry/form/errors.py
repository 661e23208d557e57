"""What the registry refuses, each with its facts as attributes."""

import re


class RegistryError(Exception):
    """Base of every error the registry raises on purpose."""


class UnknownModelError(RegistryError, LookupError):
    """No model is registered under the name."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        listed = ", ".join(known[:8]) or "none yet"
        super().__init__(f"No model {name!r} is registered; known: {listed}. {self._advise(name)}")

    @staticmethod
    def _advise(name: str) -> str:
        model, _, reference = name.partition("@")
        if reference:
            return f"Give the model alone, {model!r}."
        if not re.fullmatch("[a-z0-9-]+", name):  # nothing by that name could be trained
            return "A model's name is made of a-z, 0-9 and '-'; list them with 'pilotline models'."
        return f"Train one with 'pilotline train {name}', or list them with 'pilotline models'."


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


class NoDateError(UnknownVersionError):
    """What follows ``as-of:`` is no date."""

    def __init__(self, name: str, reference: str) -> None:
        self.name = name
        self.reference = reference
        self.known = []
        date = reference.removeprefix("as-of:")
        RegistryError.__init__(
            self,
            f"No version {reference!r} of model {name!r}: {date!r} is no date. "
            "Write as-of:YYYY-MM-DD, such as as-of:2013-02-01.",
        )


class NoChampionError(RegistryError, LookupError):
    """Nothing was promoted, or nothing yet at the time asked for."""

    def __init__(self, name: str, when: str = "", first: str = "") -> None:
        self.name = name
        had = f"had no champion on {when}" if when else "has no champion"
        if first:
            super().__init__(
                f"Model {name!r} {had}: its first was {first}. Ask for that time or a later one."
            )
            return
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


class SplitError(RegistryError, ValueError):
    """A split that there is not, or cannot be."""

    def __init__(self, what: str, problem: str, remedy: str) -> None:
        super().__init__(f"{what}: {problem}. {remedy}")


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

    def __init__(self, digest: str, problem: str = "is not in the blob store") -> None:
        self.digest = digest
        self.problem = problem
        super().__init__(
            f"Blob {digest[:12]}... {problem}. "
            "Restore the store from a copy, or check PILOTLINE_BLOBS."
        )


class TextRefusedError(RegistryError, ValueError):
    """A text holds what not every database can keep."""

    def __init__(self, text: str, problem: str, what: str = "the registry") -> None:
        self.text = text
        shown = ascii(text[:60]) + ("..." if len(text) > 60 else "")
        super().__init__(
            f"Text {shown} for {what} is refused: it has {problem}. Write it again without that."
        )


class StoreError(RegistryError, OSError):
    """The registry's database or blob store cannot be opened or written."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        self.where = where
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"Registry at {where!r}: {problem}. {remedy}")


class ExportError(StoreError):
    """An export cannot be written."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(where, problem, remedy)
        RegistryError.__init__(self, f"Output {where!r}: {problem}. {remedy}")


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


class UnknownDigestError(RegistryError, LookupError):
    """A prefix names none of a day's data versions, or several."""

    def __init__(self, dataset: str, date: str, prefix: str, known: list[str]) -> None:
        self.dataset = dataset
        self.date = date
        self.prefix = prefix
        listed = ", ".join(digest[:12] for digest in known) or "none"
        super().__init__(
            f"Digest {prefix!r} of dataset {dataset!r} on {date}: expected the beginning of one of "
            f"its data versions; known: {listed}. Give one of these, or leave it out for what the "
            "day holds now."
        )


class WrongCodeError(ApprovalError):
    """A one-time code is wrong, was used before, or too many were wrong."""

    def __init__(self, approver: str, problem: str, remedy: str) -> None:
        self.approver = approver
        RegistryError.__init__(self, f"One-time code of {approver!r}: {problem}. {remedy}")


class ApproverError(RegistryError, ValueError):
    """An approver cannot be enrolled, removed or asked."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self.name = name
        super().__init__(f"Approver {name!r}: {problem}. {remedy}")


class ConsumerError(RegistryError, ValueError):
    """A consumer cannot be added or removed, or would be broken."""

    def __init__(self, model: str, name: str, problem: str, remedy: str) -> None:
        self.model = model
        self.name = name
        super().__init__(f"Consumer {name!r} of {model!r}: {problem}. {remedy}")


class AliasError(RegistryError, ValueError):
    """An alias cannot be set or removed."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self.name = name
        super().__init__(f"Alias {name!r}: {problem}. {remedy}")


class AuditError(RegistryError, RuntimeError):
    """The registry contradicts its own record."""

    def __init__(
        self,
        chain: str,
        thing: str,
        problem: str,
        more: str = " ('pilotline audit verify' says more)",
    ) -> None:
        self.chain = chain
        self.thing = thing
        self.problem = problem
        super().__init__(
            f"{thing} of {chain!r}: {problem}. Somebody or something changed the registry behind "
            f"its back; compare it with a backup{more}."
        )


class GarbledError(AuditError):
    """A column holds what the registry never wrote into it."""


class ImportRefusedError(RegistryError, ValueError):
    """An export is not imported: it is damaged, hostile, or of a model that is here already."""

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"Import of {path!r} refused: {problem}. {remedy}")
