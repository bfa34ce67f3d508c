# Sourced by .ci/services: Schemathesis, which holds a server against the OpenAPI document that it serves. A program:
# nothing is started.

get_schemathesis() {
  local venv=$FOLDER/root/schemathesis-venv
  [ -f "$venv/ready" ] || {
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install schemathesis==4.32.5
    touch "$venv/ready"
  }
}

fetch_schemathesis() { once schemathesis get_schemathesis; }

prepare_schemathesis() { fetch_schemathesis; }

variables_schemathesis() { echo "SCHEMATHESIS=$FOLDER/root/schemathesis-venv/bin/schemathesis"; }
