"""Wheels kept as blobs, found by the digests that locks name."""

from sqlalchemy.orm import Session

from registry.wheels import Wheel, find_wheels, put_wheel

# As in the simple index of each project.
NUMPY = "numpy-2.2.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
SIX = "six-1.17.0-py2.py3-none-any.whl"


def test_wheels_are_found_by_digest_and_listed_by_name(session: Session) -> None:
    put_wheel(session, Wheel(sha256="a" * 64, filename=SIX, size=11050))
    put_wheel(session, Wheel(sha256="b" * 64, filename=NUMPY, size=2**31))  # over 2 GiB fit too
    put_wheel(session, Wheel(sha256="c" * 64, filename="other-1-py3-none-any.whl", size=1))
    session.expire_all()
    found = find_wheels(session, ["a" * 64, "b" * 64, "f" * 64])
    assert [(wheel.filename, wheel.size) for wheel in found] == [(NUMPY, 2**31), (SIX, 11050)]


def test_a_wheel_put_twice_is_there_once(session: Session) -> None:
    for _ in range(2):
        put_wheel(session, Wheel(sha256="a" * 64, filename=SIX, size=11050))
    assert len(find_wheels(session, ["a" * 64])) == 1


def test_no_digests_find_no_wheels(session: Session) -> None:
    assert find_wheels(session, []) == []
