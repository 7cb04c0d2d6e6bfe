#!/bin/sh
# Install what the tests start for themselves or compare with, where it is missing: redis-server, rabbitmq-server, ffmpeg.
# Runs apt-get on Debian and Ubuntu as root; elsewhere says what to install and lets those tests skip.
set -eu

missing=
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v rabbitmq-server >/dev/null || [ -x /usr/sbin/rabbitmq-server ] || missing="$missing rabbitmq-server"
command -v ffmpeg >/dev/null || missing="$missing ffmpeg"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed:$missing (their tests are skipped; Debian and Ubuntu: apt-get install$missing)" >&2
    exit 0
fi

echo "installing$missing"
# The packages start a server of their own on installation; the tests need only the programs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086
{ apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1 ||
    { cat "$log" >&2; rm -f "$log"; exit 1; }
rm -f "$log"
