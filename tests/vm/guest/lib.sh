# What the guest's scripts share.   . /bin/lib.sh
CAMERA=/dev/video0
WIRE=/dev/ttyS1

fail() { echo "FAIL: $*"; exit 1; }

# section NAME : a line on the wire that tells the reader on the host what follows. Only while lookout is not running.
section() { echo "== $1 (up $(cut -d' ' -f1 /proc/uptime) s)"; stty -F $WIRE raw -echo 2> /dev/null; printf '#%s\r\n' "$1" > $WIRE; }

# watch_camera SPEC : lookout from a camera to the wire, in the background; what it says is in /tmp/said as well
watch_camera() {
  rm -f /tmp/said; touch /tmp/said
  lookout run --source "v4l2:$1" --report "serial:$WIRE,115200" --report file:/tmp/said 2> /tmp/log & pid=$!
}

# until_said COUNT PATTERN : waits until COUNT more lines with PATTERN were said, at most 60 s
until_said() {
  goal=$(($(grep -c "$2" /tmp/said) + $1)); tries=300
  while [ "$(grep -c "$2" /tmp/said)" -lt $goal ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] && kill -0 $pid 2> /dev/null || { cat /tmp/log; tail -20 /tmp/said; fail "not said $1 times: $2"; }
    sleep 0.2
  done
}

# stopped : asks it to stop, which it must do with exit code 0
stopped() {
  kill -TERM $pid; wait $pid; code=$?
  sed 's/^/   /' /tmp/log
  [ $code = 0 ] || fail "exit code $code after SIGTERM, expected 0"
}

# ends CODE WORDS ARGS... : lookout must end by itself with CODE and one line on stderr with WORDS in it
ends() {
  want=$1 words=$2; shift 2
  timeout 20 lookout "$@" > /tmp/out 2> /tmp/log; code=$?
  [ $code = "$want" ] || { cat /tmp/log; fail "lookout $*: exit code $code, expected $want"; }
  grep -q "$words" /tmp/log || { cat /tmp/log; fail "lookout $*: expected a sentence with '$words'"; }
  echo "   $(tail -1 /tmp/log)"
}

# vivid: unplug makes the node vanish (readers get ENODEV), plug brings it back
unplug() { echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind; }
plug() { echo vivid.0 > /sys/bus/platform/drivers/vivid/bind; }
control() { v4l2-ctl -d $CAMERA -c "$1"; }
