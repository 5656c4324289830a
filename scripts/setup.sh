#!/bin/sh
# Makes `npm run demo` and `npm test` work on a fresh Debian or Ubuntu machine: installs what is missing, says what
# and why, and costs a few milliseconds when nothing is. Both commands run it first; running it by hand is fine too.
set -u

usage() {
  cat <<'END'
usage: sh scripts/setup.sh [--check] [--with-llvm]

Installs what tsbpf's demo and tests need and this machine lacks: the npm packages of the lock file, ip and tc, ping,
nsenter, mount and taskset, and a bpftool that knows TCX (7.5.0 or newer). Needs root for all but the npm packages.

  --check      print what is missing and exit 1 if anything is; install nothing
  --with-llvm  also install llvm, against whose assembler one test compares ours (skipped without it)
  --help       this text
END
}

NODE_NEEDED=20.19
BPFTOOL_NEEDED=7.5

main() {
  check=no llvm=no
  for argument in "$@"; do
    case $argument in
      --check) check=yes ;;
      --with-llvm) llvm=yes ;;
      --help | -h) usage; exit 0 ;;
      *) complain "unknown argument '$argument'"; usage >&2; exit 2 ;;
    esac
  done

  # An ordinary user's PATH has no sbin, where ip, tc and bpftool live.
  PATH=${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin
  cd "$(dirname "$0")/.." || exit 1

  require_node
  missing_packages=$(system_packages)
  [ "$llvm" = no ] || command -v llvm-mc >/dev/null || missing_packages="$missing_packages llvm"

  if [ "$check" = yes ]; then
    list_missing
    exit
  fi
  npm_packages_are_current || install_npm_packages
  # shellcheck disable=SC2086 # one word per package
  [ -z "$missing_packages" ] || install_system_packages $missing_packages
  bpftool_is_new_enough || get_bpftool
}

# --- what is there -----------------------------------------------------------------------------------------------

require_node() {
  command -v node >/dev/null || die "node is missing: tsbpf needs Node.js $NODE_NEEDED or newer" \
    "install it with your package manager, or see the Node.js web site"
  version=$(node --version)
  at_least "${version#v}" "$NODE_NEEDED" || die "Node.js ${version#v} is too old: tsbpf needs $NODE_NEEDED or newer"
}

# The stamp holds the lock file's checksum. Somebody may also have run `npm ci` by hand: npm then leaves its own copy
# of the lock file in node_modules, written last, so its age tells that the installation is complete and current.
STAMP=node_modules/.tsbpf-setup
npm_packages_are_current() {
  stamp=$(stamp_text)
  [ -f node_modules/.package-lock.json ] || return 1
  if [ -f "$STAMP" ] && IFS= read -r old <"$STAMP" && [ "$old" = "$stamp" ]; then return 0; fi
  [ -z "$(find package-lock.json -newer node_modules/.package-lock.json)" ] || return 1
  write_stamp
}

# The machine is part of it, because koffi and esbuild bring binaries for one architecture.
stamp_text() { echo "$(cksum <package-lock.json) $(uname -sm)"; }

# Not being allowed to write there costs the next run a few milliseconds, nothing else.
write_stamp() { { stamp_text >"$STAMP"; } 2>/dev/null || true; }

# The Debian packages of the commands that are missing, one word each.
system_packages() {
  packages=
  for pair in ip:iproute2 tc:iproute2 ping:iputils-ping nsenter:util-linux taskset:util-linux mount:mount; do
    command -v "${pair%%:*}" >/dev/null && continue
    case " $packages " in *" ${pair#*:} "*) ;; *) packages="$packages ${pair#*:}" ;; esac
  done
  echo "$packages"
}

# Ubuntu's /usr/sbin/bpftool is a wrapper that wants the tools of exactly the running kernel; newer ones, which work
# as well, may lie beside it. (Written from Ubuntu's package lists; no Ubuntu machine was at hand to try it.)
bpftool_is_new_enough() {
  for candidate in "$(command -v bpftool)" /usr/lib/linux-tools/*/bpftool /usr/lib/linux-*tools-*/bpftool; do
    [ -x "$candidate" ] || continue
    # "bpftool v7.5.0"; a wrapper without its kernel's tools prints a warning instead.
    version=$("$candidate" version 2>/dev/null | sed -n '1s/^.*bpftool v\([0-9.]*\).*/\1/p')
    at_least "${version:-0}" "$BPFTOOL_NEEDED" && return 0
  done
  return 1
}

list_missing() {
  status=0
  npm_packages_are_current || { echo "missing: npm packages (npm ci)"; status=1; }
  for package in $missing_packages; do echo "missing: $package ($(reason "$package"))"; status=1; done
  bpftool_is_new_enough || { echo "missing: bpftool >= $BPFTOOL_NEEDED ($(reason bpftool))"; status=1; }
  return $status
}

reason() {
  case $1 in
    iproute2) echo "ip and tc: network namespaces and veth pairs" ;;
    iputils-ping) echo "ping: the demo's first packets" ;;
    util-linux) echo "nsenter and taskset: commands in a namespace, on a chosen core" ;;
    mount) echo "mount: bpffs and tracefs" ;;
    bpftool) echo "attaches to TCX, and checks our disassembly" ;;
    llvm) echo "llvm-mc: an independent check of the encoder" ;;
  esac
}

# --- what is installed -------------------------------------------------------------------------------------------

install_npm_packages() {
  command -v npm >/dev/null || die "npm is missing: the npm packages cannot be installed" \
    "install npm with your package manager (Debian and Ubuntu: apt-get install npm)"
  say "installing the npm packages of package-lock.json (npm ci)"
  # The development packages are needed whatever NODE_ENV says. Install scripts stay off: koffi and esbuild ship their
  # binaries as packages. (Not in .npmrc, where it would also keep `npm pack` from building.)
  # npm's own patience with a dead network is ten minutes.
  run_quietly npm ci --include=dev --ignore-scripts --no-audit --no-fund --no-progress \
    --fetch-retries=2 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 ||
    die "npm ci failed: the npm packages are not installed" "is the network up? \`npm ci\` shows more"
  write_stamp
}

install_system_packages() {
  for package in "$@"; do say "installing $package ($(reason "$package"))"; done
  apt_can_install "$@" && apt_install "$@" && return
  # Without root the kernel tests are skipped anyway, and the demo says itself that it needs root.
  [ "$(id -u)" != 0 ] || exit 1
}

# The `tcx` and `clsact` backends do without bpftool, and so can the tests: whatever fails here is a note.
get_bpftool() {
  bpftool_refused_lately && return
  say "installing bpftool >= $BPFTOOL_NEEDED ($(reason bpftool))"
  if apt_can_install bpftool; then
    apt_has bpftool || run_quietly apt_get update
    if wanted=$(offered_bpftool); then
      apt_install "$wanted"
    elif make_scratch && find_backports; then
      install_bpftool_from_backports
    else
      install_kernel_tools
    fi
    bpftool_is_new_enough && return
  fi
  complain "no bpftool >= $BPFTOOL_NEEDED: going on without it, its TC backend is not available (\`--tc tcx\` is)"
}

# Where no package is new enough, asking apt again at every `npm test` would take seconds: once a day is enough.
REFUSED=node_modules/.tsbpf-no-bpftool
bpftool_refused_lately() {
  [ -n "$(find "$REFUSED" -mtime -1 2>/dev/null)" ] || return 1
  say "no bpftool >= $BPFTOOL_NEEDED for this system (asked within a day; to ask again, remove $REFUSED)"
}

# Prints `bpftool=VERSION` of the first version that apt knows and that is new enough, if there is one.
offered_bpftool() {
  for version in $(apt-cache madison bpftool 2>/dev/null | cut -d'|' -f2); do
    at_least "$version" "$BPFTOOL_NEEDED" && echo "bpftool=$version" && return
  done
  return 1
}

# Writes a source entry for this release's backports into the scratch directory: the machine's own entry for the
# release with only the suite changed, so that mirror, keys and options are the machine's. Fails if there is none; on
# other systems than Debian, whose backports carry no bpftool; and on Debian's testing and unstable.
find_backports() {
  # shellcheck source=/dev/null
  . /etc/os-release
  [ "${ID:-}" = debian ] && [ -n "${VERSION_CODENAME:-}" ] || return 1
  mkdir -p "$SCRATCH/sources"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    backports=$SCRATCH/sources/tsbpf-backports.list
    awk -v codename="$VERSION_CODENAME" '
      $1 == "deb" {
        for (i = 2; i <= NF; i++) if ($i == codename || $i ~ /^(old)*stable$/) {
          $i = codename "-backports"; print; exit
        }
      }' "$file" >"$backports"
    [ ! -s "$backports" ] || return 0
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    backports=$SCRATCH/sources/tsbpf-backports.sources
    grep -v '^#' "$file" | awk -v codename="$VERSION_CODENAME" '
      BEGIN { RS = ""; FS = "\n" }
      tolower($0) ~ /(^|\n)enabled:[ \t]*(no|false)/ { next }
      {
        found = 0
        for (i = 1; i <= NF; i++) if (tolower($i) ~ /^suites:/) {
          n = split($i, word, /[ \t]+/)
          for (j = 2; j <= n; j++) if (word[j] == codename || word[j] ~ /^(old)*stable$/) found = i
        }
        if (!found) next
        for (i = 1; i <= NF; i++) {
          if (i == found) print "Suites: " codename "-backports"
          else if (tolower($i) ~ /^types:/) print "Types: deb"
          else print $i
        }
        exit
      }' >"$backports"
    [ ! -s "$backports" ] || return 0
  done
  return 1
}

# Only the scratch directory learns of backports: the machine's own sources, lists and caches stay as they are.
install_bpftool_from_backports() {
  say "$VERSION_CODENAME's own bpftool is older: taking this one package from $VERSION_CODENAME-backports"
  mkdir -p "$SCRATCH/lists/partial"
  # Without the error mode, apt counts a mirror that does not answer as a success.
  run_quietly private_apt_get -o Dir::Etc::sourcelist="$backports" -o Dir::Etc::sourceparts=- \
    -o APT::Update::Error-Mode=any update || return
  # The release's own entries and lists beside it, for what bpftool depends on.
  cp /var/lib/apt/lists/*_* "$SCRATCH/lists/" 2>/dev/null
  cp /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources "$SCRATCH/sources/" 2>/dev/null
  run_quietly private_apt_get -o Dir::Etc::sourceparts="$SCRATCH/sources" \
    install --yes --no-install-recommends -t "$VERSION_CODENAME-backports" bpftool
}

private_apt_get() {
  apt_get -o Dir::State::lists="$SCRATCH/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

# Ubuntu ships bpftool with the tools of each kernel. See bpftool_is_new_enough for how far this is tried.
install_kernel_tools() {
  # shellcheck source=/dev/null
  . /etc/os-release
  for package in "linux-tools-$(uname -r)" "linux-tools-generic-hwe-${VERSION_ID:-}" linux-tools-generic; do
    apt_has "$package" || continue
    apt_install "$package" && bpftool_is_new_enough && return
  done
  { date >"$REFUSED"; } 2>/dev/null
}

# --- apt ---------------------------------------------------------------------------------------------------------

apt_can_install() {
  if ! command -v apt-get >/dev/null; then
    complain "missing: $*; this is neither Debian nor Ubuntu (no apt-get): install it with your package manager"
  elif [ "$(id -u)" != 0 ]; then
    complain "missing: $*; not root, so not installed. As root: sh scripts/setup.sh"
  else
    return 0
  fi
  return 1
}

# Lists may be empty (a fresh image) or name files that the mirror no longer has: update, and try once more.
apt_install() {
  for package in "$@"; do
    apt_has "${package%%=*}" || { run_quietly apt_get update; break; }
  done
  run_quietly apt_get install --yes --no-install-recommends "$@" && return
  run_quietly apt_get update && run_quietly apt_get install --yes --no-install-recommends "$@" && return
  complain "apt-get could not install $*" "is the network up? \`apt-get install $*\` shows more"
  return 1
}

apt_has() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 \
    -o Acquire::http::Timeout=30 "$@"
}

# --- helpers -----------------------------------------------------------------------------------------------------

# Versions are compared by their first two numbers.
at_least() {
  have_major=${1%%.*} have_rest=${1#*.} want_major=${2%%.*} want_minor=${2#*.}
  have_minor=${have_rest%%[!0-9]*}
  [ "$have_major" -gt "$want_major" ] 2>/dev/null && return 0
  [ "$have_major" -eq "$want_major" ] 2>/dev/null && [ "${have_minor:-0}" -ge "$want_minor" ]
}

say() { echo "setup: $*"; }

complain() {
  for line in "$@"; do echo "setup: $line" >&2; done
}

die() {
  complain "$@"
  exit 1
}

# A command's output matters only when it fails.
run_quietly() {
  make_scratch
  "$@" >"$SCRATCH/log" 2>&1 </dev/null && return
  status=$?
  sed 's/^/    /' "$SCRATCH/log" >&2
  return $status
}

# apt's own unprivileged user must be able to read it.
SCRATCH=
make_scratch() {
  [ -z "$SCRATCH" ] || return 0
  SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/tsbpf-setup.XXXXXX") || exit 1
  chmod 755 "$SCRATCH"
}

clean_up() { [ -z "$SCRATCH" ] || rm -rf "$SCRATCH"; }
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

main "$@"
