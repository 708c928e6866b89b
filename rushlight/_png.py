"""A PNG writer of a few lines and a small bitmap font: enough to draw labelled pictures without a plotting library."""

import struct
import zlib

import numpy as np

# Glyphs 3 pixels wide and 5 high, one string of five rows of octal digits: 7 is "###", 5 is "# #", ...
_FONT = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757",
    "7": "71122", "8": "75757", "9": "75717", " ": "00000", ">": "42124", "?": "71302", "-": "00700",
    "(": "24442", ")": "21112", "=": "07070", ".": "00002", ":": "02020",
}  # fmt: skip


def write_png(path, image):
    """Write a uint8 array of shape (height, width) or (height, width, 3) to path as a PNG file."""
    image = np.ascontiguousarray(image, dtype=np.uint8)
    if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image is (height, width) or (height, width, 3), got {image.shape}")
    height, width = image.shape[:2]
    colour_type = 0 if image.ndim == 2 else 2
    rows = image.reshape(height, -1)
    filtered = np.insert(rows, 0, 0, axis=1)  # each row starts with the number of its filter: none

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)))
        file.write(chunk(b"IEND", b""))


def text_size(text, scale=1):
    """(height, width) in pixels that draw_text needs."""
    return 5 * scale, max(0, 4 * len(text) - 1) * scale


def draw_text(image, text, top, left, colour, scale=1):
    """Draw text into image, an array of shape (height, width, 3), with its top left corner at (top, left)."""
    for position, character in enumerate(text):
        for y, bits in enumerate(_FONT.get(character, _FONT["?"])):
            for x in range(3):
                if int(bits, 8) & (4 >> x):
                    row, column = top + y * scale, left + (4 * position + x) * scale
                    image[row : row + scale, column : column + scale] = colour
