"""How is a model stored? A recipe in text plus safetensors, or one small .danlu file: without the code that made it, never pickle.

`save` and `load` take either; `pack_model` and `unpack_model` are the .danlu file with its options, `inspect_file` takes it apart.
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
