import io
import tarfile

import fsspec
import pytest

from data_pipeline.sources.archive import Buffered
from data_pipeline.sources.archive import open_stretches
from data_pipeline.sources.archive import walk
from system.foundation.errors import DataError
from tests.data_pipeline.archives import tar_of

CONTENT = {"a.JPEG": b"first", "b.JPEG": b"", "c.JPEG": b"x" * 1500, "d": b"y" * 512}


@pytest.fixture
def place(tmp_path):
    def write(data):
        (tmp_path / "some.tar").write_bytes(data)
        return str(tmp_path / "some.tar")

    return write


def contents(file, members):
    return {member.name: file.read(member.start, member.length) for member in members}


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_a_tar_holds(place, kind):
    names = {**CONTENT, "long/" * 30 + "name.JPEG": b"far down", "Bär.JPEG": b"umlaut"}
    file = open_stretches(place(tar_of(names, kind=kind)))
    assert contents(file, walk(file)) == names


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_long_name_is_of_the_next_member_alone(place, kind):
    names = {"n" * 250: b"1", "short": b"2"}
    file = open_stretches(place(tar_of(names, kind=kind)))
    assert contents(file, walk(file)) == names


def test_a_tar_in_a_tar_in_an_object_store():
    inner = tar_of(CONTENT)
    fsspec.filesystem("memory").pipe_file("/outer.tar", tar_of({"z.tar": inner, "e": b"after"}))
    file = open_stretches("memory://outer.tar")
    tar, other = walk(Buffered(file, block=600))
    assert (tar.name, other.name) == ("z.tar", "e")
    members = [*walk(Buffered(file), tar.start, tar.start + tar.length)]
    assert contents(file, members) == CONTENT
    fsspec.filesystem("memory").rm("/outer.tar")


def test_links_and_folders_are_told_from_files(place):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, kind in [("folder", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE)]:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc/passwd"
            tar.addfile(member)
    file = open_stretches(place(target.getvalue()))
    assert [(member.name, member.is_file) for member in walk(file)] == [
        ("folder", False),
        ("link", False),
    ]


def test_a_tar_that_is_cut_off_does_not_pass_for_a_short_one(place):
    whole = tar_of(CONTENT)
    for length in (0, 100, 512, 1024, 1536, 2560, 3000):
        file = open_stretches(place(whole[:length]))
        with pytest.raises(DataError, match=r"some\.tar: damaged tar at byte \d+ of"):
            list(walk(file))


def test_a_damaged_header_is_found_wherever_it_is(place):
    whole = tar_of(CONTENT)
    for position in (10, 1024 + 10):
        changed = bytearray(whole)
        changed[position] ^= 1
        file = open_stretches(place(bytes(changed)))
        with pytest.raises(DataError, match=f"damaged tar at byte {position - 10} of"):
            list(walk(file))


def test_a_compressed_tar_says_so(place):
    with pytest.raises(DataError, match="unpack the gzip layer first"):
        list(walk(open_stretches(place(b"\x1f\x8b" + bytes(1022)))))


def test_a_size_beyond_the_file_is_damage(place):
    member = tarfile.TarInfo("a")
    member.size = 2**40  # too large for the old header: each format has its own way to say it
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = open_stretches(place(member.tobuf(kind) + bytes(2048)))
        with pytest.raises(DataError, match=r"'a' has 1099511627776 bytes, \d+ more than there"):
            list(walk(file))


def test_extended_headers_that_are_none(place):
    for content in (b"x path=a\n", b"1 path=a\n", b"99999", b"9 size=x\n"):
        member = tarfile.TarInfo("pax")
        member.type, member.size = tarfile.XHDTYPE, len(content)
        data = member.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0") + bytes(1024)
        with pytest.raises(DataError, match="extended header"):
            list(walk(open_stretches(place(data))))
    member.size = 2**30
    with pytest.raises(DataError, match="more than there are"):
        list(walk(open_stretches(place(member.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)))))


def test_bytes_that_are_not_there(place, tmp_path):
    file = open_stretches(place(b"0123"))
    assert file.read(1, 3) == b"123"
    with pytest.raises(DataError, match="ends at byte 4, expected 3 bytes from 2"):
        file.read(2, 3)
    fsspec.filesystem("memory").pipe_file("/short", b"0123")
    with pytest.raises(DataError, match="ends at byte 4"):
        open_stretches("memory://short").read(2, 3)
    for absent in (str(tmp_path / "absent.tar"), "memory://absent.tar"):
        with pytest.raises(DataError, match="expected a tar file"):
            open_stretches(absent)
    with pytest.raises(DataError, match="not a file"):
        open_stretches(str(tmp_path))
