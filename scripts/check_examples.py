"""Parses every YAML file under examples/ and checks the required settings of the image and the pod."""

import json
import pathlib
import re
import sys

import yaml
from openapi_spec_validator import validate

root = pathlib.Path(__file__).resolve().parent.parent
problems = []


def expect(condition, what):
    if not condition:
        problems.append(what)


files = sorted(p for p in root.glob("examples/**/*") if p.suffix in (".yaml", ".yml"))
parsed = {p.relative_to(root / "examples").as_posix(): list(yaml.safe_load_all(p.read_text())) for p in files}
expect(len(files) >= 2, f"only {len(files)} YAML files")

services = parsed["docker-compose.yml"][0]["services"]
for name, service in services.items():
    expect(service.get("read_only") is True, f"compose: {name} has a writable root")
    expect(service.get("cap_drop") == ["ALL"], f"compose: {name} keeps capabilities")
    expect(name == "sidegate" or "ports" not in service, f"compose: {name} publishes a port")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            expect((root / "examples" / source).exists(), f"compose: {source} does not exist")
expect(
    services["sidegate"]["healthcheck"]["test"] == ["CMD", "/sidegate", "healthcheck"],
    "compose: the health check",
)
expect(services["app"]["network_mode"] == "service:sidegate", "compose: the app has its own network")

spec = parsed["kubernetes/sidecar-patch.yaml"][0]["spec"]
pod = spec["template"]["spec"]
sidecar = pod["initContainers"][0]
expect(spec["replicas"] == 1 and spec["strategy"]["type"] == "Recreate", "kubernetes: one replica only")
expect(sidecar["restartPolicy"] == "Always", "kubernetes: not a native sidecar")
drain, sleep = sidecar["lifecycle"]["preStop"], pod["containers"][0]["lifecycle"]["preStop"]
expect(drain == {"exec": {"command": ["/sidegate", "drain"]}}, "kubernetes: Sidegate does not drain first")
expect(5 <= sleep["sleep"]["seconds"] <= 30, "kubernetes: the application goes while requests come")
drain_timeout = int(re.search(r'^drain_timeout = "(\d+)s"', (root / "config.toml").read_text(), re.M)[1])
room = pod["terminationGracePeriodSeconds"] - sleep["sleep"]["seconds"] - drain_timeout
expect(room >= 10, f"kubernetes: {room} s for all that has no time of its own")
expect(pod["automountServiceAccountToken"] is False, "kubernetes: a token is mounted")
for probe, path in (("startupProbe", "/startupz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
    expect(sidecar[probe]["httpGet"] == {"path": path, "port": 9180}, f"kubernetes: {probe}")
security = sidecar["securityContext"]
expect(security["runAsNonRoot"] and security["readOnlyRootFilesystem"], "kubernetes: user or root")
expect(security["allowPrivilegeEscalation"] is False, "kubernetes: escalation")
expect(security["capabilities"]["drop"] == ["ALL"], "kubernetes: capabilities")
expect("subPath" not in json.dumps(spec), "kubernetes: a subPath is never updated")
expect("cpu" not in sidecar["resources"]["limits"], "kubernetes: a CPU limit")

asks = parsed["forward-auth/traefik.yaml"][0]["http"]["middlewares"]["sidegate"]["forwardAuth"]
managed = re.compile(asks["authResponseHeadersRegex"])
for name in ("User-Id", "User-Name", "User-Email", "User-Role", "Tenant-Id", "Session-Id", "Auth-Method"):
    for first in "-_.!":
        for second in "-_.~":
            spelled = f"X{first}{name.replace('-', second)}"
            expect(managed.search(spelled) and managed.search(spelled.lower()), f"traefik: {spelled} passes")
for other in ("User-Agent", "X-User-Agent", "X-Request-Id", "X-Auth-Token", "X-User-Ids", "AX-User-Id"):
    expect(not managed.search(other), f"traefik: {other} is taken away")
for name in ("Authorization", "Cookie", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
    expect(name in asks["authRequestHeaders"], f"traefik: {name} does not come along")
expect(asks["trustForwardHeader"] is False, "traefik: believes its clients")

validate(json.loads((root / "docs/openapi.json").read_text()))

for problem in problems:
    print(problem, file=sys.stderr)
print(f"{len(files)} YAML files and 1 OpenAPI document read, {len(problems)} problems")
sys.exit(bool(problems))
