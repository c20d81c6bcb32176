# What the guest's scripts share.   . /bin/lib.sh
CAMERA=/dev/video0
WIRE=/dev/ttyS1; [ "$(uname -m)" = x86_64 ] || WIRE=/dev/ttyS0

fail() { echo "FAIL: $*"; exit 1; }

# section NAME : a line on the wire that tells the reader on the host what follows. Only while lookout is not running.
section() { echo "== $1 (up $(cut -d' ' -f1 /proc/uptime) s)"; stty -F $WIRE raw -echo 2> /dev/null; printf '#%s\r\n' "$1" > $WIRE; }

# watch_camera SPEC [ARG...] : lookout from a camera to the wire (with WITH behind its name), in the background; what it says is in /tmp/said and
# /tmp/json as well
watch_camera() {
  rm -f /tmp/said /tmp/json; touch /tmp/said /tmp/json
  spec=$1 watched=$(now_ms); shift
  lookout run --source "v4l2:$spec" --report "serial:$WIRE,115200${WITH:-}" --report file:/tmp/said --report json:/tmp/json ${BUNDLE:+--bundle $BUNDLE} "$@" 2> /tmp/log & pid=$!
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

# adapter: a real USB serial adapter (cdc-acm over dummy_hcd); insert and pull it, `port` is its name now, /dev/ttyGS0 its far end
adapter() {
  modprobe -a dummy_hcd libcomposite usb_f_acm cdc-acm || fail "no USB gadget"
  acm=/sys/kernel/config/usb_gadget/acm; mkdir -p $acm/strings/0x409; echo 0x1d6b > $acm/idVendor; echo 0x0104 > $acm/idProduct
  echo lab > $acm/strings/0x409/manufacturer; echo adapter > $acm/strings/0x409/product; echo 7 > $acm/strings/0x409/serialnumber
  mkdir -p $acm/configs/c.1 $acm/functions/acm.0; ln -s $acm/functions/acm.0 $acm/configs/c.1/
}
port() { ls /sys/class/tty | grep ttyACM | tail -1; }
insert() { echo dummy_udc.0 > $acm/UDC; until [ -n "$(port)" ] && [ -c /dev/$(port) ]; do usleep 20000; done; }
pull() { echo "" > $acm/UDC; }

# --- faults and figures ---

now_ms() { read up rest < /proc/uptime; echo $((${up%.*} * 1000 + (1${up#*.} - 100) * 10)); }

# mark : what `within` looks for must be said after this
mark() { marked=$(wc -l < /tmp/said); began=$(now_ms); }

# within MS ROW WHAT PATTERN : a line with PATTERN must be said within MS of the mark; prints the figure. What is looked for next comes after it.
within() {
  until found=$(tail -n +$((marked + 1)) /tmp/said | grep -n -m1 "$4"); do
    [ $(($(now_ms) - began)) -le $(($1 + 10000)) ] && kill -0 $pid 2> /dev/null || { cat /tmp/log; tail -5 /tmp/said; fail "$2 $3: not said: $4"; }
    usleep 20000
  done
  took=$(($(now_ms) - began)) marked=$((marked + ${found%%:*}))
  echo "figure: $2 $3 $took ms (at most $1)"
  [ $took -le $1 ] || { tail -5 /tmp/said; fail "$2 $3: $took ms, at most $1 expected"; }
}

fds() { ls /proc/$pid/fd | wc -l; }
# What it holds itself: pages of its code are read when a way through it is first gone, which is no growth.
rss() { sed -n 's/RssAnon:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status; }
cpu_ms() { set -- $(cat /proc/$pid/stat); echo $(((${14} + ${15}) * 10)); }

# same ROW : descriptors and memory are what they were when `before` was called
before() { fds0=$(fds) rss0=$(rss); }
same() {
  local f=$(fds) r=$(rss)
  echo "figure: $1 descriptors $fds0 -> $f (within 1), memory $rss0 -> $r KiB (within 256)"
  [ $((f - fds0)) -le 1 ] && [ $((f - fds0)) -ge -1 ] || { ls -l /proc/$pid/fd; fail "$1: descriptors $fds0 -> $f"; }
  [ $((r - rss0)) -le 256 ] || fail "$1: memory $rss0 -> $r KiB"
}

# idle_cpu ROW SECONDS : while faulted it must not be busy
idle_cpu() {
  local c=$(cpu_ms) at=$(now_ms); sleep $2
  local used=$(($(cpu_ms) - c)) span=$(($(now_ms) - at))
  echo "figure: $1 processor while faulted $((used * 1000 / span)) per mille of a core (emulated: at most 150)"
  [ $((used * 1000 / span)) -le 150 ] || fail "$1: $used ms in $span ms"
}

# pings: what systemd would hear
start_pings() {
  rm -f /tmp/notify /tmp/pings; socat -u UNIX-RECV:/tmp/notify OPEN:/tmp/pings,creat,append & manager=$!
  until [ -S /tmp/notify ]; do usleep 50000; done
  export NOTIFY_SOCKET=/tmp/notify
}
pings() { grep -o 'WATCHDOG=1' /tmp/pings | wc -l; }
# pinged ROW SECONDS : a ping at least every 2 s, half of WatchdogSec
pinged() {
  local n=0 least=99 p q
  while [ $n -lt $2 ]; do p=$(pings); sleep 2; q=$(pings); [ $((q - p)) -lt $least ] && least=$((q - p)); n=$((n + 2)); done
  echo "figure: $1 pings in the worst 2 s $least (at least 1)"
  [ $least -ge 1 ] || fail "$1: no ping for 2 s"
}

# health KEY : the value of KEY in the last health line of /tmp/json
health() { grep '"type":"health"' /tmp/json | tail -1 | sed "s/.*\"$1\":\([^,}]*\).*/\1/"; }

# said_once ROW WORDS : the log names it once (a minute), however often it was tried
said_once() {
  local n=$(grep -c "$2" /tmp/log) most=$((1 + ($(now_ms) - watched) / 60000))
  echo "figure: $1 log lines with '$2' $n (1, at most $most)"
  [ "$n" -ge 1 ] && [ "$n" -le $most ] || { cat /tmp/log; fail "$1: '$2' logged $n times, expected once a minute"; }
}
