#!/bin/sh
# Submit a job and read its result with nothing but the nats command line.
#
#   docs/examples/producer.sh [MODEL] [TENANT] [QUESTION]
#
# NATS_URL or a nats context says where the broker is. Our tests run this with a stand-in that takes
# the words of `nats` below and says what it says, written by the source of natscli 0.5; the program
# itself has not been run with it.
set -eu

model="${1:-smollm2}"
tenant="${2:-default}"
question="${3:-Why is the sky blue?}"
job="shell-$(date +%s)-$$"

# Only these two have to be escaped inside a JSON string of one line; and `nats` takes a body for a
# template, in which {{ begins an action.
quoted=$(printf '%s' "$question" | sed 's/[\\"]/\\&/g; s/{{/\\u007b\\u007b/g')
body='{"url": "/v1/chat/completions",
       "body": {"messages": [{"role": "user", "content": "'$quoted'"}], "max_tokens": 32}}'

# The id makes a repetition harmless: the same id with the same body is the same job. `nats pub`
# would do as well; `nats request` also brings the broker's receipt: from then on the job is safe.
# Where nobody answers it says so, or nothing, and ends with 0 all the same.
receipt=$(nats request --raw --header "Fleet-Job-Id:$job" "jobs.batch.$model.$tenant" "$body")
case $receipt in
*'"error"'*) echo "the queue refused $job: $receipt" >&2; exit 6 ;;
*'"seq"'*) echo "$receipt" >&2 ;;
*) echo "no receipt for $job: nothing is queued at this broker" >&2; exit 5 ;;
esac

# Results stay for a week, so it does not matter whether the answer is there already. The last
# message under a job of one request is its result, or says that another consumer goes on with it.
tries=300
while [ "$tries" -gt 0 ]; do
    line=$(nats request --raw "\$JS.API.DIRECT.GET.RESULTS.results.$tenant._.$job" '')
    case $line in
    *'"custom_id"'*) echo "$line"; exit 0 ;;
    esac
    tries=$((tries - 1))
    sleep 1
done
echo "no result of $job after five minutes: fleet why $job tells what it waits for" >&2
exit 5
