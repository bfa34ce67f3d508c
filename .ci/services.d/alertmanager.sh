# Sourced by .ci/services: Alertmanager with webhooks to the tests. An alert's label `aiops_test` names
# the test that it is for; that test listens on the port of its own variable.

# By `aiops_test`: the variable with the port.
declare -A HOOKS=([notifier]=AM_NOTIFIER_PORT [intake]=AM_INTAKE_PORT [embedded]=AM_EMBEDDED_PORT)

url_variable_alertmanager() { echo AM_URL; }
ready_path_alertmanager() { echo /-/ready; }

prepare_alertmanager() {
  local folder=$1 test port routes=() receivers=()
  # Debian's build reads its templates from /usr/share. Its copy here reads them from the folder that
  # it starts in: a path of the same length, without the slash at its head.
  LC_ALL=C sed 's#/usr/share/prometheus/alertmanager#usr//share/prometheus/alertmanager#g' \
    "$(unpacked prometheus-alertmanager usr/bin/prometheus-alertmanager)" >"$folder/alertmanager"
  chmod +x "$folder/alertmanager"
  for test in "${!HOOKS[@]}"; do
    port=$(free_port)
    echo "${HOOKS[$test]}=$port" >>"$folder/hooks"
    routes+=("{receiver: $test, matchers: ['aiops_test=\"$test\"']},")
    receivers+=("{name: $test, webhook_configs: [{url: 'http://127.0.0.1:$port/alertmanager', send_resolved: true,
      http_config: {authorization: {credentials: aiops-test-token}}}]},")
  done
  cat >"$folder/alertmanager.yml" <<YAML
route:
  receiver: nobody
  group_by: [aiops_incident_id, alertname]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
  routes: [${routes[*]}]
receivers: [${receivers[*]} {name: nobody}]
inhibit_rules:
  - {source_matchers: ['alertname="AiopsTestDeploy"'], target_matchers: ['alertname="AiopsTestHeld"'], equal: [service]}
YAML
}

# Replaced by the server, so that its process id is the job's.
start_alertmanager() {
  local folder=$1 port=$2
  cd "$FOLDER/root"
  exec "$folder/alertmanager" --config.file="$folder/alertmanager.yml" \
    --storage.path="$folder/data" --web.listen-address="127.0.0.1:$port" --cluster.listen-address=
}

variables_alertmanager() { cat "$1/hooks"; }
