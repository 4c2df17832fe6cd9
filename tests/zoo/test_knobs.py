"""The width arithmetic: a factor on published channels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import UsageError
from danlu.zoo._knobs import scaled

channels = st.integers(1, 4096)
widths = st.floats(0, 16, exclude_min=True)


@given(channels)
def test_width_1_is_the_published_number(published):
    assert scaled(published, 1.0) == scaled(published, 1) == published


@given(channels, widths, widths)
def test_wider_never_has_fewer_channels(published, one, other):
    narrow, wide = sorted([one, other])
    assert scaled(published, narrow) <= scaled(published, wide)


@given(channels, widths)
def test_a_multiple_of_8_near_the_wish_unless_it_is_the_published_number(published, width):
    got = scaled(published, width)
    assert got >= 1
    if got != published:
        assert got % 8 == 0
        assert abs(got - published * width) <= 4 or got == 8
    assert (got <= published) if width < 1 else (got >= published)


def test_the_published_widths_of_mobilenet():
    assert [scaled(32, width) for width in (0.25, 0.5, 0.75)] == [8, 16, 24]
    assert [scaled(1024, width) for width in (0.25, 0.5, 0.75)] == [256, 512, 768]


@pytest.mark.parametrize("width", [0, -0.5, 16.1, float("inf"), float("nan"), "1", None, False])
def test_other_widths_are_refused(width):
    with pytest.raises(UsageError, match="above 0 and at most 16"):
        scaled(64, width)
