# shellcheck shell=bash
# What tests/systemd/run and tests/package/run share: a Debian that systemd has booted, the simulator in there, and
# saying and judging. To be sourced from the top of the source tree.
#
# The Debian is bookworm, or what $ZALO_TOKEND_SUITE names. It is made once, in $ZALO_TOKEND_ROOTS, else in
# ~/.cache/zalo-tokend, and never written to afterwards: each run works on a layer above it, in memory.
#
# Needs root, debootstrap, systemd-nspawn, nsenter and curl.
# shellcheck disable=SC2016 # what stands in single quotes is for awk or the shell in there

suite=${ZALO_TOKEND_SUITE:-bookworm}
roots=${ZALO_TOKEND_ROOTS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/zalo-tokend}
# Nothing can be fetched in there. procps and ca-certificates are dependencies of the package, and sudo is how the
# README's commands become root. curl is what a shop asks the API with.
contents=systemd,systemd-sysv,dbus,ca-certificates,procps,sudo,curl
root=$roots/$suite-$(printf '%s' "$contents" | sha256sum | cut -c 1-8)
# Longer than anything here takes, on a machine that is busy with other things.
patience=120

fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# needs COMMAND…: and root.
needs() {
    local command
    [ "$(id -u)" = 0 ] || fail "needs root; run it with sudo"
    for command in "$@"; do
        command -v "$command" >/dev/null || fail "$command is missing; install it"
    done
}

work=$(mktemp -d)
booted=
leader=
end() {
    local code=$?
    set +e
    if [ $code != 0 ] && [ -n "$leader" ]; then
        printf '\n---- the journal of the service\n'
        inside journalctl --no-pager -u zalo-tokend -n 60
    fi
    if [ -n "$booted" ]; then
        # Not an orderly halt, which begins by stopping all processes: nsenter stops with its own, and the halt would
        # wait for it without end. Nothing in there is kept. With the first process all go, and nspawn clears up.
        kill -KILL "${leader:-$booted}"
        for _ in $(seq 50); do kill -0 "$booted" || break; sleep 0.2; done 2>/dev/null
        kill -KILL "$booted" 2>/dev/null
        wait "$booted" 2>/dev/null
    fi
    rm -rf "$work"
    exit $code
}
trap end EXIT
trap 'exit 1' INT TERM

# ---- saying and judging ------------------------------------------------------

passed=0
failed=0
step() { printf '\n==> %s\n' "$*"; }

# is WHAT WANTED FOUND: prints what was found, and whether that is right.
is() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
        printf '    ok    %s: %s\n' "$1" "$3"
    else
        failed=$((failed + 1))
        printf '    WRONG %s: %s, where it should be: %s\n' "$1" "$3" "$2"
    fi
}

# has WHAT WORDS TEXT: the text holds the words; prints the line that does.
has() {
    local line
    if line=$(grep -m 1 -F -- "$2" <<<"$3"); then
        passed=$((passed + 1))
        printf '    ok    %s: %s\n' "$1" "$line"
    else
        failed=$((failed + 1))
        printf '    WRONG %s: no "%s" in: %s\n' "$1" "$2" "$3"
    fi
}

# until_true WHAT COMMAND…: waits for it; that it never comes ends the run.
until_true() {
    local what=$1 since=$SECONDS
    shift
    until "$@" >/dev/null 2>&1; do
        [ $((SECONDS - since)) -lt "$patience" ] || fail "waited $patience s in vain: $what"
        sleep 0.1
    done
    printf '    ...   %s\n' "$what"
}

# equals WANTED COMMAND…: what the command prints.
equals() { [ "$1" = "$("${@:2}")" ]; }

# The last word, and the exit code.
conclude() {
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ]
}

# ---- the Debian --------------------------------------------------------------

# boot OPTION…: of systemd-nspawn. Makes the Debian first, if it is not there. Sets $systemd to its systemd's version.
boot() {
    if [ ! -d "$root" ]; then
        step "make a Debian $suite in $root"
        mkdir -p "$roots"
        rm -rf "$root.part"
        debootstrap --variant=minbase --include="$contents" "$suite" "$root.part" >"$work/debootstrap" 2>&1 ||
            { tail -n 20 "$work/debootstrap"; fail "no Debian could be made"; }
        # A machine of its own each time it boots, and no name service, which it could not reach.
        : >"$root.part/etc/machine-id"
        mv "$root.part" "$root"
    fi

    step "boot it"
    # What is bound is read by other users in there.
    chmod -R a+rX "$work"
    # The control groups as newer systemd wants them, also where the machine still has both kinds.
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$root" --volatile=overlay \
        --private-network --register=no --keep-unit --console=pipe "$@" --boot </dev/null >"$work/console" 2>&1 &
    booted=$!
    until_true "systemd is there" first_process
    until_true "it has booted" is_up
    systemd=$(inside systemctl --version | grep -oE '^systemd [0-9]+' | cut -d ' ' -f 2)
    printf '    systemd %s\n' "$systemd"
}
# By its name: nspawn has other children for a moment.
first_process() { leader=$(pgrep --parent "$booted" --exact systemd) && [ -n "$leader" ]; }
is_up() { [[ $(quietly inside systemctl is-system-running) =~ ^(running|degraded)$ ]]; }

inside() { nsenter --target "$leader" --all -- "$@"; }
quietly() { "$@" 2>&1 || true; }
owner() { inside stat --format='%U:%G %a' "$1"; }

# ---- the service in there ----------------------------------------------------

property() { inside systemctl show zalo-tokend --property="$1" --value; }
journal() { inside journalctl --no-pager --output=cat -u zalo-tokend; }
# logged EVENT [OA]: the event is in the journal.
logged() {
    local lines
    lines=$(journal | grep -F "\"event\":\"$1\"") && { [ -z "${2:-}" ] || grep -qF "\"oa_id\":\"$2\"" <<<"$lines"; }
}
times_logged() { journal | grep -cF "\"event\":\"$1\"" || true; }
# is_another PID: it runs, as another process than that. Asked for together: between two questions it may have ended.
is_another() {
    local seen
    seen=$(inside systemctl show zalo-tokend --property=ActiveState,MainPID)
    grep -qx 'ActiveState=active' <<<"$seen" && ! grep -qxE "MainPID=(0|$1)" <<<"$seen"
}
# The store, as the program shows it: status OA FIELD.
status() { inside zalo-tokend status "$1" --json | grep -oE "\"$2\": *(\"[^\"]*\"|[^,}]*)" | sed 's/.*: *//; s/"//g'; }

secret='secret_key_file = "/etc/zalo-tokend/app.secret"'
# What stands before it.
sections=
# write_config OA…: with the secret of the app by $secret.
write_config() { config "$@" | inside sh -euc 'cat > /etc/zalo-tokend/config.toml'; }
config() {
    cat <<TOML
$sections
[refresh]
retry_first = "200ms"
retry_max = "1s"
settle = "300ms"

[[app]]
id = "1"
$secret
token_url = "$token_url"
api_url = "$api_url"
$(for oa in "$@"; do printf '\n[[oa]]\nid = "%s"\napp = "1"\n' "$oa"; done)
TOML
}

# grant OA AGE: Zalo's answer to a consent of that age.
grant() { control grants "{\"app_id\":\"1\",\"oa_id\":\"$1\",\"age\":\"$2\"}"; }
# import_due OA: a grant of a day ago, imported as root; it is due at once.
import_due() {
    grant "$1" 24h >"$work/answer.json"
    inside zalo-tokend import "$1" --obtained-at "$(date -u -d '24 hours ago' +%FT%TZ)" <"$work/answer.json"
}

# ---- Zalo in there -----------------------------------------------------------

simulator=http://127.0.0.1:8080
# simulate PROGRAM: starts it, with the app 1. Sets $token_url and $api_url.
simulate() {
    nsenter --target "$leader" --all -- "$1" simulate --listen "${simulator#http://}" >"$work/simulator" 2>&1 &
    until_true "the simulator answers" ledger
    token_url=$(sed -n 's/^token_url = "\(.*\)"/\1/p' "$work/simulator")
    api_url=$(sed -n 's/^api_url = "\(.*\)"/\1/p' "$work/simulator")
    control apps '{"app_id":"1","secret_key":"stand-in"}' >/dev/null
}
ask() { nsenter --target "$leader" --net -- curl --silent --show-error --fail --max-time 10 "$@"; }
control() { ask --data "$2" "$simulator/_simulator/$1"; }
# hold OA SPEND: the next answer to this OA is held back until `release`; its refresh token is spent, or not: yes or no.
hold() { control faults "{\"oa_id\":\"$1\",\"fault\":{\"after_request\":{\"spend\":\"$2\",\"answer\":\"held\"}}}" >/dev/null; }
release() { ask --request POST "$simulator/_simulator/release" >/dev/null; }
ledger() { ask "$simulator/_simulator/ledger.txt"; }
# counted WHAT: a line of the ledger.
counted() { ledger | sed -n "s/^$1  *//p"; }
# judge PRESENTATIONS [SPENDS]: all that was presented was spent, where nothing else is said.
judge() {
    is "the ledger, presentations" "$1" "$(counted presentations)"
    is "the ledger, spends" "${2:-$1}" "$(counted spends)"
    has "the ledger" "the ledger is clean" "$(ledger)"
}
# takes OA [COMMAND…]: Zalo takes the access token that is handed out for it. Asked for as the README says, by root or by
# whom the command makes it.
takes() {
    local -a by=("${@:2}")
    if [ ${#by[@]} = 0 ]; then by=(inside); fi
    "${by[@]}" zalo-tokend token "$1" | sed 's/^/access_token: /' | ask --header @- "$api_url/v2.0/oa/getoa" |
        grep -qE '"error": *0\b'
}
