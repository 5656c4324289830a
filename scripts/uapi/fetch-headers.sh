#!/bin/sh
# Brings Debian's newest linux-libc-dev (suite: $1, default sid) into a directory of its own and prints that directory.
# The machine's apt sources, lists and installed packages stay as they are: only the mirror's address and the key are
# taken from them.
set -eu

suite=${1:-sid}
root=${TSBPF_UAPI_HEADERS:-${TMPDIR:-/tmp}/tsbpf-uapi-headers}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/download"
chmod 755 "$work" "$work/download"

mirror=$(apt-get indextargets --format '$(REPO_URI) $(LABEL) $(COMPONENT) $(CREATED_BY)' |
  awk '$2 == "Debian" && $3 == "main" && $4 == "Packages" { print $1; exit }')
if [ -z "$mirror" ]; then
  echo "fetch-headers: apt knows no Debian mirror here; run apt-get update first" >&2
  exit 1
fi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"

private_apt() {
  apt-get -qq -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o APT::Update::Post-Invoke-Success= -o APT::Sandbox::User=root "$@" >&2
}
private_apt update
(cd "$work/download" && private_apt download linux-libc-dev)

package=$(ls "$work"/download/linux-libc-dev_*.deb)
rm -rf "$root"
mkdir -p "$root"
dpkg-deb -x "$package" "$root"
dpkg-deb -f "$package" Version >"$root/VERSION"
echo "$root"
