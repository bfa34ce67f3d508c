# Sourced by .ci/services: Redis as the remediation store needs it, every call synced. Tests that stop a server, or
# empty it, start one of their own: REDIS_SERVER is the program, REDIS_LIBRARIES what it is linked to.

url_variable_redis() { echo REDIS_URL; }
url_scheme_redis() { echo redis; }

redis_libraries() { echo "$FOLDER"/root/usr/lib/*-linux-gnu; }

prepare_redis() {
  local folder=$1 file
  for file in libatomic1:libatomic.so.1 libjemalloc2:libjemalloc.so.2 liblzf1:liblzf.so.1; do
    [ -e "$(redis_libraries)/${file#*:}" ] || unpacked "${file%:*}" "usr/lib/${file#*:}"
  done
  # The server's program is a link into the package of its tools.
  unpacked redis-tools usr/bin/redis-cli
  unpacked redis-server usr/bin/redis-server
  mkdir -p "$folder/data"
}

start_redis() {
  local folder=$1 port=$2
  LD_LIBRARY_PATH=$(redis_libraries) exec "$FOLDER/root/usr/bin/redis-server" --bind 127.0.0.1 --port "$port" \
    --dir "$folder/data" --save '' --appendonly yes --appendfsync always
}

answers_redis() {
  local port=$1 line
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf 'PING\r\n' >&3
  read -r -t 1 line <&3
  [ "$line" = $'+PONG\r' ]
}

variables_redis() {
  echo "REDIS_SERVER=$FOLDER/root/usr/bin/redis-server"
  echo "REDIS_LIBRARIES=$(redis_libraries)"
}
