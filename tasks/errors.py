"""What the steps refuse, each with its facts as attributes."""


class StepError(Exception):
    """Base of every error a step raises on purpose."""


class SettingsError(StepError, ValueError):
    """A setting, or the place it names, cannot be used."""

    def __init__(self, setting: str, problem: str, remedy: str) -> None:
        self.setting = setting
        super().__init__(f"{setting}: {problem}. {remedy}")


class LabError(StepError, ValueError):
    """A dataset or model folder in the lab is missing something or says something impossible."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}. {remedy}")


class UnknownFolderError(StepError, LookupError):
    """The lab has no such dataset or model."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        listed = ", ".join(known[:8]) or "none"
        super().__init__(
            f"No {kind} {name!r} in the lab; known: {listed}. "
            f"Check the spelling, or lay out lab/{kind}s/{name}/."
        )


class SourceError(StepError, RuntimeError):
    """A dataset's source cannot be read."""

    def __init__(self, dataset: str, problem: str, remedy: str) -> None:
        self.dataset = dataset
        super().__init__(f"Source of dataset {dataset!r}: {problem}. {remedy}")


class PartitionRefusedError(StepError, ValueError):
    """A day's rows were refused whole; nothing was written."""

    def __init__(self, dataset: str, date: str, problem: str, remedy: str) -> None:
        self.dataset = dataset
        self.date = date
        self.problem = problem
        self.remedy = remedy
        super().__init__(
            f"Partition {date} of dataset {dataset!r} refused: {problem.rstrip('.')}. {remedy}"
        )


class CorrectionRefusedError(StepError, ValueError):
    """Rows that somebody corrected cannot be read, or are of no quarantined row."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        self.where = where
        super().__init__(f"Corrections in {where}: {problem}. {remedy}")


class LakeError(StepError, OSError):
    """A table of the lake cannot be read or written."""

    def __init__(self, table: str, problem: str, remedy: str) -> None:
        self.table = table
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"Table {table!r}: {problem}. {remedy}")


class EnvironmentBuildError(StepError, RuntimeError):
    """A model's environment cannot be built from its lock."""

    def __init__(self, model: str, problem: str, remedy: str) -> None:
        self.model = model
        super().__init__(f"Environment of {model!r}: {problem}. {remedy}")


class IsolationError(StepError, RuntimeError):
    """The machine offers less isolation than the policy asks for."""

    def __init__(self, found: str, minimum: str, why: str) -> None:
        self.found = found
        self.minimum = minimum
        super().__init__(
            f"Isolation tier {found!r}: the policy asks for {minimum!r} ({why}). "
            "Install bubblewrap, or lower [isolation] minimum in the policy."
        )


class ChildError(StepError, RuntimeError):
    """The model's process failed, or what it gave back is not acceptable."""

    def __init__(self, model: str, problem: str, log_tail: str = "") -> None:
        self.model = model
        self.problem = problem
        self.log_tail = log_tail
        super().__init__(
            f"Model {model!r}: {problem}. Mend the model in the lab and train again."
            + (f"\nLast lines of its log:\n{log_tail}" if log_tail else "")
        )


class ShardError(StepError, RuntimeError):
    """Part of a partition could not be scored. One text alone, so that it travels to others."""


class SupersededError(StepError, RuntimeError):
    """A later run took the partition over; this one wrote nothing."""

    def __init__(self, run_id: str, why: str) -> None:
        self.run_id = run_id
        super().__init__(f"Run {run_id!r} was superseded: {why}. Nothing to do.")


class NothingToDoError(StepError, LookupError):
    """What was asked for needs data that is not there."""

    def __init__(self, what: str, problem: str, remedy: str) -> None:
        self.what = what
        super().__init__(f"{what}: {problem}. {remedy}")


class RetrainingRefusedError(StepError, RuntimeError):
    """The retraining policy says no."""

    def __init__(self, model: str, problem: str, remedy: str) -> None:
        self.model = model
        super().__init__(f"Retraining of {model!r} refused: {problem.rstrip('.')}. {remedy}")


class OverwriteRefusedError(StepError):
    """A version would replace, without a reason, what another one made."""

    def __init__(self, model: str, day: str, shown: str, number: str) -> None:
        self.model = model
        super().__init__(
            f"Predictions of {model!r} for {day}: they are by {shown}, and {number} is not the "
            "champion now. Give a reason with --reason, or score with the champion."
        )


class InputRefusedError(StepError, ValueError):
    """What a further input holds must not, or cannot, be joined."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self.input = name
        super().__init__(f"Input {name!r}: {problem}. {remedy}")
