"""Any sequence of registry operations keeps the invariants 1 and 3 to 8 of the design."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyotp
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import create_engine, make_url, text

from pilotline.registry import Registry
from pilotline.registry.gates.approvers import enrol
from tests.support.registry.account import PEOPLE
from tests.support.registry.line import Line
from tests.support.registry.troubled import VAULT, present
from tests.support.suite.tiers import Tier
from tests.support.waiting import stretched

FEW, MANY = 10, 50  # in make test, in CI; make test-invariants names a number of its own
NAMED = os.environ.get("PILOTLINE_EXAMPLES")
ON_POSTGRESQL = 0.1  # of the examples; the same code, with a server that is slower to set up
# In memory where there is such a place: a process that dies is not a power cut.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
Open = Callable[[], AbstractContextManager[Registry]]

LIMIT_S = stretched(120 + 2 * int(NAMED or MANY))  # a life takes half a second

pytestmark = [
    pytest.mark.timeout(LIMIT_S),
    # From 3.12 on Python warns of threads that a child would miss; ours are those of pytest-xdist.
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    """Return how many registries live."""
    tier = request.config.getoption("--tier")
    return int(NAMED or (MANY if tier in (Tier.CI, Tier.ALL) else FEW))


def run_line(opened: Open, secrets: dict[str, str], examples: int) -> None:
    """Let ``examples`` registries live, each opened anew; no fewer."""
    begun = 0

    class Here(Line):
        def __init__(self) -> None:
            nonlocal begun
            begun += 1
            super().__init__(opened(), secrets)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            derandomize=False,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert begun >= examples


def enrol_everybody(url: str, folder: Path) -> dict[str, str]:
    """Return the secrets of the approvers, who are enrolled once for all examples."""
    secrets: dict[str, str] = {}
    with Registry(url, folder) as registry:
        for number, name in enumerate(PEOPLE, start=1):
            by = present(secrets, PEOPLE[0], number) if secrets else None
            secrets[name] = pyotp.parse_uri(enrol(registry, VAULT, name, by)).secret
    return secrets


def test_any_life_of_a_registry_keeps_the_invariants_on_sqlite(
    empty_database: Path, tmp_path: Path, examples: int
) -> None:
    template = Path(shutil.copy(empty_database, tmp_path / "template.db"))
    secrets = enrol_everybody(f"sqlite:///{template}", tmp_path)

    @contextmanager
    def opened() -> Iterator[Registry]:
        with TemporaryDirectory(dir=FOLDER) as folder:
            shutil.copy(template, f"{folder}/registry.db")
            with Registry(f"sqlite:///{folder}/registry.db", folder) as registry:
                yield registry

    run_line(opened, secrets, examples)


def test_any_life_of_a_registry_keeps_the_invariants_on_postgresql(
    new_database: str, postgres_url: str, tmp_path: Path, examples: int
) -> None:
    template = make_url(new_database)
    secrets = enrol_everybody(new_database, tmp_path)
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT")

    @contextmanager
    def opened() -> Iterator[Registry]:
        name = f"line_{uuid.uuid4().hex}"
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template.database}"))
        try:
            url = template.set(database=name).render_as_string(hide_password=False)
            with TemporaryDirectory(dir=FOLDER) as folder, Registry(url, folder) as registry:
                yield registry
        finally:
            with server.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))

    run_line(opened, secrets, max(3, int(examples * ON_POSTGRESQL)))
    server.dispose()
