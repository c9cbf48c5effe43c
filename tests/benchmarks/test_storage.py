from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from benchmarks.storage import StorageError, storage_reason, storing, sync


def chained() -> Exception:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("could not export") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "x"), "no space left"),
        (OSError(errno.EDQUOT, "x"), "quota"),
        (OSError(errno.EROFS, "x"), "read-only"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "no space left"),
        (chained(), "no space left"),
        (OSError(errno.ENOENT, "x"), None),
        (ValueError("a run's own mistake"), None),
        (torch.OutOfMemoryError("CUDA out of memory"), None),
    ],
)
def test_what_the_disk_refuses_is_told_apart_from_what_is_wrong_with_a_run(
    error: Exception, reason: str | None, tmp_path: Path
) -> None:
    found = storage_reason(error, tmp_path)
    assert found is None if reason is None else found is not None and reason in found


def test_a_real_full_device_is_recognised(tmp_path: Path) -> None:
    def fill() -> None:
        with storing(tmp_path), open("/dev/full", "w", encoding="utf-8") as file:
            file.write("x" * 100_000)

    with pytest.raises(StorageError, match=r"cannot be written: no space left .* finished runs are kept"):
        fill()


def test_pytorchs_writer_says_nothing_of_the_reason_so_the_disk_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert storage_reason(error, tmp_path) is None
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr("benchmarks.storage._NOTHING_LEFT", usage.f_frsize * usage.f_blocks * 2)
    assert storage_reason(error, tmp_path) == "no space left on the device"


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), storing(tmp_path):
        1 / 0  # noqa: B018


def test_permissions_that_changed_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="permission denied"), storing(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_everything_in_a_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    sync(tmp_path)
    assert set(synced) == {str(tmp_path), *(str(tmp_path / part) for part in ("a", "a/b", "a/b/file"))}
