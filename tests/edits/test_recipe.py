"""The recipe grammar: what is written comes back, and nothing else than UsageError ever comes out."""

import keyword
import re
import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from danlu.edits import parse, show
from danlu.edits.recipe import Call, split_steps
from danlu.errors import UsageError

names = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=12).filter(
    lambda s: s.isidentifier() and not keyword.iskeyword(s)
)
numbers = st.integers(-(2**200), 2**200) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.none() | st.booleans() | numbers | st.text(max_size=20)


def containers(inner: st.SearchStrategy) -> st.SearchStrategy:
    lists = st.lists(inner, max_size=3)
    return lists | lists.map(tuple) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


values = st.recursive(plain, containers, max_leaves=6)
calls = st.builds(Call, names, st.dictionaries(names, values, max_size=3))
bases = st.builds(
    lambda module, path, options: Call(f"{module}:{path}", options),
    st.lists(names, min_size=1, max_size=2).map(".".join),
    st.lists(names, min_size=1, max_size=2).map(".".join),
    st.dictionaries(names, values, max_size=2),
)


@given(st.lists(calls, min_size=1, max_size=4))
@example([Call("a", {"x": "\\"}), Call("b", {"y": "it's | \\' \"quoted\" (["})])
def test_what_is_shown_parses_back(steps: list[Call]) -> None:
    assert parse(show(steps)) == steps
    assert show(parse(show(steps))) == show(steps)


@given(bases, st.lists(calls, max_size=2))
def test_a_base_from_outside_keeps_its_colon(base: Call, steps: list[Call]) -> None:
    assert parse(show([base, *steps])) == [base, *steps]


@given(st.text(max_size=60) | st.text("()[]{}'\"\\|:,.=*#abc10-_ \n\0{}", max_size=40))
@example("a(x=__import__('os').system('false'))")
@example("a(x=1e999)")
@example("a(x=0x" + "f" * 5000 + ")")
@example("a(x=" + "-" * 4000 + "1)")
@example("a(x=" + "(" * 300 + "1" + ")" * 300 + ")")
@example("a(x='\\d')")
@example("a(x=f'{1}')")
@example("a:b().c")
@example("a b:c")
@example("a" * 10_001)
def test_no_text_raises_anything_but_usage_error(text: str) -> None:
    try:
        steps = parse(text)
    except UsageError:
        return
    assert parse(show(steps)) == steps


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty step"),
        ("a |", "empty step"),
        ("a(1)", "by name"),
        ("a(**{})", "** is not allowed"),
        ("a(x=1, x=2)", "given twice"),
        ("a(x=y)", "not a literal"),
        ("a(x=1+1)", "not a literal"),
        ("a(x={1, 2})", "not a literal"),
        ("a(x=b'bytes')", "not a literal"),
        ("a(x=...)", "not a literal"),
        ("a(x=1j)", "not a literal"),
        ("a(x=1e999)", "finite number"),
        ("a.b", "start with a name"),
        ("a()()", "start with a name"),
        ("3", "start with a name"),
        ("a(x=lambda: 1)", "not a literal"),
        ("if", "not of the form"),
        ("a:1", "recipe step 'a:1' does not start with a name"),
        ("a b:c", "not a module name"),
    ],
)
def test_errors_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        parse(text)


def test_nothing_is_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "was_here"
    opens = f"open({str(path)!r}, 'w')"
    for text in (f"a(x={opens})", f"{opens}.write", f"a | b(x=[{opens}])", f"m:{opens}.close", f"a(x=f'{{{opens}}}')"):
        with pytest.raises(UsageError):
            parse(text)
    assert not path.exists()


def test_bars_in_brackets_and_quotes_do_not_split() -> None:
    assert split_steps("a(x='|', y=[\"|\"]) | b") == ["a(x='|', y=[\"|\"])", "b"]
    assert split_steps(r"a(x='\\') | b(y='\'|') | c") == [r"a(x='\\')", r"b(y='\'|')", "c"]


def test_a_whole_recipe() -> None:
    text = "mine.nets:make(width=0.5) | swap_activation(to='silu') | fit_input(size=(32, 48)) | fold_bn"
    assert [str(call) for call in parse(text)] == text.split(" | ")
    assert parse(text)[2].options == {"size": (32, 48)}
