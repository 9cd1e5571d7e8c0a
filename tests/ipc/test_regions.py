"""Shared regions: growth that both sides follow, views that hold, pages that go back."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from workbench.ipc.regions import Region, anonymous_file

linux = pytest.mark.skipif(sys.platform != "linux", reason="seals and hole punching are Linux's")


@pytest.fixture
def region():  # type: ignore[no-untyped-def]
    region = Region.create("test")
    yield region
    region.close()


def test_the_other_side_follows_growth(region: Region) -> None:
    other = Region(os.dup(region.fd))
    region.grow(10)
    region.view(0, 5)[:] = b"hello"
    assert bytes(other.view(0, 5)) == b"hello"
    region.grow(1 << 20)
    region.view(1 << 19, 3)[:] = b"far"
    assert bytes(other.view(1 << 19, 3)) == b"far"
    assert other.size == region.size
    other.close()


def test_growth_doubles_in_whole_pages(region: Region) -> None:
    sizes = []
    for nbytes in (1, 65536, 65537, 100_000, 400_001):
        region.grow(nbytes)
        sizes.append(region.size)
    assert sizes == [65536, 65536, 131072, 131072, 401408]
    assert os.fstat(region.fd).st_size == 401408


def test_an_older_view_holds_after_growth_and_sees_the_same_bytes(region: Region) -> None:
    region.grow(100)
    old = np.frombuffer(region.view(0, 16), np.uint8)
    region.grow(1 << 20)
    region.view(0, 1)[0] = 42
    assert old[0] == 42


@pytest.mark.parametrize(
    ("offset", "nbytes", "message"),
    [
        (0, 65537, "shared region of 65536 bytes has no bytes at 0..65537"),
        (65536, 1, "shared region of 65536 bytes has no bytes at 65536..65537"),
        (-1, 2, "shared region: no bytes at -1, 2 long"),
        (3, -2, "shared region: no bytes at 3, -2 long"),
    ],
)
def test_no_view_reaches_beyond_the_region(
    region: Region, offset: int, nbytes: int, message: str
) -> None:
    region.grow(1)
    with pytest.raises(ValueError) as raised:
        region.view(offset, nbytes)
    assert str(raised.value) == message


@linux
def test_a_region_cannot_be_shrunk_by_its_peer(region: Region) -> None:
    region.grow(1)
    with pytest.raises(PermissionError):
        os.ftruncate(region.fd, 0)


@linux
def test_released_pages_go_back_and_read_as_zeros(region: Region) -> None:
    region.release()  # nothing mapped yet, nothing to do
    region.grow(1 << 20)
    view = region.view(0, 1 << 20)
    view[:] = b"x" * (1 << 20)
    assert os.fstat(region.fd).st_blocks * 512 == 1 << 20
    region.release()
    assert os.fstat(region.fd).st_blocks == 0
    assert bytes(view[:4]) == b"\0\0\0\0"
    view[0] = 7
    assert region.view(0, 1)[0] == 7


def test_closing_twice_is_harmless() -> None:
    region = Region(anonymous_file("test"))
    fd = region.fd
    region.close()
    region.close()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_descriptor_is_not_inherited() -> None:
    fd = anonymous_file("test")
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_elsewhere_than_on_linux_it_is_an_unlinked_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ipc.regions.sys", SimpleNamespace(platform="darwin"))
    fd = anonymous_file("elsewhere")
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
