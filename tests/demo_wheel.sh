#!/usr/bin/env bash
# The demo of somebody who installed the wheel, and the first command typed after it: in an environment
# and a folder that are empty before, with no variable but PATH and HOME. Called by make demo-wheel with
# the command for uv. Nothing stays, also after a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=("$@")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source" "$folder/empty"

# A build leaves folders beside what it reads. Nothing is fetched for it: setuptools is here.
cp -R pilotline flows tasks registry lab deployments pyproject.toml README.md LICENSE requirements.lock \
    "$folder/source"
"${uv[@]}" build --wheel --offline --no-build-isolation --python .venv/bin/python \
    --out-dir "$folder/wheel" "$folder/source"
wheel=$(echo "$folder"/wheel/*.whl)

"${uv[@]}" venv --python .venv/bin/python "$folder/environment"
"${uv[@]}" pip install --python "$folder/environment" --constraints requirements.lock \
    "pilotline[example] @ file://$wheel"

cd "$folder/empty"
for words in "demo" "show flight-delay"; do
    echo "\$ pilotline $words"
    # shellcheck disable=SC2086  # the words of a command
    env -i PATH="$folder/environment/bin:$PATH" HOME="$HOME" pilotline $words </dev/null
done
