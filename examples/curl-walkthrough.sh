#!/usr/bin/env bash
# The life of a session with curl. Read it, paste it, or run it against a running Sidegate with open
# sign-up (`signup.mode = "open"`).
#
#   examples/curl-walkthrough.sh http://127.0.0.1:8080
set -euo pipefail
base=${1:-http://127.0.0.1:8080}
name=ann$RANDOM
password='correct horse battery'

post() { # post PATH JSON [curl options]
  curl --silent --show-error --max-time 15 -X POST "$base$1" -H 'Content-Type: application/json' -d "$2" "${@:3}"
}
pick() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

echo "# sign up"
post /auth/signup "{\"username\":\"$name\",\"password\":\"$password\"}"; echo

echo "# log in twice: two devices, two sessions"
phone=$(post /auth/login "{\"identifier\":\"$name\",\"password\":\"$password\",\"deviceName\":\"phone\"}")
laptop=$(post /auth/login "{\"identifier\":\"$name\",\"password\":\"$password\",\"deviceName\":\"laptop\"}")
access=$(pick accessToken <<< "$laptop")
first=$(pick refreshToken <<< "$laptop")
phone_id=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["session"]["id"])' <<< "$phone")

echo "# list them"
curl --silent --max-time 15 "$base/auth/sessions" -H "Authorization: Bearer $access"; echo

echo "# refresh: the next pair of tokens, the same session"
second=$(post /auth/refresh "{\"refreshToken\":\"$first\"}" | pick refreshToken)

echo "# the same refresh again, as after a lost reply: the same successor"
again=$(post /auth/refresh "{\"refreshToken\":\"$first\"}" | pick refreshToken)
[[ $again == "$second" ]] && echo "the same"

echo "# end the phone's session from the laptop"
curl --silent --max-time 15 -o /dev/null -w '%{http_code}\n' -X DELETE "$base/auth/sessions/$phone_id" \
  -H "Authorization: Bearer $access"

echo "# refresh once more, then use the first token again: it was used before, so the session ends"
post /auth/refresh "{\"refreshToken\":\"$second\"}" > /dev/null
post /auth/refresh "{\"refreshToken\":\"$first\"}"; echo
curl --silent --max-time 15 "$base/auth/me" -H "Authorization: Bearer $access"; echo
