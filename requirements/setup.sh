#!/usr/bin/env bash
# What pip and uv can't do: find a fitting Python and, on Debian and as root, install what is missing from its packages.
#
#   setup.sh venv FOLDER        make a virtual environment; $PYTHON names the interpreter, else one is looked for
#   setup.sh system COMMAND...  see that these commands exist; each is also the name of its Debian package, unless that
#                               follows it: COMMAND=PACKAGE
#   setup.sh packages PACKAGE...  install these Debian packages, or say how
set -euo pipefail

readonly FITS='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

say() { printf 'gapless: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Installs Debian packages without letting them start a service (a redis-server on its usual port is nobody's wish).
apt_install() {
  local policy=/usr/sbin/policy-rc.d output
  say "installing with apt-get: $*"
  if [ ! -e "$policy" ]; then
    trap "rm -f '$policy'" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  output=$({
    apt-get -qq update &&
      apt-get -qq -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends "$@"
  } 2>&1) || die "apt-get could not install $*:"$'\n'"$output"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c "$FITS" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

make_venv() {
  local folder=$1 python package
  if [ -z "${PYTHON:-}" ] && ! command -v python3 >/dev/null && can_install; then
    apt_install python3
  fi
  python=$(find_python) || die "Python 3.11, 3.12 or 3.13 is needed; ${PYTHON:-python3} is" \
    "$("${PYTHON:-python3}" --version 2>&1 || true). Name another with: make PYTHON=/path/to/python3.12 ..."
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
    can_install || die "$python has no venv module. As root: apt-get install $package"
    apt_install "$package"
  fi
  # An environment whose interpreter is gone or no longer fits is made anew.
  if [ -e "$folder/bin" ] && ! "$folder/bin/python" -c "$FITS" 2>/dev/null; then
    "$python" -m venv --clear "$folder"
  else
    "$python" -m venv "$folder"
  fi
}

need_system() {
  local command missing=()
  PATH="$PATH:/usr/sbin" # where servers are, and not everybody looks
  for command in "$@"; do
    command -v "${command%=*}" >/dev/null || missing+=("${command#*=}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if can_install; then
    apt_install "${missing[@]}"
  elif [ "${CI:-}" = true ]; then
    die "missing: ${missing[*]}. As root: apt-get install ${missing[*]}"
  else
    say "missing: ${missing[*]}; tests that need them can't pass. As root: apt-get install ${missing[*]}"
  fi
}

need_packages() {
  can_install || die "missing: $*. As root: apt-get install $*"
  apt_install "$@"
}

case "${1:-}" in
  venv) make_venv "$2" ;;
  system) shift; need_system "$@" ;;
  packages) shift; need_packages "$@" ;;
  *) die "usage: setup.sh venv FOLDER | setup.sh system COMMAND... | setup.sh packages PACKAGE..." ;;
esac
