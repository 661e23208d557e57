"""No two servers of a run are given one port."""

import socket
from pathlib import Path

from tests.support.servers.ports import next_port


def test_ports_are_given_once_and_are_free(tmp_path: Path) -> None:
    ports = [next_port(tmp_path) for _ in range(50)]
    assert len(set(ports)) == 50
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports[-1]))


def test_one_that_somebody_listens_on_is_passed_over(tmp_path: Path) -> None:
    first = next_port(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        assert next_port(tmp_path) not in (first, first + 1)
