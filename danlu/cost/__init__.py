"""What does a network cost? Count, time, receptive field, advice."""

from .advise import Advice, Bounds, advise
from .onnx_count import count_onnx, profile_onnx
from .profile import Profile, profile
from .row import Row, Uncounted

__all__ = ["Advice", "Bounds", "Profile", "Row", "Uncounted", "advise", "count_onnx", "profile", "profile_onnx"]
