"""How is a model stored? A recipe in text plus safetensors: it loads without the code that made it, and never by pickle."""

from .saved import Saved, load, load_saved, save

__all__ = ["Saved", "load", "load_saved", "save"]
