# shellcheck shell=bash disable=SC2154 # $here, $images, $root and the ports are firmware/test's
# A machine under QEMU with UEFI, Secure Boot and a TPM in software; one at a time. Part of firmware/test.
#
# What runs in the background has its own files as output: else whoever waits for the end of ours would wait for the machine's.

machine_pid="" tpm_pid="" started=0 console=""
machine_options=() # QEMU's, of a scenario: before those of the box's own disk

# make_disk_of IMAGE: a disk that is larger, as real ones are; the image is not changed. Fresh firmware variables, a fresh TPM.
make_disk_of() {
  rm -rf "$here"/{disk.qcow2,variables.fd,tpm,other-tpm}
  qemu-img create -q -f qcow2 -b "$1" -F raw "$here/disk.qcow2" 3G
  cp /usr/share/OVMF/OVMF_VARS_4M.fd "$here/variables.fd"
}

# The box as it is now, switched off: each scenario begins from it.
keep_box() {
  rm -rf "$here/kept"
  mkdir "$here/kept"
  mv "$here"/{disk.qcow2,variables.fd,tpm,stick.img} "$here/kept/"
  cp "$here/keys" "$here/kept/"
  cat "$images/roothash" >"$here/kept/image"
  echo "$boot" >>"$here/kept/image"
}

# Whether there is one, of this image, and started in this way.
kept_box() {
  [[ $(cat "$here/kept/image" 2>/dev/null) == "$(cat "$images/roothash")"$'\n'"$boot" ]]
}

# What a scenario does to the box stays in files of its own.
box_as_kept() {
  kept_box || fail "there is no box in $here" "begin with the scenario first-boot"
  rm -rf "$here"/{disk.qcow2,variables.fd,tpm,other-tpm}
  qemu-img create -q -f qcow2 -b "$here/kept/disk.qcow2" -F qcow2 "$here/disk.qcow2"
  cp -r "$here"/kept/{variables.fd,tpm,stick.img,keys} "$here/"
  take_ports # Another box may have been tried in between.
}

# firmware_options secure|insecure|direct: how the machine comes to its kernel. insecure: the firmware has no Secure Boot keys. direct:
# QEMU loads it, and nothing is measured, which the image wants to be told.
firmware_options() {
  local variables=variables.fd
  if [[ $1 == direct ]]; then
    options=(-machine q35,accel=tcg -kernel "$images/vmlinuz" -initrd "$images/initrd" -append "$(cat "$images/cmdline") hallmark.unmeasured")
    return
  fi
  if [[ $1 == insecure ]]; then
    variables=no-keys.fd
    cp /usr/share/OVMF/OVMF_VARS_4M.fd "$here/$variables"
  fi
  options=(-machine q35,smm=on,accel=tcg -global driver=cfi.pflash01,property=secure,value=on
    -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd
    -drive if=pflash,format=raw,unit=1,file="$here/$variables")
}

# start_machine NAME [TPM [secure|insecure|direct]]: NAME.console has its serial console; TPM names a TPM's folder. With the stick in, where
# there is one.
start_machine() {
  local name=$1 tpm=$here/${2:-tpm} options stick=()
  firmware_options "${3:-$boot}"
  mkdir -p "$tpm"
  rm -f "$here"/{tpm.socket,monitor,serial}
  console=$here/$name.console
  [[ ! -e $here/stick.img ]] ||
    stick=(-drive "if=none,id=stick,format=raw,file=$here/stick.img" -device "usb-storage,drive=stick,removable=on")
  swtpm socket --tpm2 --tpmstate dir="$tpm" --ctrl type=unixio,path="$here/tpm.socket" --terminate >"$here/swtpm.log" 2>&1 </dev/null &
  tpm_pid=$!
  until [[ -S $here/tpm.socket ]]; do
    kill -0 $tpm_pid 2>/dev/null || fail "swtpm did not start" "see $here/swtpm.log"
    sleep 0.1
  done
  mkfifo "$here/monitor"
  exec {monitor}<>"$here/monitor"
  : >"$console"
  nice -n 19 qemu-system-x86_64 "${options[@]}" -cpu max -smp 2 -m 1024 -nodefaults -display none -no-user-config \
    "${machine_options[@]}" -drive if=none,id=disk,format=qcow2,file="$here/disk.qcow2" -device virtio-blk-pci,drive=disk,bootindex=1 \
    -device qemu-xhci "${stick[@]}" \
    -chardev socket,id=tpm,path="$here/tpm.socket" -tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm \
    -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$signing_port-:8461,hostfwd=tcp:127.0.0.1:$admin_port-:8462,hostfwd=tcp:127.0.0.1:$push_port-:8463" \
    -device virtio-net-pci,netdev=net -device virtio-rng-pci -device i6300esb -action watchdog=reset \
    -chardev "socket,id=serial,path=$here/serial,server=on,wait=off,logfile=$console" -serial chardev:serial -monitor stdio >"$here/$name.qemu" 2>&1 <"$here/monitor" &
  machine_pid=$!
  started=$SECONDS
}

machine_runs() {
  [[ -n $machine_pid ]] && kill -0 "$machine_pid" 2>/dev/null
}

# wait_for PATTERN SECONDS: until the console has it.
wait_for() {
  local deadline=$((SECONDS + $2))
  until grep -aq "$1" "$console"; do
    machine_runs || fail "the machine ended before it said \"$1\"" "see $console and ${console%.console}.qemu"
    ((SECONDS < deadline)) || fail "the machine did not say \"$1\" in $2 s" "see $console"
    sleep 0.5
  done
}

# put_in NAME FILE: FILE as one more stick; take_out NAME.
put_in() {
  printf 'drive_add 0 if=none,id=drive-%s,format=raw,file=%s\ndevice_add usb-storage,id=stick-%s,drive=drive-%s,removable=on\n' \
    "$1" "$2" "$1" "$1" >&"$monitor"
}

take_out() {
  printf 'device_del stick-%s\n' "$1" >&"$monitor"
}

# type_at_console LINE: and Enter.
type_at_console() {
  python3 -c 'import socket, sys, time
console = socket.socket(socket.AF_UNIX)
console.connect(sys.argv[1])
console.sendall(sys.argv[2].encode() + b"\r")
time.sleep(1)' "$here/serial" "$1"
}

# The power button, and then nothing is left to do for us. signerd drains for 2 s and has calls under way end for 10 s; the rest of the minute
# is for slow machines.
stop_machine() {
  local at=$SECONDS most=$((boot_seconds / 10))
  printf 'system_powerdown\n' >&"$monitor"
  while machine_runs; do
    ((SECONDS - at < most)) || fail "the machine has not switched itself off $most s after the power button" "see $console"
    sleep 0.5
  done
  printf 'off %d s after the power button\n' $((SECONDS - at))
  kill_machine
}

kill_machine() {
  local pid
  for pid in $machine_pid $tpm_pid; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  [[ -z $machine_pid ]] || exec {monitor}>&-
  machine_pid="" tpm_pid=""
}

# The power fails, for the TPM too.
cut_power() {
  kill -KILL "$machine_pid"
  wait "$machine_pid" 2>/dev/null || true
  kill_machine
}

# Where the EFI partition is. mtools works on a copy of it.
readonly esp_offset=1048576 esp_size=134217728

# write_disk FILE OFFSET: FILE's octets onto the machine's disk.
write_disk() {
  qemu-io -f qcow2 -c "write -q -s $1 $2 $(stat -c %s "$1")" "$here/disk.qcow2" >/dev/null
}

# read_disk OFFSET SIZE FILE
read_disk() {
  qemu-img dd -f qcow2 -O raw bs=1M skip=$(($1 / 1048576)) count=$((($1 + $2) / 1048576)) if="$here/disk.qcow2" of="$3" 2>/dev/null
}

take_esp() {
  read_disk $esp_offset $esp_size "$here/esp"
}

put_esp() {
  write_disk "$here/esp" $esp_offset
}

# put_kernel FILE: in the place of the box's kernel image.
put_kernel() {
  local name
  name=$(basename "$images"/hallmark_*.efi)
  take_esp
  mcopy -D o -n -o -i "$here/esp" "$1" "::/EFI/Linux/$name"
  put_esp
}

# The loader would enrol the same keys again.
without_keys() {
  take_esp
  mdeltree -i "$here/esp" ::/loader/keys
  put_esp
}

# The lowest bit of a byte that squashfs itself does not check: the date in its superblock.
flip_byte() {
  local byte
  byte=$(od -An -tu1 -j 8 -N 1 "$images/root.squashfs")
  qemu-io -f qcow2 -c "write -q -P $((byte ^ 1)) $((esp_offset + esp_size + 8)) 1" "$here/disk.qcow2" >/dev/null
}
