"""Whether rendered manifests are what the Kubernetes API takes, member by member.

Built-in kinds are checked against the API's own schemas. Of the kinds that others define, KEDA's and the Prometheus operator's are
checked against models made from their definitions; those of the Gateway API and of KubeRay against the members named here, since
nothing on PyPI has them.
"""

import json
from functools import cache
from typing import Annotated, Any, Literal

import kubernetes_validate
from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel

VERSION = "1.37"
Manifest = dict[str, Any]
Duration = Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]


class InvalidManifest(ValueError):
    """The manifest is not what its kind takes; the message names the kind, the name and the member."""


class Strict(BaseModel):
    """Members by the API's names; any other is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Metadata(Strict):
    name: str
    labels: dict[str, str]
    annotations: dict[str, str] | None = None


class ParentRef(Strict):
    name: str
    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    section_name: str | None = None
    port: int | None = None


class Path(Strict):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: Annotated[str, Field(pattern="^/")]


class Match(Strict):
    path: Path


class Timeouts(Strict):
    request: Duration
    backend_request: Duration | None = None


class BackendRef(Strict):
    name: str
    port: int


class Rule(Strict):
    matches: list[Match]
    timeouts: Timeouts
    backend_refs: list[BackendRef]


class RouteSpec(Strict):
    parent_refs: Annotated[list[ParentRef], Field(min_length=1)]
    hostnames: list[str] | None = None
    rules: Annotated[list[Rule], Field(min_length=1, max_length=16)]


class HTTPRoute(Strict):
    """gateway.networking.k8s.io/v1, standard channel, as far as the chart uses it."""

    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: RouteSpec


class RayGroup(Strict):
    ray_start_params: dict[str, str]
    template: dict[str, Any]


class WorkerGroup(RayGroup):
    group_name: str
    replicas: int
    min_replicas: int
    max_replicas: int


class RayCluster(Strict):
    ray_version: str
    head_group_spec: RayGroup
    worker_group_specs: list[WorkerGroup]


class RayJobSpec(Strict):
    entrypoint: str
    submission_mode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]
    shutdown_after_job_finishes: bool
    ttl_seconds_after_finished: int
    active_deadline_seconds: int
    backoff_limit: int
    suspend: bool | None = None
    ray_cluster_spec: RayCluster


class RayJob(Strict):
    """ray.io/v1, as far as the chart uses it."""

    api_version: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec


@cache
def custom() -> dict[str, type[BaseModel]]:
    """Models of the kinds that others define. Importing those of KEDA and the operator takes 3 s: not while tests are collected."""
    from cloudcoil.models.keda.v1alpha1 import ScaledObject  # noqa: PLC0415
    from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor  # noqa: PLC0415

    return {"HTTPRoute": HTTPRoute, "RayJob": RayJob, "ScaledObject": ScaledObject, "ServiceMonitor": ServiceMonitor}


def check(manifest: Manifest) -> None:
    """Raises InvalidManifest."""
    _check_text(json.dumps(manifest))


@cache  # many combinations of values make the same manifest
def _check_text(text: str) -> None:
    manifest = json.loads(text)
    try:
        if manifest["kind"] in custom():
            _check_custom(manifest)
        else:
            kubernetes_validate.validate(manifest, VERSION, strict=True)
    except (ValueError, kubernetes_validate.ValidationError) as wrong:
        raise InvalidManifest(f"{manifest['kind']} {manifest['metadata']['name']}: {wrong}") from wrong
    for template in pod_templates(manifest):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "of-a-ray-group"}, "template": template}
        kubernetes_validate.validate(pod, VERSION, strict=True)


def _check_custom(manifest: Manifest) -> None:
    """The models of others pass over members that they do not know: those are missing in what the model writes."""
    model = custom()[manifest["kind"]].model_validate(manifest)
    written = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if lost := sorted(set(_members(manifest)) - set(_members(written))):
        raise ValueError(f"unknown members {lost}")


def _members(value: Any, at: str = "") -> list[str]:
    """The dotted path of every member."""
    if isinstance(value, RootModel | str | int | float | bool) or value is None:
        return [at]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [at, *(path for name, inner in items for path in _members(inner, f"{at}.{name}"))]


def pod_templates(manifest: Manifest) -> list[Manifest]:
    """Those of the kinds that kubernetes-validate does not know."""
    if manifest["kind"] != "RayJob":
        return []
    cluster = manifest["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def pods(manifest: Manifest) -> list[Manifest]:
    """The specs of all pods that a manifest makes."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        return [spec]
    templates = [spec["template"]] if isinstance(spec.get("template"), dict) else pod_templates(manifest)
    return [template["spec"] for template in templates]
