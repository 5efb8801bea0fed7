# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# Everything hangs, process 1 too: the hardware's watchdog starts the box again, and it signs.

scenario() {
  local version
  version=$(basename "$images"/hallmark_*.raw .raw)
  version=${version#hallmark_}.9
  make_hanging_overlay
  make_trial_version "$version" --overlay "$here/hanging"
  box_as_kept
  hanging_box "$here/made-$version"
}

# One that hangs once, when it has signed: at the highest priority of all, on every processor.
make_hanging_overlay() {
  local units=$here/hanging/etc/systemd/system
  mkdir -p "$units/multi-user.target.wants" "$here/hanging/usr/libexec"
  cat >"$units/hang.service" <<'UNIT'
[Unit]
ConditionPathExists=!/var/lib/hung
After=hallmark-signerd.service

[Service]
ExecStart=/usr/libexec/hang
StandardOutput=journal+console
UNIT
  ln -sf ../hang.service "$units/multi-user.target.wants/"
  cat >"$here/hanging/usr/libexec/hang" <<'SCRIPT'
#!/bin/sh
until hallmark-health --check >/dev/null 2>&1; do sleep 1; done
touch /var/lib/hung
sync
for watchdog in /sys/class/watchdog/*; do
  echo "trial: watchdog $(cat "$watchdog/identity"), $(cat "$watchdog/state"), $(cat "$watchdog/timeout") s"
done
echo "trial: hangs"
sleep 2
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
for processor in $(seq "$(nproc)"); do
  chrt --fifo 99 sh -c 'while :; do :; done' &
done
wait
SCRIPT
  chmod 755 "$here/hanging/usr/libexec/hang"
}

# hanging_box IMAGES: set up from the stick as any other.
hanging_box() {
  local images=$1
  make_disk_of "$images"/hallmark_*.raw
  start_machine watchdog
  wait_for "trial: hangs" "$boot_seconds"
  printf 'hangs %d s after the start\n' $((SECONDS - started))
  grep -ao 'watchdog .*, active, .*' "$console"
  until (($(grep -ac "hallmark: signing" "$console") == 2)); do
    machine_runs || fail "the machine ended" "see $console"
    ((SECONDS - started < 2 * boot_seconds)) || fail "the watchdog did not start the box again" "see $console"
    sleep 0.5
  done
  ! grep -aq "Kernel panic" "$console" || fail "it was the kernel that started the box again" "see $console"
  printf 'signs again %d s after the start\n' $((SECONDS - started))
  stop_machine
}
