"""What there is to say about an image before it goes into a shard: its size, and what is unusual.

For almost all JPEGs the header is read here, in microseconds; Pillow reads all others.
"""

from dataclasses import dataclass

from data_pipeline.images.decode import read_appearance

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"P5", "ppm"),
    (b"P6", "ppm"),
)
_SAME = {"jpg": "jpeg", "tif": "tiff"}
_MODES = {1: "L", 3: "RGB"}  # by the number of channels
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF = 0xE1


@dataclass(frozen=True, slots=True)
class Look:
    """Width and height, and what is worth a line in the report."""

    width: int
    height: int
    extension: str  # that its bytes should have
    notes: tuple[str, ...]


def look_at(data: bytes, extension: str, channels: int = 3) -> Look:
    """Look at the header of an image named with `extension` (empty: with none).

    `channels` is what readers will decode it to: a grey image among colours is worth a line.

    Raises BadSample for what is no image.
    """
    found = format_of(data)
    quick = _plain_jpeg(data) if found == "jpeg" else None
    if quick is not None:
        width, height, mode, is_rotated = *quick, False
    else:
        appearance = read_appearance(data)
        width, height, mode = appearance.width, appearance.height, appearance.mode
        is_rotated = appearance.is_rotated
    notes = []
    if mode != _MODES[channels]:
        notes.append(f"mode {mode}")
    if is_rotated:
        notes.append("rotated by EXIF, used as stored")
    if found and extension and _SAME.get(extension, extension) != found:
        notes.append(f"named {extension}, but its bytes are {found}")
    return Look(width, height, found or extension, tuple(notes))


def format_of(data: bytes) -> str:
    """The format that the first bytes tell, as an extension; empty where they do not."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for start, name in _SIGNATURES if data.startswith(start)), "")


def _plain_jpeg(data: bytes) -> tuple[int, int, str] | None:
    """Width, height and mode of a JPEG of 8 bits without EXIF; None for all others."""
    position, end = 2, len(data) - 9
    while position < end and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _FRAMES:
            height = int.from_bytes(data[position + 5 : position + 7])
            width = int.from_bytes(data[position + 7 : position + 9])
            mode = _MODES.get(data[position + 9])
            if data[position + 4] != 8 or mode is None or not height or not width:
                return None
            return width, height, mode
        if marker == _EXIF or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xDA:
            return None
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None
