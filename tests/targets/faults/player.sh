#!/bin/sh
# A program that is its own runner: it plays back right answers, or misbehaves as the folder of faults tells it to.
# Beside it lie answer.npz and time.npz, and answer.json and time.json: what is said of them, with @WORDS@ to fill in. sh, sed, head, cp, cat.
faults='@FAULTS@'
here=${0%/*}

field() { # the first word of the request's field $1
  sed -n "s/.*\"$1\": \[*\"\([^\"]*\)\".*/\1/p" "$request"
}

now() { # in ns, in steps of 10 ms
  read -r uptime rest </proc/uptime
  echo "${uptime%.*}${uptime#*.}0000000"
}

timed() { # five samples: starts and durations
  starts= durations=
  for sample in 1 2 3 4 5; do
    start=$(now)
    sleep 0.03
    starts="$starts${starts:+, }$start"
    durations="$durations${durations:+, }$(($(now) - start))"
  done
}

hold_on() { # neither we nor a child in a session of its own end of our own will
  trap '' TERM
  setsid sh -c "trap '' TERM HUP INT; while :; do sleep 1; done" </dev/null &
  while :; do sleep 1; done
}

say() {
  echo "ASSAY-BEGIN $nonce"
  read -r boot </proc/sys/kernel/random/boot_id
  words="s|@NONCE@|$nonce|; s|@OUTPUT@|$output|; s|@BOOT@|$boot|"
  sed "$words; s|\"@STARTS@\"|$starts|; s|\"@DURATIONS@\"|$durations|" "$here/$mode.json"
  echo "ASSAY-END $nonce"
}

request=$1
nonce=$(field nonce) mode=$(field mode) output=$(field outputs)
if [ "$mode" = answer ]; then
  cp "$here/answer.npz" "$output" && say
  exit
fi
[ ! -e "$faults/stubborn" ] || hold_on
timed
cp "$here/time.npz" "$output" || exit 1
if [ -e "$faults/garbage" ]; then
  printf '\033[2J\0'
  say | head -c 300
  head -c 100 /dev/urandom
elif [ -e "$faults/oversized" ]; then
  say
  head -c 40000000 /dev/zero | tr '\0' x
elif [ -e "$faults/replayed" ] && [ -e "$faults/said" ]; then
  cat "$faults/said"
elif [ -d "$faults" ]; then
  say >"$faults/said"
  cat "$faults/said"
else # another machine's folder
  say
fi
