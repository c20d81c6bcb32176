# A 64-bit ARM machine: the built-in clip through a real camera driver (as in classes.sh) to a real serial driver, while the black box keeps
# what the encoder saw; then the same ticks from its files. Both have to say the same, and the host says it of them once more (run.sh).
. /bin/lib.sh
modprobe vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=3 num_outputs=1 output_types=1 || fail "no vivid"
for i in 1 2 3 4 5 6 7 8 9 10; do [ -c /dev/video1 ] && break; sleep 0.2; done
for node in 0 1; do # 30 Hz would be below the slowest pixel clock that vivid takes
  v4l2-ctl -d $node --set-dv-bt-timings cvt,width=640,height=480,fps=40 > /tmp/v4l2 2>&1 || { cat /tmp/v4l2; fail "timings"; }
done
v4l2-ctl -d 0 -v width=320,height=240,pixelformat=GREY
v4l2-ctl -d 1 -x width=320,height=240,pixelformat=GREY
v4l2-ctl -d 0 -c loop_video=1,osd_text_mode=2

section classes
watch_camera $CAMERA,grey,320x240@40 --blackbox /tmp/kept
tries=300
until grep -q 'open, 115200' /tmp/log; do # bundle proven, camera open: the clip must not begin unseen
  tries=$((tries - 1)); [ $tries -gt 0 ] && kill -0 $pid 2> /dev/null || { cat /tmp/log; fail "not watching after 60 s"; }
  sleep 0.2
done
v4l2-ctl -d 1 --stream-out-mmap --stream-from=/clip.grey > /tmp/player 2>&1 || { cat /tmp/player; fail "the player"; }
stopped
section end

# Starts of events without number and checksum: what must come back.
began() { sed -n 's/^\$PLKTE,[0-9]*,S,\([^*]*\),[^,]*$/\1/p' "$1"; }
began /tmp/said > /tmp/kept/live; events=0
for clip in /tmp/kept/*.lkb; do
  [ -e "$clip" ] || fail "nothing was kept"
  lookout run --source "$clip" --report stdout > /tmp/again 2> /tmp/log || { cat /tmp/log; fail "$clip"; }
  began /tmp/again > "$clip.again"; label=${clip##*-}; label=${label%.lkb}
  grep "^$label," "$clip.again" | grep -Fxq -f - /tmp/kept/live || { cat /tmp/kept/live "$clip.again"; fail "$clip does not begin as it did live"; }
  events=$((events + 1))
done
echo "arm: $events clips of the black box, each begins the event it was written for as it was said live"
modprobe virtio_pci; modprobe virtio_blk; [ -b /dev/vda ] || sleep 1
[ -b /dev/vda ] && tar -C /tmp/kept -cf /dev/vda . && sync || fail "nothing on the disk"
