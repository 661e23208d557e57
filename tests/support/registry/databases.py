"""Which database a test runs on, where it is not both."""

import pytest

# For what Python decides before SQL is asked or after it answered: whether a text is a name, an
# address, a code or a constraint; what a policy says of a person; what is in a blob, an archive or
# a chain that was read. Tests beside it show on both databases that rows are stored and found.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
