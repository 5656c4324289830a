import { mapDef } from "../../src/asm/index.ts";
import { spinLock, struct, timer, u32, u64 } from "../../src/btf/layout/index.ts";
import { XDP_DROP, XDP_PASS, type XdpScope, xdp } from "../../src/lang/index.ts";
import { BPF_F_RDONLY_PROG } from "../../src/uapi/bpf.ts";
import { refusals } from "./refusal.ts";

// Locks, timers, and going through maps: what compiles and cannot be built.

const refused = refusals(import.meta.url);

const pass = ($: XdpScope) => ({ else: () => $.return(XDP_PASS) });
const untyped = <T>(thing: T): never => thing as never;

const value = struct("value", { lock: spinLock, count: u64 });
const counts = mapDef({ name: "counts", type: "hash", key: u32, value, maxEntries: 4 });
const fixed = mapDef({
  name: "fixed",
  type: "array",
  key: u32,
  value: u64,
  maxEntries: 1,
  flags: BPF_F_RDONLY_PROG,
});
const ring = mapDef({ name: "ring", type: "ringbuf", maxEntries: 4096 });

refused(
  "the lock in the value of map 'counts' is still held before this path ends",
  "The kernel refuses a program that may keep it: call $.bpf_spin_unlock on each path.",
  () => {
    xdp("kept", ($) => {
      const { lock, count } = $.lookup(counts, 1, pass($));
      $.bpf_spin_lock(lock); // here
      $.if(count.eq(0), () => $.return(XDP_DROP));
      $.bpf_spin_unlock(lock);
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the lock in the value of map 'counts' is released on one path and not on another",
  "Call $.bpf_spin_unlock on each path.",
  () => {
    xdp("torn", ($) => {
      const { lock, count } = $.lookup(counts, 1, pass($));
      $.bpf_spin_lock(lock); // here
      $.if(count.eq(0), () => $.bpf_spin_unlock(lock));
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "bpf_ktime_get_ns is called while the lock in the value of map 'counts' is held",
  "Under a lock the kernel allows no calls: call it before $.bpf_spin_lock, or behind $.bpf_spin_unlock.",
  () => {
    xdp("call", ($) => {
      const entry = $.lookup(counts, 1, pass($));
      $.bpf_spin_lock(entry.lock);
      entry.count.set($.bpf_ktime_get_ns()); // here
      $.bpf_spin_unlock(entry.lock);
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the lock in the value of map 'counts' is released, and is not held here",
  "Take it with $.bpf_spin_lock, on each path that leads here.",
  () => {
    xdp("twice", ($) => {
      const { lock } = $.lookup(counts, 1, pass($));
      $.bpf_spin_lock(lock);
      $.bpf_spin_unlock(lock);
      $.bpf_spin_unlock(lock); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "bpf_spin_lock takes a lock in a map's value, and this is a u64",
  "Declare a member for it, lock: spinLock (of tsbpf/layout), and give that: value.lock.",
  () => {
    xdp("no_lock", ($) => {
      $.bpf_spin_lock($.lookup(counts, 1, pass($)).count); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "kernel 5.10 has no bpf_for_each_map_elem, which $.forEach is",
  'It came with 5.13: build the program with { kernel: "5.13" }.',
  () => {
    xdp("each", ($) => {
      $.forEach(counts, () => {}); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "$.forEach goes through hashes and arrays, and this is map 'ring' of type ringbuf",
  "Records of a ring buffer are read by user space.",
  () => {
    xdp(
      "ring",
      ($) => {
        $.forEach(untyped(ring), () => {}); // here
        return $.return(XDP_PASS);
      },
      { kernel: "5.13" },
    );
  },
);

refused(
  "the key of map 'counts' cannot be written",
  "An entry keeps its key: delete it, and write another.",
  () => {
    xdp(
      "key",
      ($) => {
        $.forEach(counts, (key) => key.set(1)); // here
        return $.return(XDP_PASS);
      },
      { kernel: "5.13" },
    );
  },
);

refused(
  "the value of map 'fixed' cannot be written",
  "It was defined with BPF_F_RDONLY_PROG (as .rodata is): only user space writes it.",
  () => {
    xdp("constant", ($) => {
      $.atomic.add($.global(fixed), 1); // here
      return $.return(XDP_PASS);
    });
  },
);

const session = struct("session", { timer, uses: u64 });
const sessions = mapDef({ name: "sessions", type: "hash", key: u32, value: session, maxEntries: 4 });

refused(
  "kernel 5.10 has no timers",
  'They came with 5.15: build the program with { kernel: "5.15" }.',
  () => {
    xdp("old", ($) => {
      $.onTimer($.lookup(sessions, 1, pass($)).timer, sessions, () => {}); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "$.onTimer takes a timer in a map's value, and this is a u64",
  "Declare a member for it, timer: timer (of tsbpf/layout), and give that: value.timer.",
  () => {
    xdp("no_timer", ($) => {
      $.onTimer(untyped($.lookup(sessions, 1, pass($)).uses), sessions, () => {}); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the body of function 'outside_timer0' uses what belongs to its caller",
  "A function sees its arguments only: hand the value over as one, and use the $ of the function.",
  () => {
    xdp(
      "outside",
      ($) => {
        $.onTimer($.lookup(sessions, 1, pass($)).timer, sessions, () => {
          $.printk`over`; // here
        });
        return $.return(XDP_PASS);
      },
      { kernel: "5.15" },
    );
  },
);

refused(
  "the function of a timer has no context, and calls a helper that takes it",
  "It runs after the program: hand over what it needs in the value that the timer is in.",
  () => {
    xdp(
      "context",
      ($) => {
        $.onTimer($.lookup(sessions, 1, pass($)).timer, sessions, ($) => {
          $.bpf_xdp_adjust_head(0); // here
        });
        return $.return(XDP_PASS);
      },
      { kernel: "5.15" },
    );
  },
);
