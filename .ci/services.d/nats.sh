# Sourced by .ci/services: NATS with JetStream. Tests that stop a server start one of their own: NATS_SERVER is the
# program. `sync_interval: always` came with 2.10, Debian has 2.9.

url_variable_nats() { echo NATS_URL; }
url_scheme_nats() { echo nats; }

prepare_nats() { unpacked nats-server usr/sbin/nats-server; }

start_nats() {
  local folder=$1 port=$2
  cat >"$folder/nats.conf" <<CONF
listen: 127.0.0.1:$port
max_payload: 8MB
jetstream { store_dir: "$folder/data", max_mem: 64MB, max_file: 1GB }
CONF
  exec "$FOLDER/root/usr/sbin/nats-server" -c "$folder/nats.conf"
}

# JetStream is on, as the line says that the server greets with.
answers_nats() {
  local port=$1 line
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  read -r -t 1 line <&3
  [[ $line == INFO*'"jetstream":true'* ]]
}

variables_nats() { echo "NATS_SERVER=$FOLDER/root/usr/sbin/nats-server"; }
