"""Which requests of browsers a service answers: those of its own pages, and of people who follow a link to it."""

from __future__ import annotations

import pytest

from scripts.commands.own_pages import from_own_page

HOST = {"host": "127.0.0.1:8000"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_own_pages_and_programs_may_ask_and_other_sites_may_not(method: str) -> None:
    for headers in ({}, {"origin": "http://127.0.0.1:8000"}, {"sec-fetch-site": "none"},
                    {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}):  # fmt: skip
        assert from_own_page(method, HOST | headers)
    for headers in (
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""}, {"sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:8001"}, {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {**LINK, "origin": "null"}, {**LINK, "origin": "http://evil.example"},
    ):  # fmt: skip
        assert not from_own_page(method, HOST | headers), headers


def test_a_link_may_be_followed_and_a_form_not_sent() -> None:
    assert from_own_page("GET", HOST | LINK) and not from_own_page("POST", HOST | LINK)


def test_origins_that_were_named_may_ask() -> None:
    asked = HOST | {"origin": "https://viewer.example", "sec-fetch-site": "cross-site"}
    assert from_own_page("POST", asked, ["https://viewer.example"])
    assert not from_own_page("POST", asked, ["https://viewer.example.evil"])
