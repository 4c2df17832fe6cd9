"""The made-up result that the tests of the report share."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def example() -> Callable[..., dict[str, Any]]:
    """`example(classes, images, met)`: a whole result."""
    spec = importlib.util.spec_from_file_location("example_result", Path(__file__).with_name("example_result.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.example
