"""The Helm chart is linted, rendered and checked by the tools that would install it."""

import copy
import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.cli.batch import _arguments as batch_arguments
from service.settings import Settings

pytest.importorskip("kubernetes_validate", reason="what checks the chart is not installed (make chart)")
from tests.manifests import InvalidManifest, Manifest, check, pods
from tests.service.conftest import running, settings_for

CHART = Path(__file__).parent.parent / "docker" / "helm"
EXAMPLES = sorted(path.stem for path in (CHART / "examples").glob("*.yaml"))
ENGINES = ("embedded", "sidecar", "service")
SCALINGS = ("none", "hpa", "keda")
LONGEST_NAME = "a" * 53  # that Helm allows a release


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    beside = Path(sys.executable).with_name("helm")
    program = str(beside) if beside.exists() else shutil.which("helm")
    if program is None:
        pytest.skip("helm is not installed (make chart)")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def flags(example: str | None, values: dict[str, str]) -> list[str]:
    file = [] if example is None else ["--values", str(CHART / "examples" / f"{example}.yaml")]
    return file + [word for name, value in values.items() for word in ("--set-json", f"{name}={value}")]


@cache
def rendered(example: str | None, values: tuple[tuple[str, str], ...], release: str) -> tuple[Manifest, ...]:
    done = helm("template", release, str(CHART), "--namespace", "pictures", *flags(example, dict(values)))
    assert done.returncode == 0, done.stderr
    return tuple(manifest for manifest in yaml.safe_load_all(done.stdout) if manifest)


def render(example: str | None = None, release: str = "rddm", /, **values: str) -> list[Manifest]:
    """Values as JSON, `__` in a name for a dot."""
    named = tuple((name.replace("__", "."), value) for name, value in values.items())
    return copy.deepcopy(list(rendered(example, named, release)))


def refusal(example: str | None = None, /, **values: str) -> str:
    """What helm says of values that it refuses."""
    done = helm("template", "rddm", str(CHART), *flags(example, {name.replace("__", "."): value for name, value in values.items()}))
    assert done.returncode != 0
    return done.stderr


def only(manifests: list[Manifest], kind: str, ending: str = "") -> Manifest:
    matches = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"].endswith(ending)]
    assert len(matches) == 1, [one["metadata"]["name"] for one in matches]
    return matches[0]


def containers(manifests: list[Manifest]) -> Iterator[dict[str, Any]]:
    for pod in (pod for manifest in manifests for pod in pods(manifest)):
        yield from (*pod.get("initContainers", []), *pod["containers"])


def container(manifests: list[Manifest], name: str) -> dict[str, Any]:
    matches = [one for one in containers(manifests) if one["name"] == name]
    assert len(matches) == 1, name
    return matches[0]


def environment(one: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in one.get("env", [])}


@pytest.mark.parametrize("example", [None, *EXAMPLES])
def test_helm_finds_nothing_to_complain_of(example: str | None) -> None:
    done = helm("lint", "--strict", "--quiet", str(CHART), *flags(example, {}))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", [None, *EXAMPLES])
def test_the_api_takes_every_manifest(example: str | None) -> None:
    manifests = render(example)
    assert manifests
    for manifest in manifests:
        check(manifest)


@pytest.mark.parametrize(("engine", "scaling"), list(itertools.product(ENGINES, SCALINGS)))
def test_any_engine_goes_with_any_scaling_any_store_and_any_number_of_gpus(engine: str, scaling: str) -> None:
    for gpus, persistent, store in ((0, "false", "sqlite"), (1, "true", "sqlite"), (1, "false", "postgres"), (0, "true", "sqlite")):
        manifests = render(
            jobs__store=f'"{store}"',
            jobs__postgres__existingSecret='"database"',
            engine=f'"{engine}"',
            autoscaling__kind=f'"{scaling}"',
            gpu__count=str(gpus),
            jobs__sqlite__persistence=persistent,
            serviceMonitor__enabled="true",
        )
        for manifest in manifests:
            check(manifest)
        scaler = {"hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject"}.get(scaling)
        target = only(manifests, "StatefulSet" if persistent == "true" else "Deployment", "rddm-serve")
        assert ("replicas" in target["spec"]) == (scaler is None)
        if scaler is not None:
            assert only(manifests, scaler)["spec"]["scaleTargetRef"]["kind"] == target["kind"]
        in_containers = [one["name"] for one in containers(manifests) if "nvidia.com/gpu" in one["resources"].get("limits", {})]
        holder = ["gateway"] if engine == "embedded" else ["tensorrt", "triton"]
        assert in_containers == (holder if gpus else [])


def test_names_stay_within_63_characters_whatever_the_release_is_called() -> None:
    for example in EXAMPLES:
        for manifest in render(example, LONGEST_NAME):
            assert len(manifest["metadata"]["name"]) <= 63
            check(manifest)


def test_the_check_is_one() -> None:
    """What it must find: a misspelt member at any depth, of a built-in kind and of each custom one, and a wrong type."""
    manifests = [*render("triton"), *render("cpu"), *render("batch-ray")]
    wrong = {
        "Deployment": lambda one: one["spec"]["template"]["spec"]["containers"][0].update(readinesProbe={}),
        "ScaledObject": lambda one: one["spec"]["advanced"]["horizontalPodAutoscalerConfig"].update(behaviour={}),
        "ServiceMonitor": lambda one: one["spec"]["endpoints"][0].update(intervall="30s"),
        "HTTPRoute": lambda one: one["spec"]["rules"][0]["timeouts"].update(request=300),
        "RayJob": lambda one: one["spec"]["rayClusterSpec"].update(headGroup={}),
    }
    for kind, spoil in wrong.items():
        manifest = next(one for one in manifests if one["kind"] == kind)
        spoil(manifest)
        with pytest.raises(InvalidManifest, match=kind):
            check(manifest)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"gatway": "{}"}, "gatway"),
        ({"gateway__replica": "3"}, "replica"),
        ({"gateway__settings": '{"RDDM_OPEN": true}'}, "RDDM_OPEN"),
        ({"gateway__settings": '{"MAX_PIXELS": 1}'}, "MAX_PIXELS"),
        ({"engine": '"tensorflow"'}, "engine"),
        ({"keys__existingSecret": '""'}, "existingSecret"),
        ({"autoscaling__kind": '"keda"', "autoscaling__minReplicas": "0"}, "minReplicas"),
        ({"jobs__store": '"postgres"'}, "existingSecret"),
        ({"batch__kind": '"job"'}, "source"),
        ({"batch__shards": "100001"}, "shards"),
        ({"image__digest": '"latest"'}, "digest"),
        ({"httpRoute__enabled": "true"}, "parentRefs"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_its_name(values: dict[str, str], named: str) -> None:
    assert named in refusal(**values)


def test_the_schema_knows_every_value_that_has_a_default(root: Path) -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def walk(schema_part: dict[str, Any], value: Any, at: str) -> None:
        if "properties" in schema_part:
            assert schema_part["additionalProperties"] is False, at
            assert set(value) == set(schema_part["properties"]) - {"global"} or at.endswith(("image", "resources", "Resources")), at
            for name, inner in value.items():
                walk(schema_part["properties"][name], inner, f"{at}.{name}")

    walk(schema, values, "")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_container_is_confined(example: str) -> None:
    for manifest in render(example):
        for pod in pods(manifest):
            assert pod["automountServiceAccountToken"] is False
            assert pod["securityContext"]["runAsUser"] == 10001
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in containers([manifest]):
            security = one["securityContext"]
            assert security["readOnlyRootFilesystem"], one["name"]
            assert security["runAsNonRoot"], one["name"]
            assert not security["allowPrivilegeEscalation"], one["name"]
            assert security["capabilities"] == {"drop": ["ALL"]}, one["name"]
            assert "memory" in one["resources"]["limits"], one["name"]
            assert "/tmp" in {mount["mountPath"] for mount in one.get("volumeMounts", [])} or one["name"] == "ask"


def test_tritons_own_readiness_decides_over_no_pod(root: Path) -> None:
    """It is false while any model loads, and for good after one that failed to load."""
    for example in ("sidecar", "triton"):
        triton = container(render(example), "triton")
        probes = {name: str(probe) for name, probe in triton.items() if name.endswith("Probe")}
        assert set(probes) == {"startupProbe", "livenessProbe"}
        assert all("/v2/health/live" in probe for probe in probes.values())
    composed = yaml.safe_load(root.joinpath("docker-compose.yml").read_text("utf-8"))
    checks = [service["healthcheck"]["test"][-1] for service in composed["services"].values() if "healthcheck" in service]
    assert checks
    assert all(address.endswith("/v2/health/live") for address in checks)


@pytest.mark.parametrize("example", ["cpu", "gpu", "sidecar", "triton", "volume"])
def test_a_stopping_gateway_is_given_longer_than_its_longest_request(example: str) -> None:
    manifests = render(example)
    gateway = container(manifests, "gateway")
    pod = next(pod for manifest in manifests for pod in pods(manifest) if gateway in pod["containers"])
    variables = environment(gateway)
    drain, longest = float(variables["RDDM_DRAIN_SECONDS"]), float(variables["RDDM_REQUEST_TIMEOUT_SECONDS"])
    stop = gateway["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert drain >= longest
    assert pod["terminationGracePeriodSeconds"] > stop + drain


def test_the_probes_of_a_gateway_ask_different_questions() -> None:
    gateway = container(render("cpu"), "gateway")
    asked = {name: gateway[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/healthz", "readiness": "/readyz?require=any", "liveness": "/healthz"}


def test_triton_beside_the_gateway_shares_memory_and_outlives_it() -> None:
    manifests = render("sidecar")
    pod = pods(only(manifests, "Deployment"))[0]
    assert pod["shareProcessNamespace"]
    memory = next(volume["name"] for volume in pod["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory")
    for name in ("gateway", "triton"):
        assert {"name": memory, "mountPath": "/dev/shm"} in container(manifests, name)["volumeMounts"]
    triton = container(manifests, "triton")
    assert triton in pod["initContainers"]
    assert triton["restartPolicy"] == "Always"
    assert environment(triton)["GRPC_ADDRESS"] == "127.0.0.1"
    assert environment(container(manifests, "gateway"))["RDDM_TRITON_URLS"] == "127.0.0.1:8001"


def test_tritons_pods_are_reached_by_the_gateway_only() -> None:
    manifests = render("triton")
    policy = only(manifests, "NetworkPolicy", "-triton")["spec"]
    gateway = only(manifests, "Deployment", "rddm-serve")["spec"]["template"]["metadata"]["labels"]
    triton = only(manifests, "Deployment", "-triton")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= triton.items()
    grpc = next(rule for rule in policy["ingress"] if rule["ports"][0]["port"] == "grpc")
    assert [peer["podSelector"]["matchLabels"].items() <= gateway.items() for peer in grpc["from"]] == [True]
    assert "Egress" in policy["policyTypes"]
    assert "egress" not in policy
    service = only(manifests, "Service", "-triton")["spec"]
    assert service["clusterIP"] == "None"
    assert service["selector"].items() <= triton.items()


def test_a_pod_counts_its_cpus_by_what_it_may_use() -> None:
    def source(**values: str) -> Any:
        return environment(container(render(None, "rddm", **values), "gateway")).get("RDDM_INSTANCES")

    assert source()["resourceFieldRef"]["resource"] == "limits.cpu"
    assert source(gateway__resources__limits='{"cpu": null, "memory": "4Gi"}')["resourceFieldRef"]["resource"] == "requests.cpu"
    assert source(gateway__settings='{"RDDM_INSTANCES": 3}') == "3"
    assert source(engine='"sidecar"') is None


def test_the_gateway_knows_every_variable_that_the_chart_sets() -> None:
    known = {f"RDDM_{name.upper()}" for name in Settings.model_fields}
    for example in EXAMPLES:
        for one in containers(render(example)):
            assert {name for name in environment(one) if name.startswith("RDDM_")} <= known, example


def test_every_shard_has_a_pod_and_a_node_that_goes_is_no_failure() -> None:
    job = only(render("batch-job"), "Job")["spec"]
    batch = job["template"]["spec"]["containers"][0]
    assert job["completionMode"] == "Indexed"
    assert batch["args"][:5] == ["batch", "s3://pictures/in/", "s3://pictures/out/", "--shard", "$(JOB_COMPLETION_INDEX)/10000"]
    assert job["completions"] == 10000
    given = batch_arguments().parse_args([word.replace("$(JOB_COMPLETION_INDEX)", "9999") for word in batch["args"][1:]])
    assert (given.shard, given.task, given.accept_failures) == ((9999, 10000), "derain", True)
    assert {"type": "DisruptionTarget", "status": "True"} in job["podFailurePolicy"]["rules"][0]["onPodConditions"]


def test_words_of_a_ray_entrypoint_survive_the_shell() -> None:
    entry = only(render("batch-ray", "rddm", batch__args='["--task", "it\'s; rm"]'), "RayJob")["spec"]["entrypoint"]
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {entry}"], capture_output=True, text=True, check=True).stdout
    beginning = ["rddm", "batch", "s3://pictures/in/", "s3://pictures/out/", "--ray", "auto"]
    assert words.splitlines() == [*beginning, "--accept-failures", "--task", "it's; rm"]
    assert batch_arguments().parse_args(words.splitlines()[2:]).ray == "auto"


def test_the_readme_names_every_example() -> None:
    readme = (CHART / "README.md").read_text("utf-8")
    assert sorted(set(re.findall(r"`examples/([a-z-]+)\.yaml`", readme))) == EXAMPLES


def test_a_digest_wins_over_a_tag() -> None:
    digest = f"sha256:{'0' * 64}"
    image = container(render(None, "rddm", image__digest=f'"{digest}"', image__tag='"old"'), "gateway")["image"]
    assert image == f"rddm-serve/gateway@{digest}"


@pytest.mark.parametrize("page", ["docker/helm/README.md", "docs/kubernetes.md"])
def test_every_helm_command_of_the_documents_renders(root: Path, page: str) -> None:
    text = root.joinpath(page).read_text("utf-8").replace("\\\n", " ")
    commands = re.findall(r"^helm (?:install|upgrade) (.*?)(?: +#.*)?$", text, re.MULTILINE)
    assert commands
    for command in commands:
        words = [str(root / word) if word.startswith("docker/helm") else word for word in command.split()]
        done = helm("template", *words)
        assert done.returncode == 0, (command, done.stderr)
        for manifest in filter(None, yaml.safe_load_all(done.stdout)):
            check(manifest)


def test_the_documents_tell_of_the_query_that_scales(root: Path) -> None:
    trigger = only(render("triton"), "ScaledObject")["spec"]["triggers"][0]["metadata"]
    bare = re.sub(r"\{[^}]*\}", "", trigger["query"])
    assert f"\n{bare}\n" in root.joinpath("docs/kubernetes.md").read_text("utf-8")


async def test_a_gateway_tells_every_figure_of_the_query_that_scales(tmp_path: Path) -> None:
    query = only(render("triton"), "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    async with running(settings_for(tmp_path)) as gateway:
        exposed = (await gateway.client.get("/metrics")).text
    for name in re.findall(r"rddm_\w+", query.replace('service="rddm', "")):
        assert f"\n{name} " in exposed, name
