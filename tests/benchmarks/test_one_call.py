"""A call of one build's file beside another one's."""

from pathlib import Path

from benchmarks.one_call import GraphFile, compare
from tests.models import release_tiny, tiny_spec


def test_a_file_beside_itself_answers_alike_and_the_newest_version_is_taken(tmp_path: Path) -> None:
    release_tiny(tmp_path, tiny_spec())
    name = next(tmp_path.iterdir()).name
    file = GraphFile(tmp_path, name)
    actual = compare(file, file, 32, 3)
    assert actual["largest_difference"] == 0
    assert set(actual["milliseconds"]) == {"before", "now"}
    assert actual["now_over_before"]["cpu"] > 0
    older = tmp_path / name / "1"
    (tmp_path / name / "10").mkdir()
    (tmp_path / name / "10/model.onnx").write_bytes((older / "model.onnx").read_bytes())
    (older / "model.onnx").write_bytes(b"damaged")
    assert GraphFile(tmp_path, name).spec == file.spec
