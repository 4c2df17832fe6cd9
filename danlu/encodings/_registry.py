"""Where encodings register: `@encodings(paper=...)`. The name of an encoding is the name of its class."""

from typing import Any

from ..registry import Registry

encodings: Registry[Any] = Registry("encoding")
