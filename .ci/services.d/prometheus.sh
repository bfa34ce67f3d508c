# Sourced by .ci/services: Prometheus with the made history of history.sh, and one alert.

url_variable_prometheus() { echo PROM_URL; }
ready_path_prometheus() { echo /-/ready; }

prepare_prometheus() {
  local folder=$1
  unpacked prometheus usr/bin/prometheus
  made_history >"$folder/history.om"
  "$(unpacked prometheus usr/bin/promtool)" tsdb create-blocks-from openmetrics "$folder/history.om" "$folder/tsdb"
  printf '%s\n' 'global: {scrape_interval: 1s, evaluation_interval: 1s}' 'rule_files: [rules.yml]' >"$folder/prometheus.yml"
  printf '%s\n' 'groups: [{name: test, rules: [{alert: AiopsTestAlwaysFires, expr: "vector(42)", labels: {service: checkout}}]}]' \
    >"$folder/rules.yml"
}

# Replaced by the server, so that its process id is the job's.
start_prometheus() {
  local folder=$1 port=$2
  exec "$FOLDER/root/usr/bin/prometheus" --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/tsdb" \
    --storage.tsdb.retention.time=10y --web.listen-address="127.0.0.1:$port"
}
