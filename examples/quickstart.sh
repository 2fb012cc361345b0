#!/usr/bin/env bash
# Runs the README's example and more against a real binary, from a first sign-up to a kill -9, and checks
# every answer. Needs curl and python3. Removes its files.
#
#   examples/quickstart.sh [PATH-TO-SIDEGATE]      default: target/release/sidegate
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
sidegate=$(realpath "${1:-$here/../target/release/sidegate}")
[[ -x $sidegate ]] || { echo "no binary at $sidegate: cargo build --release" >&2; exit 2; }

work=$(mktemp -d)
app_id="" gate_id="" demo_id=""
clean_up() {
  local id
  for id in $gate_id $demo_id $app_id; do kill "$id" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT

steps=0
step() { steps=$((steps + 1)); printf '%2d. %s\n' "$steps" "$*"; }
fail() {
  echo "FAILED: $*" >&2
  echo "--- last answer: $status" >&2; cat "$work/head" "$work/body" >&2 || true
  echo "--- log" >&2; tail -n 30 "$work/log" >&2 || true
  exit 1
}

# call METHOD PATH [curl options]: sets $status, $work/head and $work/body.
status=""
call() {
  local method=$1 path=$2; shift 2
  : > "$work/head"; : > "$work/body"
  status=$(curl --silent --show-error --max-time 15 --request "$method" --dump-header "$work/head" \
    --output "$work/body" --write-out '%{http_code}' "$@" "$base$path") || fail "curl $method $path"
}
json() { call "$1" "$2" --header 'Content-Type: application/json' --data "$3" "${@:4}"; }
expect() { [[ $status == "$1" ]] || fail "expected $1, got $status"; }
# field a.b.0.c: one value of the JSON body; empty if it is absent or null.
field() {
  python3 - "$work/body" "$1" <<'PY'
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[int(key)] if isinstance(value, list) else value.get(key)
    if value is None:
        break
print("" if value is None else value)
PY
}
expect_code() { [[ $(field code) == "$1" ]] || fail "expected the code $1, got $(field code)"; }
# echoed NAME: the values that the application received in this header, in any spelling, one per line.
echoed() {
  python3 - "$work/body" "$1" <<'PY'
import json, re, sys
fold = lambda name: re.sub(r"[^A-Z0-9]", "_", name.upper())
print("\n".join(value for name, value in json.load(open(sys.argv[1])) if fold(name) == fold(sys.argv[2])))
PY
}
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
# until_ready URL PROCESS: waits for a 200, at most 20 s. Fails if the process has ended.
until_ready() {
  local deadline=$((SECONDS + 20))
  until curl --silent --fail --max-time 2 --output /dev/null "$1"; do
    kill -0 "$2" 2>/dev/null || fail "the process ended"
    ((SECONDS < deadline)) || fail "$1 is not ready"
    sleep 0.05
  done
}
start_gate() {
  "$sidegate" serve --config "$work/sidegate.toml" >> "$work/log" 2>&1 &
  gate_id=$!
  until_ready "$admin/readyz" "$gate_id"
}
bearer() { printf 'Authorization: Bearer %s' "$1"; }

# ---- set up ------------------------------------------------------------------------------------

app_port=$(free_port) gate_port=$(free_port) admin_port=$(free_port)
base=http://127.0.0.1:$gate_port admin=http://127.0.0.1:$admin_port
cat > "$work/sidegate.toml" <<TOML
[server]
listen = "127.0.0.1:$gate_port"
[admin]
listen = "127.0.0.1:$admin_port"
[upstream]
url = "http://127.0.0.1:$app_port"
[store]
url = "sled:$work/store"
[tokens]
keys_dir = "$work/keys"
[signup]
mode = "open"
[[rule]]
path = "/public/**"
access = "public"
[[rule]]
path = "/admin/**"
access = "user"
roles = ["admin"]
TOML

step "a legacy application starts on loopback"
python3 "$here/legacy-python/app.py" "$app_port" > "$work/app-log" 2>&1 &
app_id=$!
until_ready "http://127.0.0.1:$app_port/" "$app_id"

step "the configuration is checked; a wrong one is refused with exit code 2"
"$sidegate" check --config "$work/sidegate.toml" > "$work/body" 2>&1 || fail "check refused a good file"
printf '[server]\nlisen = "127.0.0.1:1"\n' > "$work/wrong.toml"
code=0; "$sidegate" check --config "$work/wrong.toml" > "$work/body" 2>&1 || code=$?
[[ $code == 2 ]] || fail "check gave exit code $code for a misspelt key"
grep -q listen "$work/body" || fail "check gave no hint"

step "sidegate starts"
start_gate

step "the operator adds an administrator; the password comes from standard input"
printf 'a root passphrase\n' | "$sidegate" users add root --role admin --config "$work/sidegate.toml" \
  > "$work/body" 2>&1 || fail "users add"

# ---- sign-up to log-out ---------------------------------------------------------------------------------

step "without a token the application cannot be reached"
call GET /headers; expect 401; expect_code missing_token
grep -qi '^www-authenticate: *bearer' "$work/head" || fail "no WWW-Authenticate"

step "ann signs up"
json POST /auth/signup '{"username":"ann","email":"ann@example.org","password":"correct horse battery"}'
expect 201
[[ $(field user.username) == ann ]] || fail "no user in the answer"
json POST /auth/signup '{"username":"ANN","password":"correct horse battery"}'; expect 409; expect_code login_taken

step "a wrong password and an unknown name give the same answer"
json POST /auth/login '{"identifier":"ann","password":"wrong horse battery"}'; expect 401
wrong=$(field code)$(field title)$(field detail)
json POST /auth/login '{"identifier":"nobody","password":"wrong horse battery"}'; expect 401
[[ $wrong == "$(field code)$(field title)$(field detail)" ]] || fail "the answers differ"

step "ann logs in on a phone and on a laptop"
json POST /auth/login '{"identifier":"ann","password":"correct horse battery","deviceName":"phone"}'; expect 200
phone=$(field accessToken) phone_id=$(field session.id)
json POST /auth/login '{"identifier":"ann@example.org","password":"correct horse battery","deviceName":"laptop"}'; expect 200
laptop=$(field accessToken) laptop_refresh=$(field refreshToken) laptop_id=$(field session.id)

step "the application receives the caller's identity, whatever the client claims"
call GET /headers --header "$(bearer "$laptop")" --header 'X-User-Name: root' --header 'X_User_Role: admin' \
  --header 'X.Session.Id: forged' --header 'Connection: X-User-Name'
expect 200
[[ $(echoed X-User-Name) == ann ]] || fail "X-User-Name is $(echoed X-User-Name)"
[[ $(echoed X-User-Role) == user ]] || fail "X-User-Role is $(echoed X-User-Role)"
[[ $(echoed X-Session-Id) == "$laptop_id" ]] || fail "X-Session-Id is $(echoed X-Session-Id)"
[[ -z $(echoed Authorization) ]] || fail "the token reached the application"

step "a public path needs no token, and forged headers are removed there too"
call GET /public/page --header 'X-User-Name: root'; expect 200
grep -q 'Welcome, stranger' "$work/body" || fail "the application received a name"

step "a rule denies ann access to /admin and permits root"
call GET /admin/page --header "$(bearer "$laptop")"; expect 403; expect_code missing_role
json POST /auth/login '{"identifier":"root","password":"a root passphrase"}'; expect 200
call GET /admin/page --header "$(bearer "$(field accessToken)")"; expect 200

step "an ambiguous path is refused"
call GET /public/../admin/page --path-as-is; expect 400; expect_code bad_request
call GET /public/%2e%2e/admin/page --path-as-is; expect 400

step "ann sees both sessions, the current one first"
call GET /auth/sessions --header "$(bearer "$laptop")"; expect 200
[[ $(field sessions.0.id) == "$laptop_id" && $(field sessions.1.id) == "$phone_id" ]] || fail "the list"
[[ $(field sessions.0.isCurrent) == True && $(field sessions.1.deviceName) == phone ]] || fail "the list"
grep -q "$laptop_refresh" "$work/body" && fail "the list shows a token"

step "ann ends the phone's session; its token is refused at once"
call DELETE "/auth/sessions/$phone_id" --header "$(bearer "$laptop")"; expect 204
call GET /headers --header "$(bearer "$phone")"; expect 401; expect_code session_ended
call DELETE "/auth/sessions/$phone_id" --header "$(bearer "$laptop")"; expect 404; expect_code session_not_found

step "a refresh rotates; repeating it after a lost reply gives the same successor"
json POST /auth/refresh "{\"refreshToken\":\"$laptop_refresh\"}"; expect 200
second=$(field refreshToken)
[[ $second != "$laptop_refresh" && $(field session.id) == "$laptop_id" ]] || fail "no rotation"
json POST /auth/refresh "{\"refreshToken\":\"$laptop_refresh\"}"; expect 200
[[ $(field refreshToken) == "$second" ]] || fail "the chain forked"

step "an older refresh token is used again: the session ends for every holder"
json POST /auth/refresh "{\"refreshToken\":\"$second\"}"; expect 200
third=$(field refreshToken) access=$(field accessToken)
json POST /auth/refresh "{\"refreshToken\":\"$laptop_refresh\"}"; expect 401; expect_code invalid_refresh_token
json POST /auth/refresh "{\"refreshToken\":\"$third\"}"; expect 401; expect_code invalid_refresh_token
call GET /headers --header "$(bearer "$access")"; expect 401; expect_code session_ended

step "ann logs out; logging out twice is no error"
json POST /auth/login '{"identifier":"ann","password":"correct horse battery"}'; expect 200
access=$(field accessToken) refresh=$(field refreshToken)
call POST /auth/logout --header "$(bearer "$access")"; expect 204
call GET /headers --header "$(bearer "$access")"; expect 401; expect_code session_ended
json POST /auth/logout "{\"refreshToken\":\"$refresh\"}"; expect 204

step "keys, document, health, metrics"
call GET /.well-known/jwks.json; expect 200; [[ -n $(field keys.0.kid) ]] || fail "no key"
call GET /auth/openapi.json; expect 200; [[ $(field openapi) == 3.1.0 ]] || fail "no document"
call GET /auth/health; expect 200; [[ $(field status) == ok ]] || fail "not ok"
curl --silent --fail --max-time 5 "$admin/metrics" > "$work/metrics" || fail "no metrics"
grep -q '^# TYPE' "$work/metrics" || fail "no metrics"
"$sidegate" healthcheck --config "$work/sidegate.toml" || fail "healthcheck"

step "the answers to a wrong method and a wrong body name the error"
call GET /auth/login; expect 405; grep -qi '^allow:.*POST' "$work/head" || fail "no Allow"
json POST /auth/login '{"identifier":"ann","password":"x","admin":true}'; expect 400; expect_code unknown_field

# ---- failure -----------------------------------------------------------------------------------

json POST /auth/login '{"identifier":"ann","password":"correct horse battery"}'; expect 200
access=$(field accessToken) refresh=$(field refreshToken)

step "a restart keeps accounts, sessions and keys"
kill -TERM "$gate_id"; wait "$gate_id" || fail "a drain ends with exit code 0"
start_gate
call GET /headers --header "$(bearer "$access")"; expect 200

step "kill -9 right after an answer loses nothing that was acknowledged"
json POST /auth/refresh "{\"refreshToken\":\"$refresh\"}"; expect 200
refresh=$(field refreshToken) access=$(field accessToken)
json POST /auth/login '{"identifier":"ann","password":"correct horse battery"}'; expect 200
gone=$(field accessToken)
call POST /auth/logout --header "$(bearer "$gone")"; expect 204
kill -KILL "$gate_id"; wait "$gate_id" 2>/dev/null || true
start_gate
json POST /auth/refresh "{\"refreshToken\":\"$refresh\"}"; expect 200
call GET /headers --header "$(bearer "$gone")"; expect 401; expect_code session_ended

step "a stopped upstream is a 502, and Sidegate keeps running"
kill "$app_id"; wait "$app_id" 2>/dev/null || true; app_id=""
call GET /headers --header "$(bearer "$access")"; expect 502; expect_code upstream_unreachable
call GET /auth/health; expect 200

step "no password and no token is in the log"
for secret in 'correct horse battery' 'a root passphrase' "$access" "$refresh" "$second" "$laptop"; do
  grep -qF "$secret" "$work/log" && fail "a secret is in the log"
done

# ---- the demo ----------------------------------------------------------------------------------

step "the demo prints curl lines that work as pasted"
# In an empty folder, where it must leave no files.
mkdir "$work/empty"
: > "$work/demo"
(cd "$work/empty" && exec "$sidegate" demo) >> "$work/demo" 2>&1 &
demo_id=$!
demo_lines() { grep -E '^[[:space:]]*([A-Za-z_]+=[$"(]*)?curl ' "$work/demo" | sed 's/^[[:space:]]*//'; }
deadline=$((SECONDS + 20))
until (($(demo_lines | wc -l) >= 5)); do
  kill -0 "$demo_id" 2>/dev/null || { cat "$work/demo" >&2; fail "the demo ended"; }
  ((SECONDS < deadline)) || { cat "$work/demo" >&2; fail "the demo prints too few curl lines"; }
  sleep 0.05
done
demo_lines > "$work/lines"
(cd "$work" && bash -euo pipefail "$work/lines" > "$work/pasted" 2>&1) || { cat "$work/pasted" >&2; fail "a line of the demo"; }
kill "$demo_id"; wait "$demo_id" || fail "the demo ends with exit code 0"; demo_id=""
[[ -z $(ls -A "$work/empty") ]] || fail "the demo leaves files behind: $(ls -A "$work/empty")"

echo "quickstart: $steps steps passed"
