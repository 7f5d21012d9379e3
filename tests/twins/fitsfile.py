"""FITS files from headers and values, with the checksums by their definition, in NumPy."""

import re

import numpy as np

BIG_ENDIAN = {"u1": "u1", "f4": ">f4", "f8": ">f8"}


def ones_complement_sum(content, start=0):
    """Sum of the big-endian 32-bit words, what is beyond 32 bits carried round to the lowest."""
    total = start + sum(int.from_bytes(content[i : i + 4], "big") for i in range(0, len(content), 4))
    while total > 0xFFFFFFFF:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encoded(value):
    """The sixteen letters and digits that stand for a sum in CHECKSUM."""
    text = [""] * 16
    for i, byte in enumerate(value.to_bytes(4, "big")):
        quarter, rest = divmod(byte, 4)
        letters = [quarter + rest + 48, quarter + 48, quarter + 48, quarter + 48]
        for j in (0, 2):
            while not all(chr(letter).isalnum() for letter in letters[j : j + 2]):
                letters[j], letters[j + 1] = letters[j] + 1, letters[j + 1] - 1
        text[i::4] = [chr(letter) for letter in letters]
    return text[-1] + "".join(text[:-1])


def fits_bytes(hdus):
    """The file of these (header, values), cards CHECKSUM and DATASUM of the headers filled in."""
    content = b""
    for header, values in hdus:
        data = values.astype(BIG_ENDIAN[values.dtype.str[1:]]).tobytes()
        data += b"\0" * (-len(data) % 2880)
        datasum = ones_complement_sum(data)
        value = f"'{datasum:<8}'"
        text = re.sub(r"DATASUM = '0 {7}' {10}", f"DATASUM = {value:<20}", header.decode())
        checksum = encoded(0xFFFFFFFF - ones_complement_sum(text.encode(), datasum))
        content += text.replace("CHECKSUM= '0000000000000000'", f"CHECKSUM= '{checksum}'").encode() + data
    return content


def values_of(kind, size, seed=1):
    """Values of every size of number, NaN and both zeros among them."""
    rng = np.random.default_rng(seed)
    if kind == "u1":
        return rng.integers(0, 256, size, dtype=np.uint8)
    values = (rng.normal(size=size) * 10.0 ** rng.integers(-30, 30, size)).astype(kind)
    values[::7], values[3::11], values[5::13] = np.nan, -0.0, np.inf
    return values
