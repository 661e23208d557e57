"""What the doctor says."""

from pilotline.flows.factory.doctor import Finding, tell_once


def test_one_trouble_is_told_once() -> None:
    down = "Registry at 'postgresql://host/name': cannot be opened."
    found = [
        Finding("registry", False, True, down),
        Finding("blobs", False, True, down),
        Finding("disk", False, False, "1.0 GiB free"),
    ]
    assert [finding.detail for finding in tell_once(found)] == [
        down,
        "not tried: registry does not work",
        "1.0 GiB free",
    ]
