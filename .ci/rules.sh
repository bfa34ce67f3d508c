# Sourced by .ci/run. Rules about dependencies and sizes that no lint knows.

# A size that a file with two duties reaches (CONTRIBUTING.md).
MAX_LINES=800
# Crates in the tree of aiops-core without features, itself included.
MAX_CORE_CRATES=55

# TLS, HTTP and C: what a build without a client must not hold. `linux-raw-sys` is Rust all the way.
is_client_or_c() {
  grep -E '^(reqwest|hyper|hyper-.*|h2|http-body.*|tower-http|axum.*|tonic.*|ureq|curl.*|isahc|rustls|rustls-.*|tokio-rustls|webpki-roots|native-tls|openssl.*|ring|aws-lc-.*|boring.*|cc|cmake|bindgen|pkg-config|.*-sys)$' |
    grep -vx 'linux-raw-sys'
}

is_client() {
  is_client_or_c | grep -vE '^(cc|cmake|bindgen|pkg-config|libsqlite3-sys)$'
}

# TLS, and what does its mathematics.
is_tls() { grep -E '^(rustls|rustls-.*|tokio-rustls|hyper-rustls|native-tls|openssl|openssl-sys|ring|aws-lc-.*|boring.*)$'; }

# Crates that building PACKAGE takes on this machine, one a line. More arguments go to cargo tree.
crates_of() {
  local package=$1
  shift
  cargo tree --locked -p "$package" -e normal,build --prefix none --format '{p}' "$@" | awk '{print $1}' | sort -u
}

# Crates that the exact command `cargo build ARGUMENTS` compiles, by cargo's own messages. In a
# virtual workspace the features of all members unify, so that a tree of one package would lie.
crates_built_by() {
  cargo build --locked -q --message-format json "$@" |
    grep '"reason":"compiler-artifact"' |
    sed -E 's/.*"package_id":"([^"]*)".*/\1/; s/.*#//; s/@.*//' | sort -u
}

dependency_rules() {
  local failed=0 crates count found sibling other
  crates=$(crates_of aiops-core)
  count=$(wc -l <<<"$crates")
  echo "aiops-core: $count crates (limit $MAX_CORE_CRATES)"
  [ "$count" -le "$MAX_CORE_CRATES" ] || { echo "aiops-core has too many dependencies"; failed=1; }
  if found=$(is_client_or_c <<<"$crates"); then echo "aiops-core must not hold: $found"; failed=1; fi

  for sibling in aiops-detectors aiops-llm aiops-remediate; do
    if found=$(crates_of "$sibling" | is_client); then echo "$sibling: default features switch on: $found"; failed=1; fi
    for other in aiops-detectors aiops-llm aiops-remediate; do
      [ "$sibling" = "$other" ] && continue
      if cargo tree --locked -p "$sibling" --all-features -e all --prefix none | grep -q "^$other v"; then
        echo "$sibling depends on $other: what two siblings need belongs into aiops-core"
        failed=1
      fi
    done
  done

  # One TLS provider, and a way without any: a host that has another one must be able to leave ours out.
  if found=$(crates_of aiops-llm --features client-no-provider | is_tls); then echo "aiops-llm, client-no-provider holds TLS: $found"; failed=1; fi
  if found=$(crates_of aiops-llm --features client | is_tls | grep -vE '^(aws-lc-.*|.*rustls.*)$'); then echo "aiops-llm, client holds a second TLS: $found"; failed=1; fi

  if [ -f examples/examples/quickstart.rs ]; then
    crates=$(crates_built_by --example quickstart)
    echo "quickstart: $(wc -l <<<"$crates") crates"
    if found=$(is_client_or_c <<<"$crates"); then echo "the quickstart must build without: $found"; failed=1; fi
  fi
  return $failed
}

size_rules() {
  local failed=0 file lines
  while IFS= read -r file; do
    lines=$(wc -l <"$file")
    [ "$lines" -le "$MAX_LINES" ] || { echo "$file: $lines lines (limit $MAX_LINES)"; failed=1; }
  done < <(git ls-files '*.rs')
  # A doctest that is never compiled proves nothing.
  if git grep -nE '```(rust,)?ignore' -- '*.rs' '*.md'; then echo "ignored doctests"; failed=1; fi
  return $failed
}

# The rules must be able to fail.
self_check_rules() {
  [ "$(printf 'serde\nring\nlinux-raw-sys\nlibz-sys\ncc\nhyper-util\nccx\n' | is_client_or_c | tr '\n' ' ')" = "ring libz-sys cc hyper-util " ] ||
    { echo "self-check: clients and C are not recognised"; return 1; }
  [ "$(printf 'serde\nring\naws-lc-sys\nrustls-pki-types\nstring\n' | is_tls | tr '\n' ' ')" = "ring aws-lc-sys rustls-pki-types " ] ||
    { echo "self-check: TLS is not recognised"; return 1; }
  crates_of aiops-core | grep -qx serde_json || { echo "self-check: the tree of aiops-core cannot be read"; return 1; }
}
