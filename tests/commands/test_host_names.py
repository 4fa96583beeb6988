"""Which Host headers a service answers: its own names on loopback, any beyond it."""

from __future__ import annotations

import pytest

from scripts.commands.host_names import names_this_computer


@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_on_loopback_only_this_computers_names_are_answered(listening: str) -> None:
    for host in ("127.0.0.1:8000", "localhost", "LOCALHOST:8000", "[::1]:8000", "[::1]", ""):
        assert names_this_computer(host, listening)
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::2]"):
        assert not names_this_computer(host, listening)
        assert names_this_computer(host, listening, ["Evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
                                                     "[::2]"])  # fmt: skip
    assert names_this_computer("127.0.0.5:80", "127.0.0.5")


@pytest.mark.parametrize("listening", ["0.0.0.0", "::", "192.168.1.7", "workstation.example"])
def test_a_service_for_the_network_is_called_by_any_name(listening: str) -> None:
    assert names_this_computer("workstation.example:8000", listening)
