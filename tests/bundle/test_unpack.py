from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdai_build.bundle import Bundle, UnpackedBundle, read_bundle, unpack_bundle
from mdai_build.bundle.objects import ObjectStore, object_time
from mdai_build.errors import BundleError, UnavailableError

MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def contents(unpacked: UnpackedBundle) -> dict[str, bytes]:
    return {file.path: file.source.read_bytes() for file in unpacked.files}


def objects(store: Path) -> dict[str, int]:
    """Each object's name and inode: what was written anew has a new inode."""
    return {path.name: path.stat().st_ino for path in (store / "objects").glob("*/*")}


def aged(path: Path) -> Path:
    """Waits until the archive is old enough for its stamp to be trusted."""
    while path.stat().st_ctime_ns > time.time_ns() - 150_000_000:
        time.sleep(0.02)
    return path


def test_the_digest_is_the_same_for_zip_tar_and_folder(making, tmp_path: Path, store: Path) -> None:
    folder = making.folder(tmp_path / "model")
    (folder / "run.sh").write_bytes(b"#!")
    (folder / "run.sh").chmod(0o755)
    bundles = [
        making.zip(tmp_path / "m.zip", (making.unix("model/run.sh", 0o100755), b"#!")),
        making.tar(tmp_path / "m.tar.gz", (making.tar_info("model/run.sh", mode=0o755), b"#!")),
        folder,
    ]
    unpacked = [unpack_bundle(read_bundle(path), store) for path in bundles]
    assert len({one.digest for one in unpacked}) == 1
    assert unpacked[0].digest.startswith("sha256:")
    expected = {**making.model, "run.sh": b"#!"}
    for one in unpacked:
        assert contents(one) == expected
        assert [file.path for file in one.files if file.executable] == ["run.sh"]
    assert unpacked[2].files[-1].source == folder / "weights.bin"


def test_the_digest_is_about_path_content_and_execute_bit(making, tmp_path: Path, store: Path) -> None:
    variants = [
        making.entries(),
        [*making.entries(), ("model/a", b"")],
        [*making.entries(), ("model/b", b"")],
        [*making.entries(), ("model/a", b"x")],
        [*making.entries(), (making.unix("model/a", 0o100755), b"x")],
    ]
    digests = set()
    for entries in variants:
        digests.add(unpack_bundle(read_bundle(making.zip(tmp_path / "m.zip", entries=entries)), store).digest)
    assert len(digests) == len(variants)


def test_an_unchanged_archive_is_not_read_again(making, tmp_path: Path, store: Path) -> None:
    path = aged(making.zip(tmp_path / "m.zip", method=zipfile.ZIP_STORED))
    first = unpack_bundle(read_bundle(path), store)
    before = objects(store)

    again = read_bundle(path)
    object.__setattr__(again.source, "archive", _NoReading(again.source.archive))  # type: ignore[attr-defined]
    assert unpack_bundle(again, store).files == first.files
    assert objects(store) == before


class _NoReading:
    """An archive that answers everything but requests for its bytes."""

    def __init__(self, archive: object) -> None:
        self._archive = archive

    def __getattr__(self, name: str) -> object:
        assert name != "stream", "the archive was read again"
        return getattr(self._archive, name)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_new_version_shares_what_did_not_change(making, tmp_path: Path, store: Path, kind: str) -> None:
    weights = random.Random(1).randbytes(2 * MIB)
    path = tmp_path / "m"

    def write(code: bytes) -> None:
        if kind == "zip":
            making.zip(path, ("model/w", weights), ("model/code.py", code))
        else:
            making.tar(path, (making.tar_info("model/w"), weights), (making.tar_info("model/code.py"), code))

    write(b"1")
    first = unpack_bundle(read_bundle(path), store)
    before = objects(store)
    write(b"2")
    second = unpack_bundle(read_bundle(path), store)
    assert contents(second)["code.py"] == b"2"
    assert contents(first)["code.py"] == b"1"
    after = objects(store)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    assert first.digest != second.digest


def same_checksum() -> Iterator[bytes]:
    """Two different contents of one length with the same CRC-32, as a forger would make them."""
    seen: dict[int, bytes] = {}
    numbers = random.Random(2)
    while True:
        start = numbers.randbytes(8)
        other = seen.setdefault(zlib.crc32(start), start)
        if other != start:
            # CRC-32 goes on from where it is, so the same rest keeps the two equal.
            yield from (other + bytes(2 * MIB), start + bytes(2 * MIB))
            return


def test_no_bundle_receives_another_s_bytes_for_a_forged_checksum(making, tmp_path: Path, store: Path) -> None:
    secret, forged = same_checksum()
    assert zlib.crc32(secret) == zlib.crc32(forged) and secret != forged
    theirs = making.zip(tmp_path / "theirs.zip", ("model/w", secret))
    ours = making.zip(tmp_path / "ours.zip", ("model/w", forged))
    assert contents(unpack_bundle(read_bundle(theirs), store))["w"] == secret
    assert contents(unpack_bundle(read_bundle(ours), store))["w"] == forged
    ours.replace(theirs)
    assert contents(unpack_bundle(read_bundle(theirs), store))["w"] == forged


def test_a_replaced_archive_with_the_same_size_and_time_is_noticed(making, tmp_path: Path, store: Path) -> None:
    path = aged(making.zip(tmp_path / "m.zip", ("model/a", b"1"), method=zipfile.ZIP_STORED))
    status = path.stat()
    first = unpack_bundle(read_bundle(path), store)
    content = making.zip(tmp_path / "other.zip", ("model/a", b"2"), method=zipfile.ZIP_STORED).read_bytes()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    second = unpack_bundle(read_bundle(path), store)
    assert contents(second)["a"] == b"2"
    assert first.digest != second.digest


@pytest.mark.parametrize("damage", ["cut", "written", "gone", "folder", "touched"])
def test_a_damaged_object_is_written_anew(making, tmp_path: Path, store: Path, damage: str) -> None:
    path = aged(making.zip(tmp_path / "m.zip"))
    unpacked = unpack_bundle(read_bundle(path), store)
    victim = unpacked.files[-1].source
    victim.chmod(0o644)
    if damage == "cut":
        os.truncate(victim, 3)
    elif damage == "written":
        victim.write_bytes(b"WEIGHTS")
    elif damage == "touched":
        os.utime(victim)
    else:
        victim.unlink()
    if damage == "folder":
        victim.symlink_to("/etc/passwd")
    again = unpack_bundle(read_bundle(path), store)
    assert contents(again) == making.model
    assert stat.S_IMODE(victim.lstat().st_mode) == 0o644


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"null", b'{"format": "mdai-build bundle 1"}', b"\xff"])
def test_a_damaged_record_costs_a_read_and_no_more(making, tmp_path: Path, store: Path, record: bytes) -> None:
    path = aged(making.zip(tmp_path / "m.zip"))
    folder = making.folder(tmp_path / "folder")
    for bundle in (path, folder):
        unpack_bundle(read_bundle(bundle), store)
    for file in [*store.glob("archives/*"), *store.glob("folders/*")]:
        file.write_bytes(record)
    for bundle in (path, folder):
        assert contents(unpack_bundle(read_bundle(bundle), store)) == making.model


def test_a_record_with_other_hashes_is_not_believed(making, tmp_path: Path, store: Path) -> None:
    path = aged(making.zip(tmp_path / "m.zip"))
    unpack_bundle(read_bundle(path), store)
    (record,) = (store / "archives").iterdir()
    content = json.loads(record.read_bytes())
    for value in ("../../../../etc/passwd", 5, None, "0" * 64):
        content["hashes"]["weights.bin"] = value
        record.write_text(json.dumps(content))
        assert contents(unpack_bundle(read_bundle(path), store)) == making.model


def test_object_times_are_stable_and_tell_contents_apart(making, tmp_path: Path, store: Path) -> None:
    """Build engines compare size and time: two contents of one length must not share a time."""
    entries = [(f"model/{number}", b"%04d" % number) for number in range(300)]
    unpacked = unpack_bundle(read_bundle(making.zip(tmp_path / "m.zip", *entries)), store)
    times = {file.source.stat().st_mtime_ns for file in unpacked.files if file.path.isdigit()}
    assert len(times) == 300
    assert all(10**18 <= moment < time.time_ns() for moment in times)
    assert object_time("f" * 64) < 1_600_000_000 * 10**9


def test_a_full_disk_is_told_as_such_and_leaves_nothing(making, tmp_path: Path, store: Path) -> None:
    """A limit on the size of files stands for the full disk: the same kind of error, for real."""
    path = making.zip(tmp_path / "m.zip", ("model/w", bytes(MIB)))
    bundle = read_bundle(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB // 2, hard))
    try:
        with pytest.raises(UnavailableError, match="cannot be unpacked: File too large") as failure:
            unpack_bundle(bundle, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "cache_folder" in (failure.value.problems[0].next_step or "")
    assert not list((store / "temporary").iterdir())
    assert len(unpack_bundle(bundle, store).files) == 5


def test_a_store_that_cannot_be_made_is_told(making, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bundle = read_bundle(making.zip(tmp_path / "m.zip"))
    with pytest.raises(UnavailableError, match="cannot be unpacked"):
        unpack_bundle(bundle, tmp_path / "file" / "store")


def test_twenty_unpacks_at_once_agree(making, tmp_path: Path, store: Path) -> None:
    paths = [making.zip(tmp_path / f"m{n}.zip", ("model/w", bytes([n]) * 1000)) for n in range(4)]
    results: list[tuple[int, UnpackedBundle]] = []

    def work(number: int) -> None:
        results.append((number, unpack_bundle(read_bundle(paths[number]), store)))

    threads = [threading.Thread(target=work, args=(n % 4,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    for number, unpacked in results:
        assert contents(unpacked)["w"] == bytes([number]) * 1000
    assert not list((store / "temporary").iterdir())


@pytest.mark.process
def test_a_killed_unpack_leaves_nothing_that_is_taken_as_whole(making, tmp_path: Path, store: Path) -> None:
    """Starts Python, as only a process can be killed: it dies while the first large member is being written."""
    path = making.zip(tmp_path / "m.zip", ("model/w", random.Random(3).randbytes(8 * MIB)), method=zipfile.ZIP_STORED)
    program = f"""
import os, signal
from pathlib import Path
from mdai_build.bundle import read_bundle, unpack_bundle
def on_progress(done, total):
    if done > {4 * MIB}:
        os.kill(os.getpid(), signal.SIGKILL)
unpack_bundle(read_bundle(Path({str(path)!r})), Path({str(store)!r}), on_progress)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert list((store / "temporary").rglob("*"))
    unpacked = unpack_bundle(read_bundle(path), store)
    assert len(contents(unpacked)["w"]) == 8 * MIB
    assert not list((store / "temporary").iterdir())


def test_progress_counts_up_to_the_whole(making, tmp_path: Path, store: Path) -> None:
    path = aged(making.zip(tmp_path / "m.zip", ("model/w", bytes(3 * MIB))))
    for _ in range(2):
        seen: list[tuple[int, int]] = []
        bundle = read_bundle(path)
        unpack_bundle(bundle, store, lambda done, total, seen=seen: seen.append((done, total)))  # type: ignore[misc]
        total = sum(member.size for member in bundle.members)
        assert seen[-1] == (total, total)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def large_content(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * (12 * MIB // 32)


@pytest.fixture
def large(making, tmp_path: Path) -> Path:
    """A zip whose contents are many enough bytes to be unpacked side by side."""
    members = [(f"model/w{number}", large_content(number)) for number in range(4)]
    return aged(making.zip(tmp_path / "large.zip", *members, ("model/small", b"x")))


def test_large_contents_are_unpacked_side_by_side(large: Path, store: Path) -> None:
    seen: set[int] = set()
    unpacked = unpack_bundle(read_bundle(large), store, lambda done, total: seen.add(threading.get_ident()))
    assert contents(unpacked)["w3"] == large_content(3)
    assert len(contents(unpacked)) == 9
    assert len(seen) > 1 or os.cpu_count() == 1
    before = objects(store)
    with zipfile.ZipFile(large, "a") as archive:
        archive.writestr("model/more", b"y")
    again = unpack_bundle(read_bundle(aged(large)), store)
    assert {name: inode for name, inode in objects(store).items() if name in before} == before
    assert contents(again).keys() - contents(unpacked).keys() == {"more"}


def test_a_damage_among_contents_side_by_side_is_told_as_such(large: Path, store: Path) -> None:
    with zipfile.ZipFile(large) as archive:
        info = archive.getinfo("model/w2")
        place = info.header_offset + info.compress_size // 2
    with large.open("r+b") as file:
        file.seek(place)
        file.write(b"damage")
    with pytest.raises(BundleError, match="w2"):
        unpack_bundle(read_bundle(aged(large)), store)
    assert not list((store / "temporary").iterdir())


def test_an_interruption_ends_all_that_is_unpacked_side_by_side(large: Path, store: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_bundle(read_bundle(large), store, interrupt)
    assert not list((store / "temporary").iterdir())
    assert objects(store) == {}


def test_a_folder_s_files_are_hashed_once(making, tmp_path: Path, store: Path) -> None:
    folder = making.folder(tmp_path / "model")
    while (folder / "weights.bin").stat().st_mtime_ns > time.time_ns() - 150_000_000:
        time.sleep(0.02)
    first = unpack_bundle(read_bundle(folder), store)
    (record,) = (store / "folders").iterdir()
    before = record.stat().st_mtime_ns
    again = unpack_bundle(read_bundle(folder), store)
    assert again.digest == first.digest
    assert record.stat().st_mtime_ns == before
    (folder / "weights.bin").write_bytes(b"Weights")
    assert unpack_bundle(read_bundle(folder), store).digest != first.digest
    assert not (store / "objects").exists()


def test_a_bundle_of_another_source_is_our_own_mistake(making, tmp_path: Path, store: Path) -> None:
    bundle = read_bundle(making.zip(tmp_path / "m.zip"))
    other = Bundle(bundle.name, bundle.origin, "zip", (), (), "", bundle.limits, object())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        unpack_bundle(other, store)


def test_only_whole_objects_are_held(tmp_path: Path) -> None:
    held = ObjectStore(tmp_path)
    assert not held.holds("0" * 64, False, 0)
    assert not held.holds("../" * 21 + "x", False, 0)


NAMES = st.text(min_size=1, max_size=20) | st.lists(
    st.sampled_from(["..", ".", "/", "a", "b", "\\", "C:", "~", "\0", "\n", "é"]), min_size=1, max_size=6
).map("/".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(NAMES, max_size=4))
def test_no_member_name_ever_writes_outside_of_the_store(making, tmp_path_factory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("names")
    entries = [(name, b"evil") for name in names if name.encode("utf-8", "ignore")]
    try:
        path = making.zip(folder / "m.zip", *entries)
    except (ValueError, UnicodeError, IndexError):
        return  # zipfile itself cannot write such a name
    try:
        unpacked = unpack_bundle(read_bundle(path), folder / "store")
    except BundleError:
        pass
    else:
        assert all(file.source.is_relative_to(folder / "store" / "objects") for file in unpacked.files)
    assert {entry.name for entry in folder.iterdir()} <= {"m.zip", "store"}
