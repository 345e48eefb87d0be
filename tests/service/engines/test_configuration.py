"""config.pbtxt is read without Triton's client, as Triton's client reads it."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from rddm.repository import Configuration
from service.engines.configuration import message_type, parse_config


@pytest.mark.parametrize(
    ("text", "place"), [("name = 1", "1:6"), ("name: 3", "1:7"), ('name: "a"\nname: "b"', "2:7"), ("input [", "1:7")]
)
def test_what_is_no_configuration_is_refused_with_the_place(text: str, place: str) -> None:
    with pytest.raises(ValueError, match=f"not a model configuration: {place}"):
        parse_config(text)


def test_every_model_that_ships_is_read_as_tritons_own_messages_read_it(root: Path) -> None:
    texts = [path.read_text("utf-8") for path in root.joinpath("model_repository").glob("*/config.pbtxt")]
    assert texts
    for text in texts:
        complete = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert parse_config(text) == Configuration.of(complete)
        assert Configuration.of(message_type().FromString(complete.SerializeToString())) == parse_config(text)


def test_what_is_not_needed_here_is_passed_over_in_every_form_of_the_text() -> None:
    text = "# a comment\nname: 'm' max_batch_size: 4; input <dims: [3, -1]>\nbackend: \"onnx\" 'runtime' parameters: {key: 'k'}"
    assert parse_config(text) == Configuration("m", "onnxruntime", "", {"k": ""})
