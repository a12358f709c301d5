"""Checksums by AWS's names: published check values, any division of the data, joining."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.aws.checksums import ALGORITHMS, FULL_OBJECT_ALGORITHMS, checksum, joined, read_value, value


def _of(algorithm: str, *pieces: bytes) -> bytes:
    found = checksum(algorithm)
    for piece in pieces:
        found.update(piece)
    return found.digest()


# The "check" values of the catalogue of parametrised CRC algorithms, and of RFC 3720 B.4; the hashes are FIPS 180's.
CHECKS = [
    ("CRC32", b"123456789", "cbf43926"),
    ("CRC32C", b"123456789", "e3069283"),
    ("CRC32C", bytes(32), "8a9136aa"),
    ("CRC32C", b"\xff" * 32, "62a8ab43"),
    ("CRC32C", bytes(range(32)), "46dd794e"),
    ("CRC64NVME", b"123456789", "ae8b14860a799888"),
    ("CRC64NVME", b"", "0000000000000000"),
    ("SHA1", b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("SHA256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("MD5", b"abc", "900150983cd24fb0d6963f7d28e17f72"),
]


@pytest.mark.parametrize(("algorithm", "data", "want"), CHECKS)
def test_check_values(algorithm: str, data: bytes, want: str) -> None:
    """Each algorithm gives the value that is published for it."""
    assert _of(algorithm, data).hex() == want


@pytest.mark.parametrize("algorithm", ["CRC32C", "CRC64NVME"])
def test_long_data_is_computed_as_short_data(algorithm: str) -> None:
    """The fast way for long pieces agrees with the byte-wise one, whatever the length."""
    data = b"".join(zlib.crc32(bytes([number % 251])).to_bytes(4, "big") for number in range(75_000))
    for length in (4095, 4096, 4097, 8 * 512 - 1, 65_537, len(data)):
        short = [data[at : min(at + 1000, length)] for at in range(0, length, 1000)]
        assert _of(algorithm, data[:length]) == _of(algorithm, *short)


@pytest.mark.parametrize("algorithm", sorted(FULL_OBJECT_ALGORITHMS))
@given(first=st.binary(max_size=100), second=st.binary(max_size=5000))
def test_joining(algorithm: str, first: bytes, second: bytes) -> None:
    """The CRC of two pieces follows from those of each."""
    whole = _of(algorithm, first, second)
    assert joined(algorithm, _of(algorithm, first), _of(algorithm, second), len(second)) == whole


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_values_in_headers(algorithm: str) -> None:
    """A header carries the digest in Base64, of the algorithm's length and nothing else."""
    digest = _of(algorithm, b"data")
    assert len(digest) == ALGORITHMS[algorithm]
    assert read_value(algorithm, value(digest)) == digest
    for wrong in ("", "x", value(digest) + "=", value(digest)[:-4], value(digest + b"x"), "ä"):
        assert read_value(algorithm, wrong) is None
