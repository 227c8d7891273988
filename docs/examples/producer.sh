#!/bin/sh
# Submit a job and read its result with nothing but the nats command line.
#
#   docs/examples/producer.sh [MODEL] [TENANT]
#
# NATS_URL or a nats context says where the broker is.
set -eu

model="${1:-smollm2}"
tenant="${2:-default}"
job="shell-$(date +%s)-$$"

body='{"url": "/v1/chat/completions",
       "body": {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 32}}'

# The id makes a repetition harmless: the same id with the same body is the same job. `nats pub`
# would do as well; `nats request` also shows the broker's confirmation.
nats request --header "Fleet-Job-Id:$job" "jobs.batch.$model.$tenant" "$body"

# Results stay for a week, so it does not matter whether the answer is there already.
tries=300
until nats stream get RESULTS --last-for "results.$tenant._.$job" 2>/dev/null; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "no result of $job after five minutes" >&2; exit 5; }
    sleep 1
done
