# Sourced by .ci/run. Tests that a plain `cargo test` ignores must run in the gate: they are read
# from the source with their reason and held against what the test runner printed.

# Prints `name<TAB>reason` for each ignored test of the Rust sources on stdin (several files may be
# concatenated). An `#[ignore]` without a reason gives an empty reason.
ignored_tests() {
  awk '
    /^[[:space:]]*#\[ignore/ {
      reason = ""
      if (match($0, /"[^"]*"/)) reason = substr($0, RSTART + 1, RLENGTH - 2)
      waiting = 1
      next
    }
    waiting && match($0, /fn [A-Za-z0-9_]+/) {
      print substr($0, RSTART + 3, RLENGTH - 3) "\t" reason
      waiting = 0
    }'
}

# Reads `name<TAB>reason` on stdin and prints those that LOG, the output of a test run, does not show
# as having run. A server that was not there must not look like a pass.
not_run_in() {
  local log=$1 name reason
  while IFS=$'\t' read -r name reason; do
    grep -Eq "^test (.*::)?$name( - .*)? \.\.\. (ok|FAILED)" "$log" || printf '%s\t%s\n' "$name" "$reason"
  done
}

# The services that the reasons on stdin (`name<TAB>reason`) ask for, once each:
# `needs nats: .ci/services up nats` asks for nats.
services_of() {
  sed -n 's/.*\.ci\/services up \([a-z0-9 -]*\).*/\1/p' | tr ' ' '\n' | sed '/^$/d' | sort -u
}

# The check must be able to fail: a run that skipped one of two ignored tests is caught.
self_check_ignored() {
  local source log found
  source=$'#[ignore = "needs nats: .ci/services up nats"]\n#[test]\nfn talks_to_nats() {}\n'
  source+=$'#[tokio::test]\n#[ignore = "needs AIOPS_DATA"]\nasync fn reads_data() {}\n#[ignore]\nfn silent() {}\nfn plain() {}'
  log=$(mktemp)
  printf 'test bus::reads_data ... ok\ntest talks_to_nats_twice ... ok\ntest talks_to_nats ... ignored, needs\ntest silent ... ok\n' >"$log"
  found=$(ignored_tests <<<"$source" | not_run_in "$log" | cut -f1 | tr '\n' ' ')
  rm -f "$log"
  [ "$found" = "talks_to_nats " ] || { echo "self-check: expected talks_to_nats to be missed, got '$found'"; return 1; }
  [ "$(ignored_tests <<<"$source" | services_of)" = "nats" ] || { echo "self-check: services are not read"; return 1; }
  [ "$(ignored_tests <<<"$source" | awk -F'\t' '$2 == ""' | cut -f1)" = "silent" ] || { echo "self-check: a missing reason is not seen"; return 1; }
}
