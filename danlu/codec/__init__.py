"""How is a model stored? A recipe in text plus safetensors, or one small .danlu file; it loads without the code that made it.

`save` and `load` take either; `pack_model` and `unpack_model` are the .danlu file with its options, `inspect_file` takes it
apart. Nothing is ever a pickle.
"""

from .inspect import Inspection, inspect_file
from .pack import Packed, pack_model
from .saved import Saved, load, load_saved, save
from .unpack import unpack_model

__all__ = [
    "Inspection",
    "Packed",
    "Saved",
    "inspect_file",
    "load",
    "load_saved",
    "pack_model",
    "save",
    "unpack_model",
]
