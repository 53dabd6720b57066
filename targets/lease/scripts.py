r"""What the lease asks of a device: shell scripts that need what `targets/shell.py` needs, and `id`.

One folder a device holds its leases, each a file named by its generation, twelve digits. The highest generation is the lease; whoever makes
the next one, and only one can (O_EXCL), has it. A file is one line:

    assay1 NONCE BOOT DEVICE TOKEN STATE EXPIRES SINCE SESSION UID HOLDER

STATE is `held` or `free`; EXPIRES counts seconds of the device's uptime during BOOT; SESSION begins the names of the holder's runs
(`targets/runs.py`) and UID is their account there. No one ever has to change or delete another account's file, so the folder is sticky.
"""

from __future__ import annotations

from targets.shell import RUNS

REFUSED = 97
"""Exit status of what was not done because the lease is not ours any more; a command's own 97 is told apart by asking again."""

_PLACE = r"""
place=$1
if [ -z "$place" ]; then # the same for every account, and the one that outlives a reboot where there is one
  for base in /data/local/tmp /var/tmp /tmp; do
    [ ! -d "$base" ] || break
  done
  place=$base/assay-lease
fi
newest() { # sets `top` to the highest generation, empty where there is none; glob sorts
  for top in [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]; do :; done
  [ -e "$top" ] || [ -L "$top" ] || top=
}
line() { # sets `line` to the first line of the file $1, empty for what is no plain file
  line=
  [ -L "$1" ] || [ ! -f "$1" ] || read -r line <"$1"
}
is_session() { # three numbers with dots between, and nothing else
  case $1 in *[!0-9.]* | .* | *. | *..* | *.*.*.*) return 1 ;; *.*.*) ;; *) return 1 ;; esac
}
read -r boot </proc/sys/kernel/random/boot_id
"""

LOOK = (
    _PLACE
    + RUNS
    + r"""
read -r uptime rest </proc/uptime
machine= top= line= life=
for file in /etc/machine-id /var/lib/dbus/machine-id; do
  [ -n "$machine" ] || [ ! -r "$file" ] || read -r machine <"$file"
done
[ -n "$machine" ] || machine=$(getprop ro.serialno 2>/dev/null)
read -r name </proc/sys/kernel/hostname
if [ ! -L "$place" ] && cd -P "$place" 2>/dev/null; then
  newest
  line "$top"
  set -f
  set -- $line
  life=gone
  ! is_session "$9" || ! is_live "$9.0" || life=alive
fi
printf '%.200s\n' "place $place" "boot $boot" "uptime ${uptime%%.*}" "machine $machine $name" "session ${ASSAY_RUN%.*}" "top $top $life"
printf 'line %.600s\n' "$line"
"""
)
"""Argument: folder, empty for the device's own. Changes nothing."""

TAKE = (
    _PLACE
    + RUNS
    + r"""
seen=$2 gen=$3 lasts=$4 head=$5 device=$6 token=$7 since=$8 holder=$9
refuse() {
  printf '%s\n' "$*" >&2
  exit 90
}
left() { # whether the lease in the file $1 may have left runs: sets their `session` and `owner`
  line "$1"
  set -f
  set -- $line
  set +f
  [ $# -eq 11 ] && [ "$1 $6" = "assay1 held" ] && [ "$3" = "$boot" ] && [ "$9" != "${ASSAY_RUN%.*}" ] && is_session "$9" || return 1
  session=$9
  shift 9
  owner=$1
  case $owner in '' | *[!0-9]*) return 1 ;; esac
}
umask 022
[ -d "$place" ] || { mkdir -p "${place%/*}" && mkdir -m 1777 "$place"; } 2>/dev/null || [ -d "$place" ] || refuse "cannot make the folder $place"
[ ! -L "$place" ] && cd -P "$place" || refuse "$place is not a folder; remove it"
newest
[ "$top" = "$seen" ] || { echo raced; exit; }
me=$(id -u)
for file in [0-9]*; do
  left "$file" && [ "$me" != 0 ] && [ "$me" != "$owner" ] || continue
  # Another account's runs are neither ours to see nor to kill: they are gone for certain only when that account runs nothing.
  if [ ! -d /proc/1 ] || stat -c %u /proc/[0-9]* 2>/dev/null | grep -q -x "$owner"; then
    echo "theirs $owner"
    exit
  fi
done
read -r uptime rest </proc/uptime
(
  set -C
  exec 3>"$gen" || exit 8
  printf '%s\n' "$head $boot $device $token held $((${uptime%%.*} + lasts)) $since ${ASSAY_RUN%.*} $me $holder" >&3 || {
    rm -f "./$gen"
    exit 9
  }
) 2>/dev/null
case $? in
0) ;;
9) refuse "ENOSPC: no space is left in $place" ;;
*) [ -e "$gen" ] || [ -L "$gen" ] || refuse "EACCES: no file can be made in $place"; echo raced; exit ;;
esac
newest
[ "$top" = "$gen" ] || { rm -f "./$gen"; echo raced; exit; } # generations passed by between the look and the making
for file in [0-9]*; do
  [ "$file" != "$gen" ] || break
  if left "$file"; then
    slay "$session." || { echo left; exit; } # its file stays: whoever comes next tries again
  fi
  rm -f "./$file" 2>/dev/null
done
rm -f ./.[0-9a-f]* 2>/dev/null # what a renewal that was killed left half written
echo held
"""
)
"""Arguments: folder, the generation that was seen (empty: none), the next one, seconds, `assay1 NONCE`, device, token, since, holder.

Answers `held`, `raced` (someone was faster), `theirs UID` (nothing done) or `left` (held, but what the last holder runs cannot be killed).
"""

_MINE = r"""
for top in "$1"/[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]; do :; done
line=
[ "$top" != "$1/$2" ] || [ -L "$top" ] || [ ! -f "$top" ] || read -r line <"$top"
read -r boot </proc/sys/kernel/random/boot_id
case $line in "$3 $boot $4 held "*) ;; *) exit 97 ;; esac
"""
"""Arguments: folder, generation, `assay1 NONCE`, `DEVICE TOKEN`. Ends with 97 where this is not the lease any more, also after a reboot."""

FENCE = (
    _MINE
    + r"""
shift 4
unset PWD OLDPWD SHLVL
exec "$@"
"""
)
"""Then the command. This shell carries the run's name already: a takeover that comes after the look finds it, whatever it is by then."""

WRITE = (
    _MINE
    + r"""
place=$1 gen=$2 state=$5 lasts=$6 new=.${3#* }
set -f
set -- $line
set +f
shift 7
read -r uptime rest </proc/uptime
cd -P "$place" && umask 022 && rm -f "./$new" && (
  set -C
  printf '%s\n' "${line%% held *} $state $((${uptime%%.*} + lasts)) $*" >"$new"
) && mv -f "./$new" "./$gen"
"""
)
"""Then the state, and for how many seconds from now: renews the lease, or gives it up."""
