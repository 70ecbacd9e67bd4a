"""An archive's bytes under the numbers that the bundle's members have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from mdai_build.bundle.reader import MemberReader
from mdai_build.bundle.stamp import Stamp
from mdai_build.bundle.tar_source import TarSource
from mdai_build.bundle.zip_source import ZipSource


@dataclass(frozen=True)
class ArchiveSource:
    """The `Source` of a zip or tar.gz bundle."""

    archive: ZipSource | TarSource
    contents: Mapping[str, int]

    @property
    def stamp(self) -> Stamp:
        """The archive's stamp when it was read first."""
        return self.archive.stamp

    def stream(self, numbers: Collection[int]) -> Iterator[tuple[int, MemberReader]]:
        """See `Source.stream`."""
        return self.archive.stream(numbers)

    @property
    def reads_anywhere(self) -> bool:
        """Whether several contents can be read at once; a compressed tar can only be read from its beginning."""
        return isinstance(self.archive, ZipSource)

    def check_unchanged(self, smallest: int) -> None:
        """See `Source.check_unchanged`: what was unpacked is ours."""

    def verify(self) -> None:
        """Refuses a zip whose headers disagree; a tar has said all about itself when it was read."""
        if isinstance(self.archive, ZipSource):
            self.archive.verify()

    def checksum(self, number: int) -> int | None:
        """The CRC-32 that a zip gives for a content: good for a guess, never for a proof."""
        return self.archive.checksum(number) if isinstance(self.archive, ZipSource) else None
