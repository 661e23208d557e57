"""Which databases a test runs on, where it is not both."""

import pytest

# Where Python alone decides: what SQL does for such a test, tests of the same file show on both.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
