# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# A second disk with the same image, found before the box's own: it signs from its own.

scenario() {
  box_as_kept
  local machine_options=(-drive "if=none,id=copy,format=raw,snapshot=on,file=${disk_images[0]}" -device "virtio-blk-pci,drive=copy")
  start_machine second-disk
  signs_as_before second-disk
  stop_machine
}
