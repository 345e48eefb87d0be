"""Everything that a Triton client can raise becomes an error of this service, and says nothing of addresses, paths or regions."""

import grpc
import pytest
from tritonclient.utils import InferenceServerException

from service.engines.triton.errors import CODES, DETAILS, LostRegion, ModelCrashed, ServerUnreachable, to_error, translated
from service.errors import (
    BadAnswer,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidValue,
    OutOfMemory,
    QueueFull,
    ServiceError,
    UnknownModel,
)


def raised(code: grpc.StatusCode | None, message: str = "at 10.0.0.1: /models/x: rddm-region") -> ServiceError | LostRegion:
    return to_error(InferenceServerException(message, str(code) if code else None), "m")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_no_code_of_grpc_is_unmapped(code: grpc.StatusCode) -> None:
    error = raised(code)
    assert isinstance(error, CODES[code])
    assert error.status in {404, 422, 429, 503, 504}
    assert "10.0.0.1" not in error.detail
    assert "/models" not in error.detail
    assert "rddm-" not in error.detail


def test_the_table_holds_nothing_but_grpcs_codes_and_every_error_has_its_sentence() -> None:
    assert set(CODES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert set(CODES.values()) <= set(DETAILS)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        # what a real server says; see test_triton_faults for the cases themselves
        (grpc.StatusCode.UNAVAILABLE, "[request id: 1] Exceeds maximum queue size", QueueFull),
        (grpc.StatusCode.UNAVAILABLE, "Request timeout expired", QueueFull),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; Connection refused", ServerUnreachable),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", ServerUnreachable),
        (grpc.StatusCode.INTERNAL, "Stub process 'tiny_0_0' is not healthy.", ModelCrashed),
        (grpc.StatusCode.INTERNAL, "CUDA failure 2: out of memory", OutOfMemory),
        (grpc.StatusCode.INTERNAL, "failed to load 'x', failed to poll from model repository", UnknownModel),
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'x' version 7 is not found", UnknownModel),
        (grpc.StatusCode.NOT_FOUND, "Unable to find shared memory region: 'x'", LostRegion),
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape for input 'x_t'", InvalidValue),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            "'shared_memory_offset' can not be specified without 'shared_memory_region' parameter for tensor 'out_0'",
            EngineUnavailable,
        ),
        (grpc.StatusCode.INTERNAL, "shared memory size should be at least 9 bytes to hold the results", BadAnswer),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", DeadlineExceeded),
        (None, "got unexpected numpy array shape", InvalidValue),
    ],
)
def test_one_code_that_means_several_things_is_distinguished_by_what_is_said(code, message, kind) -> None:
    assert type(raised(code, message)) is kind


def test_what_may_be_tried_again_says_when() -> None:
    assert raised(grpc.StatusCode.UNAVAILABLE).retry_after == 1
    assert raised(grpc.StatusCode.INVALID_ARGUMENT).retry_after is None


def test_the_doorway_translates_and_lets_the_rest_pass() -> None:
    with pytest.raises(EngineUnavailable) as caught, translated("m"):
        raise InferenceServerException("gone", "StatusCode.UNAVAILABLE")
    assert isinstance(caught.value.__cause__, InferenceServerException)
    with pytest.raises(ServerUnreachable), translated("m"):
        raise grpc.aio.UsageError("Channel is closed.")
    with pytest.raises(ZeroDivisionError), translated("m"):
        raise ZeroDivisionError
