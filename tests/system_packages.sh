#!/usr/bin/env bash
# Debian packages that some tests need: Chromium for the web page, libpython for the real tritonserver, docker-compose to read the
# compose file, the emoji font for what is drawn from it, PostgreSQL for jobs that several gateways share.
# Without root they are not installed, and those tests skip and say so.
set -euo pipefail
packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v chromedriver >/dev/null || packages+=(chromium-driver)
ldconfig -p | grep -q 'libpython3\.11\.so' || packages+=(libpython3.11)
command -v docker-compose >/dev/null || packages+=(docker-compose)
[ -f /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ] || packages+=(fonts-noto-color-emoji)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || packages+=(postgresql)
[ ${#packages[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed (no root, or no apt-get): ${packages[*]}; the tests that need them will skip" >&2
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
