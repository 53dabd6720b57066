"""What runs on a device that has a POSIX shell and little else: one script that starts a command, one that watches over a session.

A session's watch is a shell that lives as long as the connection. Every command carries the name of its run (`targets/runs.py`) in its
environment, so that all it started can be found again, also what left its process group, and also by the next session after this one was
cut off. Needs: sh, setsid, /proc, and env mkdir find sort stat cat chmod tr grep rm sleep df sha256sum mv readlink, busybox's or better.
"""

from __future__ import annotations

from collections.abc import Sequence

from targets.session import CommandFailed

STATE_FOLDER = ".assay"
"""In the work directory: `pushed/` notes what was pushed, `incoming/` holds what is being pushed."""
MAX_COMMAND_BYTES = 100_000
"""Linux takes 128 KiB in one argument, and all of a command is one argument of the login shell."""
PROBE = "it's \"$HOME\" `id` \\ \\' !x\n* "
"""The watch says it back: a login shell that reads quotes in another way than POSIX would change it."""


def quote(argv: Sequence[str]) -> str:
    """The command line from which a POSIX shell reads exactly these words. No other place puts words into a shell's text."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)


def command_line(argv: Sequence[str]) -> bytes:
    """`quote` as bytes, in place of the login shell."""
    line = b"exec " + quote(argv).encode("utf-8", "surrogateescape")
    if len(line) > MAX_COMMAND_BYTES:
        raise CommandFailed(
            f"cannot run {argv[0]!r}: {len(line)} bytes of command; pass what is long by standard input or a file"
        )
    return line


START = r"""
cd -- "$1" || exit 1
printf '%s %s\n' "$2" $$
printf '%s %s\n' "$2" $$ >&2
shift 2
read -r stat </proc/$$/stat
stat=${stat##*) }
stat=${stat#* * }
# A leader already (OpenSSH sees to it): setsid would fork, and what the server waits for would end at once.
[ "${stat%% *}" = $$ ] && exec env -i "$@"
exec setsid env -i "$@"
"""
"""Arguments: work directory, mark, then `NAME=value` words and the command. Prints `MARK PID` on both streams and becomes the command."""

RUNS = r"""
for lines in -z -F; do # each variable of an environment ends in NUL: GNU's and busybox's grep want to be told, others look at every byte
  printf 'a\0b' | grep -q $lines -F b 2>/dev/null && break
  [ $lines = -z ] || { echo "grep here finds nothing after a NUL byte" >&2; exit 1; }
done

started() { # when process $1 began, in ticks after boot; nothing where there is none, or only its unreaped rest
  [ -r "/proc/$1/stat" ] || return 0
  read -r stat <"/proc/$1/stat"
  set -- ${stat##*) }
  case $1 in Z | X) return 0 ;; esac
  shift 19
  printf %s "$1"
} 2>/dev/null

slay() { # every process of the run or session $1
  for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    found=$(grep -l -s $lines -F "ASSAY_RUN=$1" /proc/[0-9]*/environ 2>/dev/null)
    [ -n "$found" ] || return 0
    for file in $found; do
      file=${file#/proc/}
      kill -s KILL "${file%/environ}" 2>/dev/null
    done
    [ $round -lt 10 ] || sleep 1
  done
  return 1
}

is_live() { # whether the session of the run $1 still has its watch, or may have: other namespaces' numbers mean nothing here
  [ "${1%%.*}" = "$namespace" ] || return 0
  set -- "${1#*.}"
  set -- "${1%%.*}" "${1#*.}"
  [ "$(started "$1")" = "${2%%.*}" ]
}

namespace=$(readlink /proc/self/ns/pid)
namespace=${namespace#*\[}
namespace=${namespace%]}
namespace=${namespace:-0}
"""
"""What any script needs to find runs and end them (`targets/runs.py`): `started`, `slay`, `is_live`, and the `namespace` it is in."""

WATCH = (
    r"""
trap '' HUP INT TERM PIPE
LC_ALL=C
export LC_ALL
mark=$1 limit=$4
"""
    + RUNS
    + r"""
system= # what Android's own programs need to find themselves
for name in ANDROID_ROOT ANDROID_DATA ANDROID_ART_ROOT ANDROID_I18N_ROOT ANDROID_TZDATA_ROOT BOOTCLASSPATH; do
  eval "value=\${$name-}"
  [ -z "$value" ] || system="$system$name=$value
"
done
case $2 in
'') # Android's users have no home
  if [ -n "${ANDROID_DATA-}" ]; then root=$ANDROID_DATA/local/tmp/assay/$3; else root=${XDG_CACHE_HOME:-$HOME/.cache}/assay/device/$3; fi
  ;;
'~/'*) root=$HOME/${2#??} ;;
*) root=$2 ;;
esac
mkdir -p -m 700 -- "$root" && cd -P -- "$root" && mkdir -p .assay/pushed .assay/incoming || exit 1

for run in $(cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -x 'ASSAY_RUN=[0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*' | sort -u); do
  run=${run#ASSAY_RUN=}
  is_live "$run" || slay "$run"
done
for file in .assay/incoming/*; do
  [ ! -f "$file" ] || is_live "${file##*/}" || rm -f -- "$file"
done

# The least recently pushed files go first, until no more than the limit is left.
find .assay/pushed -type f -exec stat -c '%Y %n' {} + | sort -rn | {
  total=0
  while read -r age note; do
    [ -f "$note" ] && read -r boot sha256 inode size rest <"$note" || continue
    file=./${note#.assay/pushed/}
    case $size in # in thousands: Android's shell counts to 2^31
    '' | *[!0-9]*) file= ;;
    ????*) size=${size%???} ;;
    *) size=0 ;;
    esac
    if [ ! -f "$file" ]; then
      rm -f -- "$note"
      continue
    fi
    total=$((total + size))
    if [ $total -gt "$limit" ]; then
      rm -f -- "$file" "$note"
    fi
  done
}

id=$namespace.$$.$(started $$)
read -r boot </proc/sys/kernel/random/boot_id || boot=$mark # not known: then no note is believed by another session
printf '%s %s\n' "$mark" $$
temporary=${TMPDIR:-/tmp}
[ -d "$temporary" ] || temporary=/tmp # adbd names Android's, also where there is none
printf '%s\0' "$id" "$boot" "$PWD" "$PATH" "${HOME:-/}" "$temporary" "$system" "$5"

while read -r verb group run; do
  case $verb in
  ping) echo here ;;
  bye) break ;;
  term) kill -s TERM -- "-$group" 2>/dev/null ;;
  end)
    echo here
    kill -s KILL -- "-$group" 2>/dev/null
    if slay "$run"; then echo gone; else echo left; fi
    ;;
  esac
done
slay "$id."
echo bye
"""
)
"""Arguments: mark, work directory (empty: in the cache folder there, on Android where adb's user may execute files), target's name, most
thousands of bytes of pushed files to keep, probe.

Makes the work directory; kills what sessions without a watch left running; drops old files. Then says who it is, NUL after each word,
and obeys `term GROUP`, `end GROUP RUN` (answers `here` at once, then `gone`, or `left` where something cannot be killed), `ping` (answers
`here`) and `bye`. At that, or at the end of its input, which is the end of the connection however it came, it kills all that the session left
running.
"""
