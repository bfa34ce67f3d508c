# Sourced by .ci/services: Chromium without a screen, driven over WebDriver by chromedriver. CHROMIUM is the program
# that a session has to name.

url_variable_chromium() { echo CHROMEDRIVER_URL; }
ready_path_chromium() { echo /status; }

chromium_root() { echo "$FOLDER/root/chromium"; }

# With whatever they need that this machine has not installed: what that is, apt works out.
get_chromium() {
  local root deb apt
  root=$(chromium_root) deb=$FOLDER/deb/chromium
  [ ! -f "$root/ready" ] || return 0
  rm -rf "$root" "$deb"
  mkdir -p "$root" "$deb/partial"
  apt=(apt-get -qq -y --no-install-recommends --download-only -o Debug::NoLocking=true -o APT::Sandbox::User=root
    -o Dir::Cache::archives="$deb" install chromium chromium-driver fonts-dejavu-core)
  # An index that is out of date names a file that is gone.
  "${apt[@]}" || { apt-get -qq update && "${apt[@]}"; }
  for file in "$deb"/*.deb; do dpkg-deb -x "$file" "$root"; done
  cat >"$root/fonts.conf" <<XML
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>$root/usr/share/fonts</dir>
  <cachedir>$root/fonts</cachedir>
</fontconfig>
XML
  rm -r "$deb"
  touch "$root/ready"
}

fetch_chromium() { once chromium get_chromium; }

prepare_chromium() { fetch_chromium; }

# Replaced by the server, so that its process id is the job's; it ends its browsers with itself.
start_chromium() {
  local folder=$1 port=$2 root libraries
  root=$(chromium_root)
  # A library of sound names its own folder by the path that it would be installed to.
  libraries=$(echo "$root"/usr/lib/*-linux-gnu "$root"/usr/lib/*-linux-gnu/pulseaudio "$root"/lib/*-linux-gnu)
  mkdir -p "$folder/home"
  HOME=$folder/home TMPDIR=$folder/home FONTCONFIG_FILE=$root/fonts.conf LD_LIBRARY_PATH=${libraries// /:} \
    exec "$root/usr/bin/chromedriver" --port="$port"
}

variables_chromium() { echo "CHROMIUM=$(chromium_root)/usr/lib/chromium/chromium"; }
