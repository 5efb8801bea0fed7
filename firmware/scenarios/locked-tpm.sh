# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# The TPM has locked itself, as after power cuts: the box unlocks it, and signs.

scenario() {
  box_as_kept
  lock_tpm
  start_machine locked-tpm
  signs_as_before locked-tpm
  stop_machine
}

# One wrong password for an object of ours, where one is too many, and no time takes it back.
lock_tpm() {
  local TPM2TOOLS_TCTI=swtpm:path=$here/lock.socket
  export TPM2TOOLS_TCTI
  swtpm socket --tpm2 --tpmstate dir="$here/tpm" --server type=unixio,path="$here/lock.socket" \
    --ctrl type=unixio,path="$here/lock.socket.ctrl" --flags startup-clear,not-need-init >"$here/swtpm.log" 2>&1 </dev/null &
  tpm_pid=$!
  until [[ -S $here/lock.socket ]]; do
    kill -0 $tpm_pid 2>/dev/null || fail "swtpm did not start" "see $here/swtpm.log"
    sleep 0.1
  done
  tpm2_dictionarylockout --setup-parameters --max-tries=1 --recovery-time=4294967295 --lockout-recovery-time=4294967295
  tpm2_createprimary -Q -C o -p right -c "$here/lock.context"
  ! tpm2_create -Q -C "$here/lock.context" -P wrong >"$here/lock.log" 2>&1 || fail "the TPM takes any password" "see $here/lock.log"
  tpm2_getcap properties-variable | grep -q 'inLockout: *1' || fail "the TPM did not lock itself" "see $here/lock.log"
  kill_machine
  rm -f "$here"/lock.{socket,socket.ctrl,context}
}
