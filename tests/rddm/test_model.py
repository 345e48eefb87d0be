"""A model travels through Triton's parameters, and its golden answer tells right from wrong."""

import numpy as np
import pytest

from rddm.model import Golden, Model, from_parameters, golden_input, to_parameters
from rddm.spec import ModelSpec


def spec(**changes: object) -> ModelSpec:
    return ModelSpec.model_validate({"name": "m", "task": "denoise", "licence": "Apache-2.0", **changes})


def model(version: int = 1) -> Model:
    answer = np.random.default_rng(version).standard_normal((1, 3, 32, 32)).astype(np.float32)
    return Model(spec(condition=("image", "context")), version, "ab" * 32, Golden(answer, 4e-3))


def test_versions_come_back_from_their_parameters_exactly() -> None:
    both = {1: model(1), 2: model(2)}
    models = from_parameters({**to_parameters(both[1]), **to_parameters(both[2]), "enable_mem_arena": "1"})
    assert list(models) == [1, 2]
    for version, back in models.items():
        assert (back.spec, back.version, back.digest) == (both[version].spec, version, both[version].digest)
        assert back.golden.tolerance == 4e-3
        np.testing.assert_array_equal(back.golden.answer, both[version].golden.answer)


def test_a_spec_without_its_golden_answer_is_refused() -> None:
    parameters = to_parameters(model())
    del parameters["golden.1"]
    with pytest.raises(ValueError, match=r"version 1 has a spec but no \['golden'\]"):
        from_parameters(parameters)


def test_the_golden_input_has_the_graphs_inputs_and_never_changes() -> None:
    given = golden_input(spec(condition=("image", "context"), size_multiple=16))
    assert {name: value.shape for name, value in given.items()} == {
        "x_t": (1, 3, 32, 32),
        "condition": (1, 6, 32, 32),
        "time": (1, 2),
    }
    assert all(value.dtype == np.float32 for value in given.values())
    # stored answers of all models that were ever exported rest on these very numbers
    np.testing.assert_allclose(given["x_t"][0, 0, 0, :3], [0.9288254, 0.8516134, 0.70209885], rtol=1e-6)
    assert given["time"].tolist() == [[500, 500]]


def test_the_golden_input_fits_a_larger_multiple_and_a_model_that_is_given_nothing() -> None:
    generator = spec(condition=(), start="noise", image_size=(64, 64), size_multiple=64)
    given = golden_input(generator)
    assert set(given) == {"x_t", "time"}
    assert given["x_t"].shape == (1, 3, 64, 64)


@pytest.mark.parametrize("wrong", [np.full((1, 3, 2, 2), np.nan), np.full((1, 3, 2, 2), np.inf), np.zeros((1, 3, 2, 4))])
def test_what_is_no_answer_is_infinitely_far_from_the_golden_one(wrong: np.ndarray) -> None:
    assert Golden(np.zeros((1, 3, 2, 2), dtype=np.float32), 1e-3).deviation(wrong) == np.inf


def test_deviation_is_relative_to_the_largest_value() -> None:
    golden = Golden(np.full((1, 3, 2, 2), 3, dtype=np.float32), 1e-3)
    assert golden.deviation(golden.answer) == 0
    assert golden.deviation(golden.answer + 0.4) == pytest.approx(0.1)
