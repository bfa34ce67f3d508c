# Sourced by .ci/services: etcd, the API server of Kubernetes 1.20.2 with RBAC on, and its controller manager with the
# controllers of deployments, replica sets and disruption budgets. There is no scheduler and no kubelet: tests play
# both. No package holds the servers: they are built once from Debian's source package, in 5 minutes of two idle cores,
# and kept beside the unpacked packages.

url_variable_kubernetes() { echo KUBE_URL; }
url_scheme_kubernetes() { echo https; }

kubernetes_programs() { echo "$FOLDER/root/kubernetes"; }

# kubernetes_build OUT: compiles both servers. All that it needs is unpacked only, but make.
kubernetes_build() {
  local out=$1 work=$FOLDER/kubernetes-build root=$FOLDER/root apt reflect2
  rm -rf "$work"
  mkdir -p "$work/source" "$work/lists/partial"
  unpacked golang-1.19-src usr/share/go-1.19/src/make.bash
  unpacked golang-1.19-go usr/lib/go-1.19/bin/go
  [ -d "$root/usr/share/gocode/src/github.com/modern-go/reflect2" ] ||
    unpacked golang-github-modern-go-reflect2-dev usr/share/gocode/src/github.com/modern-go/reflect2/reflect2.go
  # Source packages are on no list of a fresh machine.
  if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    sed 's/^Types: deb.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$work/source.sources"
  else
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/source.list"
  fi
  apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work" -o Dir::State::lists="$work/lists"
    -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$work" && "${apt[@]}" source --download-only kubernetes)
  tar xzf "$work"/kubernetes_*.orig.tar.gz -C "$work/source" --strip-components=1
  # The vendored reflect2 1.0.1 crashes under Go 1.18 and later: Debian's 1.0.2 instead.
  reflect2=$work/source/vendor/github.com/modern-go/reflect2
  rm -f "$reflect2"/*.go
  cp "$root"/usr/share/gocode/src/github.com/modern-go/reflect2/*.go "$reflect2/"
  # All that the build wants rsync for is to copy a program: `rsync -pc FROM TO`.
  mkdir "$work/bin"
  printf '#!/bin/sh\nshift\nexec cp -p "$@"\n' >"$work/bin/rsync"
  chmod +x "$work/bin/rsync"
  mkdir -p "$work/source/.go/src/k8s.io"
  ln -sfn ../../.. "$work/source/.go/src/k8s.io/kubernetes"
  (
    cd "$work/source"
    export GOROOT=$root/usr/lib/go-1.19 GOPATH=$PWD/.go GOCACHE=$work/cache HOME=$work CGO_ENABLED=0
    export PATH=$GOROOT/bin:$work/bin:$PATH KUBE_GIT_VERSION=v1.20.2
    # Without the clouds, whose libraries are large.
    make WHAT="cmd/kube-apiserver cmd/kube-controller-manager" GOFLAGS="-tags=providerless" GOLDFLAGS="-s -w"
  )
  mkdir -p "$out"
  # Last, and as one, so that a build that was stopped leaves nothing that looks whole.
  cp -L "$work"/source/_output/bin/kube-controller-manager "$out/"
  cp -L "$work"/source/_output/bin/kube-apiserver "$out/kube-apiserver.new"
  mv "$out/kube-apiserver.new" "$out/kube-apiserver"
  chmod -R u+w "$work"
  rm -rf "$work"
}

get_kubernetes() {
  local programs
  programs=$(kubernetes_programs)
  [ -x "$programs/kube-apiserver" ] || kubernetes_build "$programs"
}

fetch_kubernetes() { once kubernetes get_kubernetes; }

prepare_kubernetes() {
  local folder=$1
  fetch_kubernetes
  unpacked etcd-server usr/bin/etcd
  mkdir -p "$folder/certs"
  openssl genrsa -out "$folder/account.key" 2048
  head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/token"
  (umask 077 && echo "$(cat "$folder/token"),admin,1,\"system:masters\"" >"$folder/tokens.csv")
  free_port >"$folder/etcd.port"
  free_port >"$folder/peer.port"
}

# Three servers under one process, which takes them along when it is told to end.
start_kubernetes() {
  local folder=$1 port=$2 etcd peer programs
  programs=$(kubernetes_programs)
  etcd=http://127.0.0.1:$(cat "$folder/etcd.port") peer=http://127.0.0.1:$(cat "$folder/peer.port")
  trap 'kill $(jobs -p) 2>/dev/null; wait; exit' TERM INT
  "$FOLDER/root/usr/bin/etcd" --data-dir "$folder/data" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" &
  "$programs/kube-apiserver" --etcd-servers="$etcd" --secure-port="$port" --bind-address=127.0.0.1 \
    --cert-dir="$folder/certs" --service-account-key-file="$folder/account.key" \
    --service-account-signing-key-file="$folder/account.key" --service-account-issuer=https://kubernetes.test \
    --token-auth-file="$folder/tokens.csv" --authorization-mode=RBAC --disable-admission-plugins=ServiceAccount \
    --service-cluster-ip-range=10.0.0.0/24 &
  cat >"$folder/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$port", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $(cat "$folder/token")}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
END
  # It gives up on a server that is not there.
  for _ in $(seq "$MAX_WAIT"); do ! answers_kubernetes "$port" || break; sleep 0.1; done
  "$programs/kube-controller-manager" --kubeconfig="$folder/kubeconfig" --leader-elect=false --port=0 --secure-port=0 \
    --controllers=deployment,replicaset,disruption &
  # Without one of them it is not a cluster.
  wait -n || true
  kill $(jobs -p) 2>/dev/null || true
}

answers_kubernetes() {
  curl -fsSk -o /dev/null -H "Authorization: Bearer $(cat "$FOLDER/kubernetes/token")" "https://127.0.0.1:$1/readyz" 2>/dev/null
}

variables_kubernetes() {
  local folder=$1
  echo "KUBE_TOKEN=$(cat "$folder/token")"
}
