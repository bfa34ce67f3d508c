# Sourced by .ci/services: VictoriaMetrics with the made history of history.sh.

url_variable_victoria-metrics() { echo VM_URL; }
ready_path_victoria-metrics() { echo /health; }

prepare_victoria-metrics() {
  unpacked victoria-metrics usr/bin/victoria-metrics
}

# Replaced by the server, so that its process id is the job's.
start_victoria-metrics() {
  local folder=$1 port=$2
  exec "$FOLDER/root/usr/bin/victoria-metrics" -storageDataPath="$folder/data" -httpListenAddr="127.0.0.1:$port" \
    -retentionPeriod=10y -loggerLevel=WARN
}

# Samples can be asked for about a second after they were taken in.
fill_victoria-metrics() {
  local folder=$1 url=http://127.0.0.1:$2 samples="query=count_over_time(aiops_test_latency[2d])&time=1795305540"
  made_history | curl -fsS --data-binary @- "$url/api/v1/import/prometheus"
  for _ in $(seq "$MAX_WAIT"); do
    [ "$(curl -fsS "$url/api/v1/query?${samples// /%20}" -g | grep -o '"2880"' | wc -l)" != 2 ] || return 0
    sleep 0.1
  done
  echo "the history that was taken in is not there in $folder/data"
  return 1
}
