# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# The power fails in the first boot: the next one finishes it.

# A box of its own, in a folder of its own.
scenario() {
  local here=$here/first-boot-cuts
  local set_up=$here/set-up first_cuts=$(((cuts + 3) / 4)) cut at
  RANDOM=$cut_seed
  printf '%d cuts; again by --seed %s\n' "$first_cuts" "$cut_seed"
  make_set_up
  make_stick
  make_disk_of "${disk_images[0]}"
  for ((cut = 1; cut <= first_cuts; ++cut)); do
    start_machine "first-cut-$cut"
    at=$((RANDOM % 60)).$((RANDOM % 10))
    sleep "$at"
    cut_power
    printf 'cut %d: %s s after the start; the last word was: %s\n' "$cut" "$at" "$(tail -n 1 "$console" | tr -d '\r' | cut -c 1-80)"
  done
  start_machine after-first-cuts
  wait_for "hallmark: signing" "$boot_seconds"
  take_certificate
  make_keys_of_box
  signs_as_before after-first-cuts
  stop_machine
  start_machine again-after-first-cuts
  signs_as_before again-after-first-cuts
  kill_machine
}
