"""Entropy coders of the .danlu file: symbols (codebook indices) and positions (where the non-zeros are).

Every coder's bytes are described in its file, for other programs to read: damaged.py (numbers), ranges.py (the range coder),
plain.py, huffman.py, static.py, adaptive.py, gaps.py, blocks.py, context.py and logistic.py.
"""

from .damaged import Damaged
from .positions import decode_positions, encode_positions
from .symbols import decode_symbols, encode_symbols, entropy_bits

CODERS = {
    "constant": "one symbol throughout",
    "packed": "the same number of bits for every symbol",
    "huffman": "canonical Huffman code",
    "range": "range coder, one stored model",
    "adaptive": "range coder, the model learned from what came before",
    "gaps": "numbers of zeros between non-zeros, range coded",
    "bitmap": "one bit a weight, range coded",
    "blocks": "one bit a weight, rows and columns in classes of like density",
    "context": "one bit a weight, its chance learned from rows, columns and neighbours",
}

__all__ = [
    "CODERS",
    "Damaged",
    "decode_positions",
    "decode_symbols",
    "encode_positions",
    "encode_symbols",
    "entropy_bits",
]
