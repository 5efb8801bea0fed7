# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# Nobody is asked anything: same keys, and the ledger goes on.

scenario() {
  box_as_kept
  # What the machine would have process 1 do as root, which the image does not listen to: switch off at once (SysRq o).
  local machine_options=(-smbios "type=11,value=io.systemd.credential:tmpfiles.extra=w /proc/sysrq-trigger - - - - o")
  start_machine second
  signs_as_before second
  (($(signatures_on_ledger) == 2 * $(<"$here/signatures"))) || fail "the ledger does not go on where it was" "see $console"
  ledger_verifies
  printf 'the same keys, and the ledger goes on\n'
  stop_machine
}
