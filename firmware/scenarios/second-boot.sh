# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# Nobody is asked anything: same keys, and the ledger goes on.

scenario() {
  box_as_kept
  start_machine second
  signs_as_before second
  (($(signatures_on_ledger) == 2 * $(<"$here/signatures"))) || fail "the ledger does not go on where it was" "see $console"
  ledger_verifies
  printf 'the same keys, and the ledger goes on\n'
  stop_machine
}
