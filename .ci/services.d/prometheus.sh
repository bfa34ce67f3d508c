# Sourced by .ci/services: Prometheus with the made history of history.sh, and one alert that always fires. A second one
# is for the test of embedded_service, which serves the metric on PROM_EMBEDDED_PORT and writes the Alertmanager to tell
# into the file PROM_ALERTMANAGERS.

url_variable_prometheus() { echo PROM_URL; }
ready_path_prometheus() { echo /-/ready; }

prepare_prometheus() {
  local folder=$1 port
  port=$(free_port)
  printf '%s\n' "PROM_EMBEDDED_PORT=$port" "PROM_ALERTMANAGERS=$folder/alertmanagers.json" >"$folder/embedded"
  echo '[]' >"$folder/alertmanagers.json"
  unpacked prometheus usr/bin/prometheus
  made_history >"$folder/history.om"
  "$(unpacked prometheus usr/bin/promtool)" tsdb create-blocks-from openmetrics "$folder/history.om" "$folder/tsdb"
  cat >"$folder/prometheus.yml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: embedded, static_configs: [{targets: ['127.0.0.1:$port']}]}]
alerting: {alertmanagers: [{file_sd_configs: [{files: [alertmanagers.json], refresh_interval: 1s}]}]}
YAML
  cat >"$folder/rules.yml" <<'YAML'
groups:
  - name: test
    rules:
      - {alert: AiopsTestAlwaysFires, expr: vector(42), labels: {service: checkout}}
      - alert: PodHangs
        expr: embedded_pod_hangs == 1
        labels: {aiops_test: embedded, service: cart, namespace: shop, pod: cart-1, severity: critical}
YAML
}

# Replaced by the server, so that its process id is the job's.
start_prometheus() {
  local folder=$1 port=$2
  exec "$FOLDER/root/usr/bin/prometheus" --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/tsdb" \
    --storage.tsdb.retention.time=10y --web.listen-address="127.0.0.1:$port" --rules.alert.resend-delay=1s
}

variables_prometheus() { cat "$1/embedded"; }
