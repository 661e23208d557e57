"""Where everything lies: the home, the lab, the lake, the registry; read once at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotline.registry import Registry
from pilotline.registry.blobs import split_s3
from pilotline.registry.form import StoreError
from pilotline.registry.gates import KEY_VARIABLE
from pilotline.registry.store import show_url
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.s3_folder import Folder, S3Folder
from pilotline.tasks.shipped import DEPLOYMENTS


@dataclass(frozen=True)
class Home:
    """The places of one factory, all absolute."""

    root: Path
    lab: Path
    blobs: Path | str  # a folder, or s3://bucket/prefix
    lake: Folder  # a folder, or s3://bucket/prefix
    registry_url: str = field(repr=False)  # may hold a password
    approval_key: str | None = field(default=None, repr=False)  # scoring workers have none

    @property
    def scratch(self) -> Path:
        """Folder of transient environments; empty between runs."""
        return _scratch(self.root)

    @property
    def bytecode(self) -> Path:
        """Folder of compiled bytecode, one folder a lock and interpreter."""
        return self.root / "cache" / "bytecode"

    @property
    def prefect(self) -> Path:
        """Prefect's own home."""
        return self.root / "prefect"

    @property
    def policy_path(self) -> Path:
        """The policy: the home's own where it has one, else the project's, else the package's."""
        return self.find_rules("policy.toml")

    @property
    def registry_shown(self) -> str:
        """The registry's address as it may be shown: a SQLite file, or a URL with no password."""
        return show_url(self.registry_url).removeprefix("sqlite:///")

    @property
    def registry_is_elsewhere(self) -> bool:
        """Whether the registry is not the home's own, so that others may work with it."""
        return self.registry_url != _own_registry(self.root)

    def find_rules(self, name: str) -> Path:
        """Return the home's own file, else the project's, beside its lab, else the package's."""
        for own in (self.root / name, self.lab.parent / "deployments" / name):
            if own.exists():
                return own
        return DEPLOYMENTS / name

    def require_lab(self) -> None:
        """Do nothing if the lab is there.

        Raises:
            SettingsError: it is not.
        """
        if not self.lab.is_dir():
            raise SettingsError(
                "PILOTLINE_LAB",
                f"not set, and no lab above this folder or at {str(self.lab)!r}",
                "Run inside the project, set it to the project's lab, or try 'pilotline demo'.",
            )

    def open_registry(self) -> Registry:
        """Return the registry, open; the caller closes it.

        Raises:
            StoreError: it cannot be opened.
        """
        return Registry(self.registry_url, self.blobs)

    def make(self) -> None:
        """Make the home's folder.

        Raises:
            SettingsError: it cannot be made or written.
        """
        probe = self.root / ".writable"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as err:
            raise SettingsError(
                f"Home {str(self.root)!r}",
                f"cannot be written ({err.strerror})",
                "Fix its rights, or set PILOTLINE_HOME to another folder.",
            ) from err


def find_home(environment: Mapping[str, str], folder: Path) -> Home:
    """Return the home that the settings name, by default beside the ``lab`` above ``folder``.

    Raises:
        SettingsError: no lab is found and no home is named, or a place is not a folder's path.
    """
    lab = _find_lab(environment, folder)
    named = environment.get("PILOTLINE_HOME")
    if not named and lab is None:
        raise SettingsError(
            "PILOTLINE_HOME",
            f"not set, and no folder 'lab' in {str(folder)!r} or above",
            "Run inside the project, set PILOTLINE_HOME, or try 'pilotline demo'.",
        )
    if named:
        root = Path(named).expanduser().absolute()
    elif lab is not None:
        root = lab.parent / ".pilotline"
    return Home(
        root=root,
        lab=lab or root.parent / "lab",
        blobs=_blobs(environment, root / "blobs"),
        lake=_lake(environment, root),
        registry_url=environment.get("PILOTLINE_REGISTRY_URL") or _own_registry(root),
        approval_key=environment.get(KEY_VARIABLE),
    )


def lies_outside(environment: Mapping[str, str], folder: Path) -> bool:
    """Tell whether no home is named: by no setting, and by no ``lab`` above ``folder``."""
    return not environment.get("PILOTLINE_HOME") and _find_lab(environment, folder) is None


def _scratch(root: Path) -> Path:
    return root / "scratch"


def _own_registry(root: Path) -> str:
    return f"sqlite:///{root / 'registry.db'}"


def _find_lab(environment: Mapping[str, str], folder: Path) -> Path | None:
    named = environment.get("PILOTLINE_LAB")
    if named:
        return Path(named).expanduser().absolute()
    start = folder.absolute()
    for candidate in (start, *start.parents):
        if (candidate / "lab").is_dir():
            return candidate / "lab"
    return None


def _blobs(environment: Mapping[str, str], default: Path) -> Path | str:
    value = environment.get("PILOTLINE_BLOBS")
    if value and value.startswith("s3://"):
        return value
    return _folder(environment, "PILOTLINE_BLOBS", default)


def _lake(environment: Mapping[str, str], root: Path) -> Folder:
    value = environment.get("PILOTLINE_LAKE")
    if not value or "://" not in value:
        return _folder(environment, "PILOTLINE_LAKE", root / "lake")
    try:
        bucket, prefix = split_s3("PILOTLINE_LAKE", value)
    except StoreError as err:
        raise SettingsError("PILOTLINE_LAKE", err.problem, err.remedy) from err
    return S3Folder(bucket, prefix, _scratch(root))


def _folder(environment: Mapping[str, str], setting: str, default: Path) -> Path:
    value = environment.get(setting)
    if not value:
        return default
    if "://" in value:
        raise SettingsError(
            setting, f"{value!r} is neither a folder nor s3://bucket/prefix", "Write one of them."
        )
    return Path(value).expanduser().absolute()
