"""Frames on disk: whole ones are read, torn tails are found, damage in the middle is told apart."""

from pathlib import Path

import pytest

from chappie.journal.framing import HEAD_BYTES, FrameReader, framed


def payloads(path: Path) -> tuple[list[bytes], FrameReader]:
    reader = FrameReader(path)
    return [bytes(payload) for payload in reader], reader


def test_whole_frames_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(framed(b"one") + framed(b"two"))
    found, reader = payloads(path)
    assert found == [b"one", b"two"]
    assert reader.torn is None
    assert reader.end == path.stat().st_size


@pytest.mark.parametrize("cut", range(1, len(framed(b"third"))))
def test_a_tail_torn_at_any_byte_loses_only_the_last_frame(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log"
    good = framed(b"first") + framed(b"second")
    path.write_bytes(good + framed(b"third")[:-cut])
    found, reader = payloads(path)
    assert found == [b"first", b"second"]
    assert reader.torn is not None
    assert reader.torn.at_tail
    assert reader.torn.offset == len(good)
    assert reader.torn.lost_bytes == len(framed(b"third")) - cut
    assert reader.end == len(good)


def test_zeros_where_data_never_arrived_are_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(framed(b"first") + bytes(4096))
    found, reader = payloads(path)
    assert found == [b"first"]
    assert reader.torn is not None
    assert reader.torn.at_tail


@pytest.mark.parametrize("byte", range(len(framed(b"second"))))
def test_a_flipped_byte_before_whole_frames_is_damage_and_not_a_tail(
    tmp_path: Path, byte: int
) -> None:
    path = tmp_path / "log"
    data = bytearray(framed(b"first") + framed(b"second") + framed(b"third"))
    data[len(framed(b"first")) + byte] ^= 0x40
    path.write_bytes(data)
    found, reader = payloads(path)
    assert found == [b"first"]
    assert reader.torn is not None
    assert not reader.torn.at_tail


def test_a_checksum_of_the_wrong_payload_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(framed(b"first") + framed(b"second")[:HEAD_BYTES] + b"SECOND")
    found, reader = payloads(path)
    assert found == [b"first"]
    assert reader.torn is not None
    assert "checksum" in str(reader.torn)


def test_an_empty_file_is_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    found, reader = payloads(path)
    assert found == []
    assert reader.torn is None
