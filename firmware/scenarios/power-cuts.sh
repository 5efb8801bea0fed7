# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# The power fails at random instants: nothing promised is lost.
#
# A cut is SIGKILL for QEMU, and with it the TPM. What the box has flushed to its disk stays, as on a disk with power-loss
# protection; what it has only written, and QEMU holds in its own caches, goes. What a disk that lies about flushes loses is not shown.
# So many cuts come while the box signs, at any instant of a minute; and of four starts one is cut off beside them.

scenario() {
  local cut=0 under_load=0 acknowledged=0
  RANDOM=$cut_seed
  printf '%d cuts under load; again by --seed %s\n' "$cuts" "$cut_seed"
  box_as_kept
  rm -rf "$here/cuts"
  mkdir -p "$here"/cuts/{outbox,signed}
  while ((under_load < cuts)); do
    cut=$((cut + 1))
    start_machine "cut-$cut"
    if ((RANDOM % 4 == 0)); then
      cut_while_starting
      continue
    fi
    signs_as_before "cut-$cut" >/dev/null
    # What is promised by now has outlived the cuts before.
    nothing_lost
    cut_under_load
    under_load=$((under_load + 1))
  done
  start_machine "after-cuts"
  signs_as_before "after-cuts"
  nothing_lost
  acknowledged=$(find "$here/cuts/signed" -type f | wc -l)
  ((acknowledged > 0)) || fail "no message was acknowledged under load, so that none could be lost" "see $here/cuts/load.log; more --cuts, or another --seed"
  printf '%d cuts under load and %d in starts, %d messages acknowledged: all on the ledger, the keys as they were\n' "$under_load" $((cut - under_load)) "$acknowledged"
  stop_machine
}

# Some time in what a start takes here.
cut_while_starting() {
  local at
  random_seconds "${boot_takes:-60}"
  sleep "$at"
  cut_power
  printf 'cut %d: %s s after the start\n' "$cut" "$at"
}

# Some time in a minute of signing.
cut_under_load() {
  local at load before after
  before=$(find "$here/cuts/signed" -type f | wc -l)
  boot_takes=$((SECONDS - started))
  load &
  load=$!
  random_seconds 60
  sleep "$at"
  cut_power
  touch "$here/cuts/stop"
  wait "$load"
  rm "$here/cuts/stop"
  after=$(find "$here/cuts/signed" -type f | wc -l)
  printf 'cut %d: signed after %d s, cut %s s later, %d messages acknowledged in them\n' "$cut" "$boot_takes" "$at" $((after - before))
}

# random_seconds MOST: into at, to the millisecond. Not printed: bash seeds RANDOM anew for what is in $().
random_seconds() {
  local thousandths=$(((RANDOM * 32768 + RANDOM) % ($1 * 1000)))
  printf -v at '%d.%03d' $((thousandths / 1000)) $((thousandths % 1000))
}

# Relays that send, each message once, until told to stop; dkimctl writes what was acknowledged into cuts/signed.
load() {
  local round=0 number files
  while [[ ! -e $here/cuts/stop ]] && kill -0 $$; do
    round=$((round + 1)) files=()
    for number in {1..20}; do
      files+=("$here/cuts/outbox/$cut-$round-$number.eml")
      sed "s/^Message-ID: <[^>]*>/Message-ID: <cut-$cut-$round-$number@$domain>/" "$message" >"${files[-1]}"
    done
    # What fails is what the cut tore off.
    timeout 30 "$programs/dkimctl" sign --dir "$set_up" --timeout 10 --concurrency 4 --out "$here/cuts/signed" "${files[@]}" \
      >>"$here/cuts/load.log" 2>&1 || true
  done
}

# Every message that a relay was given signed is on the ledger, and the ledger is whole.
nothing_lost() {
  local lost
  ledger_verifies
  # Nothing is found where nothing was acknowledged yet; else what is missing is lost.
  grep -aoh "cut-[0-9]*-[0-9]*-[0-9]*@$domain" "$here"/ledger/segments/* | sort -u >"$here/cuts/on-ledger" || true
  find "$here/cuts/signed" -type f -printf '%f\n' | sed "s/^\(.*\)\.eml$/cut-\1@$domain/" | sort >"$here/cuts/acknowledged"
  lost=$(comm -13 "$here/cuts/on-ledger" "$here/cuts/acknowledged")
  [[ -z $lost ]] ||
    fail "messages were acknowledged that the ledger has not" "compare $here/cuts/acknowledged with $here/cuts/on-ledger"
}
