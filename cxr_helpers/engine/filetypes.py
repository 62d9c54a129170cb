"""What a file is by its first bytes, for the one line that says why it cannot be what a setting
needs.
"""

import re
from pathlib import Path

# (at which byte, the bytes there, what such a file is in Indonesian). The first that matches
# speaks.
MARKS = (
    (0, b"version https://git-lfs", "penunjuk Git LFS: jalankan git lfs pull"),
    (0, b"\x89PNG\r\n", "gambar PNG"),
    (0, b"\xff\xd8\xff", "gambar JPEG"),
    (0, b"GIF8", "gambar GIF"),
    (0, b"BM", "gambar BMP"),
    (0, b"II*\x00", "gambar TIFF"),
    (0, b"MM\x00*", "gambar TIFF"),
    (8, b"WEBP", "gambar WebP"),
    (128, b"DICM", "citra DICOM"),
    (0, b"%PDF", "dokumen PDF"),
    (0, b"\x89HDF\r\n", "berkas HDF5"),
    (0, b"\x93NUMPY", "satu larik .npy"),
    (0, b"MATLAB", "berkas MATLAB"),
    (0, b"\x1f\x8b", "berkas gzip"),
    (0, b"Rar!", "arsip RAR"),
    (0, b"7z\xbc\xaf", "arsip 7z"),
)
PICTURES = ("gambar", "citra")
TEXT = "berkas teks"
# of the web, also where a Path has made one slash of two; C:/ is a disk
ADDRESS = re.compile(r"\w{2,}:/")


def kind(path: Path) -> str | None:
    """'gambar PNG', 'halaman web', …; None where the first bytes tell nothing. Raises OSError where
    it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    for at, mark, what in MARKS:
        if head[at : at + len(mark)] == mark:
            return what
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "halaman web, bukan berkas yang dimaksud: unduh lagi dari tautan berkasnya"
    if head and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return TEXT
    return None


def is_picture(what: str | None) -> bool:
    return bool(what) and what.startswith(PICTURES)
