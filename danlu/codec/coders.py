"""The numbers that stand for the coders in a file. Part of version 1 of the format: names are only ever added at the end."""

SYMBOL_CODERS = ("constant", "packed", "huffman", "range", "adaptive")
MASK_CODERS = ("gaps", "bitmap", "blocks", "context")
