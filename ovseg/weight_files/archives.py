"""Zip archives of weights: whole, plainly stored, and with the sums that they were written with."""

from __future__ import annotations

from collections.abc import Iterable
from zipfile import ZIP_STORED, ZipFile, ZipInfo

# Read at a time.
CHUNK = 1 << 22


def check_stored(archive: ZipFile, members: Iterable[ZipInfo], size: int) -> None:
    """Stops at members that would unfold to more than the file holds.

    Args:
        archive: opened.
        members: the ones that will be read.
        size: of the file, in bytes.

    Raises:
        ValueError: compressed members, which no writer of weights makes, members that lie over
            each other, or two of one name.
    """
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise ValueError('it has two members of one name')
    members = list(members)
    if any(member.compress_type != ZIP_STORED for member in members):
        raise ValueError('its members are compressed, which weight files are not')
    if sum(member.file_size for member in members) > size:
        raise ValueError('its members are larger than the file')


def check_sums(archive: ZipFile) -> None:
    """Reads every member and compares it with the sum in the archive; torch itself does not.

    Args:
        archive: opened, its members stored.

    Raises:
        zipfile.BadZipFile: a member is not as it was written; names it.
    """
    members = archive.infolist()
    if not any(member.CRC for member in members):
        return  # written with torch.serialization.set_crc32_options(False)
    for member in members:
        with archive.open(member) as file:
            # The last read compares.
            while file.read(CHUNK):
                pass
