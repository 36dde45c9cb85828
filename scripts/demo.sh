#!/bin/sh
# A real search with nothing but this machine: the bundled circle packing, improved by the embedded generator,
# scheduled through a Prefect server of its own. Shorter with DISCOVERY_DEMO_EVALUATIONS=200.
set -eu

discovery=.venv/bin/discovery
evaluations=${DISCOVERY_DEMO_EVALUATIONS:-3200}

if ! "$discovery" server start; then
    echo "note: no Prefect server, so no web interface; the search is the same without it." >&2
fi

# C x L x K, cut off by the number of evaluations. More chains than CPUs keep both busy.
"$discovery" run circle-packing-26 --generator mutation --chains 4 --steps 200 --candidates 4 \
    --max-evaluations "$evaluations" --seed 1 "$@"

cat <<END

And then
  $discovery new my-problem          a problem of your own that runs at once
  $discovery run circle-packing-26 --base-url http://localhost:8000/v1
                                               the same with a model, from any OpenAI-compatible server
  $discovery doctor                  what this machine has and lacks
  $discovery server stop             when you have looked at Prefect's interface
END
