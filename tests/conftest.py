"""The order of the suite: files that take minutes begin first, so that no worker is left alone with one of them at the end."""

import pytest

LONG = (
    "tests/zoo/test_contract.py", "tests/edits/test_compositions.py", "tests/edits/test_contract.py", "tests/search/",
    "tests/cost/test_advise.py", "tests/compare/", "tests/cli/", "tests/edits/", "tests/codec/",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, in the order of `LONG`; the rest stays in its own."""
    items.sort(key=lambda item: next((i for i, path in enumerate(LONG) if item.nodeid.startswith(path)), len(LONG)))
