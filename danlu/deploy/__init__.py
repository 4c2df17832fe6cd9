"""Where does it run?"""
from .bench import Timing, bench
