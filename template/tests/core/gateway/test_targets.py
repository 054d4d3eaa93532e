"""No path that can be read in two ways."""

import pytest

from app.core.errors import AppException, BadRequestError, NotFoundError
from app.core.gateway.errors import TargetTooLongError
from app.core.gateway.settings import Upstream
from app.core.gateway.targets import LONGEST_TARGET, target

PREFIX = "/services/app"
HIDDEN = Upstream(url="http://app").hidden

PASSED = [
    ("", "/"),
    ("/", "/"),
    ("/a/b/", "/a/b/"),
    ("/a%20b/%C3%A9", "/a%20b/%C3%A9"),
    ("/100%25", "/100%25"),
    ("/a.b/..c/d../...", "/a.b/..c/d../..."),
    ("/a;v=1/b,c/(d)/e@f:g", "/a;v=1/b,c/(d)/e@f:g"),
    ("/http:", "/http:"),
]
REFUSED = [
    *("/..", "/../secret", "/a/../b", "/a/..", "/.", "/./a", "/a/./b"),
    *("/%2e%2e/a", "/%2E%2e/a", "/.%2e/a", "/%2e./a", "/%2e", "/a/%2e%2e"),
    *("/%252e%252e/a", "/%25252e%25252e/a", "/%2525252e", "/%25%32%65%25%32%65/a"),
    *("/..;/a", "/..;x=1/a", "/.;/a", "/%2e%2e;/a", "/..%3b/a"),
    *("/a%2fb", "/a%2Fb", "/a%252fb", "/%2f%2fhost", "/..%2fa"),
    *("/..%3fa", "/..%23a", "/.%3f", "/..%253fa", "/%c0%ae%c0%ae/a", "/a%ff", "/a%25ff"),
    *("/a\\b", "/a%5cb", "/a%5Cb", "/a%255cb", "/..\\a", "/\\host"),
    *("//", "//host", "//host/a", "/a//b", "/a//"),
    *("/a%0d%0ab", "/a%0a", "/a%0d", "/a%00", "/%00", "/a%2500", "/a%1f", "/a%7f", "/a%250d%250a"),
    *("/a\r\nb", "/a\nb", "/a\x00b", "/a b", "/a\tb", "/a\x7f"),
    *("/%", "/%2", "/%zz", "/%u002e", "/a%c0%ae%zz"),
    *("/a<b", "/a>b", '/a"b', "/a|b", "/a^b", "/a`b", "/a{b}", "/a[b]", "/a#b"),
    *("@host", ":80", ".host", "x", "%2f..", "\\", ";a"),
]


FOR_OPERATORS = [
    *("/metrics", "/metrics/", "/metrics/x", "/ready", "/health/detailed", "/health/detailed/"),
    *("/METRICS", "/%6detrics", "/%6Detrics", "/%256detrics", "/health/%64etailed"),
    *("/metrics;v=1", "/metrics%3bv=1", "/metrics%3fx", "/metrics%23", "/health;v=1/detailed"),
    *("/;x/metrics", "/%3b/metrics", "/health/;/detailed"),
]
NOT_FOR_OPERATORS = ["/health", "/health/", "/metricsx", "/my/metrics", "/api/v1/ready", "/readyz"]


def ask(rest: str, query: str = "", prefix: str = PREFIX, hidden: tuple[str, ...] = HIDDEN) -> str:
    raw = (prefix + rest).encode()
    scope = {"type": "http", "raw_path": raw, "query_string": query.encode()}
    return target(scope, PREFIX, hidden=hidden)


@pytest.mark.parametrize(("rest", "expected"), PASSED)
def test_a_plain_path_is_passed_on_as_it_is(rest: str, expected: str) -> None:
    assert ask(rest) == expected
    assert ask(rest, "a=1&b=%0d%0a&c=../..//&d[e]=|") == f"{expected}?a=1&b=%0d%0a&c=../..//&d[e]=|"


@pytest.mark.parametrize("rest", REFUSED)
def test_an_ambiguous_path_is_refused(rest: str) -> None:
    with pytest.raises(BadRequestError):
        ask(rest)


@pytest.mark.parametrize("query", ["a b", "a\r\nb", "a\x00", "a#b", "\x7f", "é"])
def test_a_query_without_blanks_and_controls(query: str) -> None:
    with pytest.raises(BadRequestError):
        ask("/", query)


@pytest.mark.parametrize("prefix", ["/services/%61pp", "/Services/app", "/x/../services/app", ""])
def test_the_name_is_written_as_in_the_table(prefix: str) -> None:
    """The router has looked at the decoded path; what is sent on is the other one."""
    with pytest.raises(BadRequestError):
        ask("/a", prefix=prefix)


def test_the_longest_target_passes_and_one_more_byte_does_not() -> None:
    longest = "/" + "a" * (LONGEST_TARGET - len(PREFIX) - 1)
    assert ask(longest) == longest
    with pytest.raises(TargetTooLongError):
        ask(longest, "a")
    assert issubclass(TargetTooLongError, AppException)


@pytest.mark.parametrize("rest", FOR_OPERATORS)
def test_nobody_is_led_to_what_is_for_operators(rest: str) -> None:
    with pytest.raises(NotFoundError):
        ask(rest)
    assert ask(rest, hidden=()) == rest
    with pytest.raises(NotFoundError):
        ask("/own/Page", hidden=("/own/Page",))


@pytest.mark.parametrize(
    "rest", ["//metrics", "/health%2fdetailed", "/health//detailed", "/x/../ready"]
)
def test_nor_by_what_is_ambiguous(rest: str) -> None:
    with pytest.raises(BadRequestError):
        ask(rest)


@pytest.mark.parametrize("rest", NOT_FOR_OPERATORS)
def test_what_only_looks_like_it_is_passed_on(rest: str) -> None:
    assert ask(rest) == rest
