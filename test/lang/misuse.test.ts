import { mapDef } from "../../src/asm/index.ts";
import { array, be32, bytes, s32, struct, u8, u16, u32, u64 } from "../../src/btf/layout/index.ts";
import {
  type Cond,
  cgroupSkb,
  type HostVal,
  tc,
  type Val,
  type View,
  XDP_DROP,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../src/lang/index.ts";
import { ethhdr, iphdr } from "../../src/lang/net/index.ts";
import { refusals } from "./refusal.ts";

// What compiles and cannot be built, or is written without types: each has an error that names the line (marked `// here`),
// says what is wrong in words, and what to do.

const refused = refusals(import.meta.url);

const pass = ($: XdpScope) => ({ else: () => $.return(XDP_PASS) });
/** For what the compiler refuses already: as JavaScript would write it. */
const untyped = <T>(thing: T): never => thing as never;

const flow = struct("flow", { addr: be32, proto: u8 });
const flows = mapDef({
  name: "flows",
  type: "hash",
  key: flow,
  value: struct("count", { packets: u64, last: u8 }),
  maxEntries: 4,
});
const table = mapDef({ name: "table", type: "array", key: u32, value: array(u32, 6), maxEntries: 4 });
const events = mapDef({ name: "events", type: "ringbuf", maxEntries: 4096 });
const event = struct("event", { length: u32, flags: u8 });

// --- numbers ---------------------------------------------------------------------------------------------------------

refused(
  "256 does not fit into a u8, which holds 0 to 255",
  "Arithmetic wraps around; constants must fit.",
  () => {
    xdp("constant", ($) => {
      $.let(u8, 256); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "1.5 is not an integer, and stands where a u32 is wanted",
  "Programs compute with integers only.",
  () => {
    xdp("fraction", ($) => {
      $.let(u32, 1.5); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "1152921504606847000 is not exact as a number, and stands where a u64 is wanted",
  "Write it as a bigint: 1152921504606846976n.",
  () => {
    xdp("inexact", ($) => {
      $.let(u64, 2 ** 60); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "a u32 is shifted by 0 to 31 bits, not 32",
  "A count that only the program knows is cut to that by the machine.",
  () => {
    xdp("shift", ($) => {
      $.let(u32, $.ctx.rx_queue_index.shl(32)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "an s32 cannot be divided on kernels before 6.6, and this program is for 5.10",
  'Divide unsigned values (.to(u32)), or build the program with { kernel: "6.6" }.',
  () => {
    xdp("division", ($) => {
      $.let(s32, -7).div(2); // here
      return $.return(XDP_PASS);
    });
  },
);

refused("a u32 that was computed cannot be set", "Variables ($.let) and fields in memory can.", () => {
  xdp("computed", ($) => {
    const sum: { set(to: number): void } = untyped($.ctx.rx_queue_index.add(1));
    sum.set(2); // here
    return $.return(XDP_PASS);
  });
});

// --- TypeScript's own operators --------------------------------------------------------------------------------------

refused(
  "a u32 of the running program is used as a number or a text of TypeScript",
  "Its value exists only while the program runs: use its methods, .add(1), .lt(5), and $.if and $.printk.",
  () => {
    xdp("plus", ($) => {
      const queue: number = untyped($.ctx.rx_queue_index);
      $.let(u32, queue + 1); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "a condition of the running program is used as a number or a text of TypeScript",
  "Whether it holds is known only while the program runs: use $.if.",
  () => {
    xdp("text", ($) => {
      $.printk`first queue: ${`${$.ctx.rx_queue_index.eq(0)}`}`; // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "false stands where a condition is wanted",
  "Compare something: x.eq(1), x.ne(0). What TypeScript itself decides is decided when the program is built.",
  () => {
    xdp("equals", ($) => {
      const queue: unknown = $.ctx.rx_queue_index;
      $.if(untyped(queue === 1), () => $.return(XDP_DROP)); // here
      return $.return(XDP_PASS);
    });
  },
);

// --- where values mean something -------------------------------------------------------------------------------------

refused(
  "a u32 that was computed inside of a branch or a loop is used outside of it",
  "Outside it may not have been computed: declare a variable there with $.let, and set it inside.",
  () => {
    xdp("outside", ($) => {
      let next = $.value(u32, 0);
      $.if($.ctx.rx_queue_index.gt(1), () => {
        next = $.ctx.rx_queue_index.add(1);
      });
      return $.return(next); // here
    });
  },
);

refused(
  "a condition that was computed inside of a branch or a loop is used outside of it",
  "Outside it may not have been computed: put what it compares into $.let variables, and compare there.",
  () => {
    xdp("condition", ($) => {
      let odd: Cond = untyped(undefined);
      $.for(4, (index) => {
        odd = index.and(1).eq(1);
      });
      $.if(odd, () => $.return(XDP_DROP)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "a u32 variable is read where it may not have been set",
  "Some path that leads here does not pass its declaration: declare it before the branch, with $.let.",
  () => {
    xdp("one_path", ($) => {
      let queue: HostVal<"u32"> = untyped(undefined);
      $.if($.ctx.rx_queue_index.gt(1), () => {
        queue = $.let(u32, 1);
      });
      return $.return(queue); // here
    });
  },
);

refused(
  "the value of map 'flows' is used outside of the branch that it exists in",
  "Use it inside, and carry what you need outside in a $.let variable.",
  () => {
    xdp("found", ($) => {
      let found: View<typeof flows.value, "map_value"> = untyped(undefined);
      $.lookup(flows, { addr: 0x0a000001, proto: 6 }, (entry) => {
        found = entry;
      });
      found.last.set(1); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "a value of one program or function is used in another",
  "Hand it over as an argument of the function. What programs share is in maps.",
  () => {
    let queue: Val = untyped(undefined);
    xdp("first", ($) => {
      queue = $.ctx.rx_queue_index;
      return $.return(XDP_PASS);
    });
    xdp("second", ($) => {
      $.let(u64, untyped(queue)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "this belongs to the program 'first', whose body has run to its end",
  "Use the $ and the values of the program that you are in. What programs share is in maps.",
  () => {
    let other: XdpScope = untyped(undefined);
    xdp("first", ($) => {
      other = $;
      return $.return(XDP_PASS);
    });
    xdp("second", () => other.return(XDP_PASS)); // here
  },
);

// --- the packet ------------------------------------------------------------------------------------------------------

refused(
  "the struct ethhdr of the packet cannot be used any more: bpf_xdp_adjust_head may have moved the packet",
  "Take what you need from $.packet again: it starts at the packet's first byte.",
  () => {
    xdp("moved", ($) => {
      const eth = $.packet.take(ethhdr, pass($));
      $.if($.ctx.rx_queue_index.eq(1), () => {
        $.bpf_xdp_adjust_head(-4);
      });
      eth.h_proto.set(0x0800); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the struct ethhdr of the packet was taken before a loop whose body moves the packet, and is used in the loop",
  "It is good in the first turn only: take it from $.packet inside of the loop.",
  () => {
    xdp("loop", ($) => {
      const eth = $.packet.take(ethhdr, pass($));
      // biome-ignore format: the line that the error is about
      $.for(4, () => { // here
        $.if(eth.h_proto.eq(0x0800), () => $.break());
        $.bpf_xdp_adjust_head(4);
      });
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "how many bytes are skipped is known only when the program runs, and { max, else } is missing",
  "The verifier wants to know how far it may go: a max of at most 65535.",
  () => {
    xdp("skip", ($) => {
      $.packet.skip(untyped($.ctx.rx_queue_index)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "an index into the packet cannot wrap: the bounds check that follows can fail",
  "Use .at with { else }.",
  () => {
    xdp("packet_index", ($) => {
      $.packet.take(array(u32, 4), pass($)).wrap($.ctx.rx_queue_index); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the struct iphdr of the packet cannot be written",
  "The kernel lets programs of this type read it, not write it.",
  () => {
    cgroupSkb("read_only", ($) => {
      const ip = $.packet.take(iphdr, { else: () => $.return(1) });
      ip.ttl.set(1); // here
      return $.return(1);
    });
  },
);

// --- the ends of paths -----------------------------------------------------------------------------------------------

refused("program 'endless' may run off its end", "End each path of it with return $.return(…).", () => {
  // biome-ignore format: the line that the error is about
  xdp("endless", untyped(($: XdpScope) => { // here
    $.if($.ctx.rx_queue_index.eq(1), () => $.return(XDP_PASS));
  }));
});

refused(
  "nothing reaches this statement: every path before it has ended",
  "Remove it, or move it before the $.return, $.break or $.continue that ends the path.",
  () => {
    xdp("behind", ($) => {
      $.if($.ctx.rx_queue_index.eq(1), () => $.return(XDP_DROP)).else(() => $.return(XDP_PASS));
      return $.return(XDP_PASS); // here
    });
  },
);

refused(
  "the `else` of something that can fail is missing",
  "Say what happens then, last: { else: () => $.return(…) }.",
  () => {
    xdp("no_else", ($) => {
      $.packet.take(ethhdr, untyped(undefined)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the `else` of something that can fail goes on",
  "End the path in it: else: () => $.return(…), $.break() or $.continue().",
  () => {
    xdp("goes_on", ($) => {
      $.packet.take(ethhdr, untyped({ else: () => {} })); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "this does not follow its $.if: there are statements in between",
  "Write $.if(…).elif(…).else(…) in one piece.",
  () => {
    xdp("in_between", ($) => {
      const first = $.if($.ctx.rx_queue_index.eq(1), () => {});
      $.let(u32, 1);
      first.else(() => {}); // here
      return $.return(XDP_PASS);
    });
  },
);

// --- loops -----------------------------------------------------------------------------------------------------------

refused(
  "$.break stands outside of any loop",
  "It belongs into the body of $.for or $.while. What ends the program is $.return.",
  () => {
    xdp("no_loop", ($) => {
      $.if($.ctx.rx_queue_index.eq(1), () => $.break()); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "a loop whose count is known only when the program runs needs { max: … }",
  "The kernel must be able to prove that it ends: say how often it may run at the most.",
  () => {
    xdp("no_max", ($) => {
      $.for($.ctx.rx_queue_index, () => {}); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "a $.while needs { max: … }",
  "The kernel must be able to prove that it ends: say how often it may run at the most.",
  () => {
    xdp("while", ($) => {
      const again = () => $.ctx.rx_queue_index.eq(1);
      $.while(again, untyped({}), () => {}); // here
      return $.return(XDP_PASS);
    });
  },
);

// --- records ---------------------------------------------------------------------------------------------------------

refused(
  "the record of 'events' is neither submitted nor discarded before this path ends",
  "The kernel refuses a program that may keep it: call $.submit or $.discard on each path.",
  () => {
    xdp("leak", ($) => {
      const record = $.reserve(events, event, pass($)); // here
      record.length.set(1);
      $.packet.take(ethhdr, pass($)); // its else leaves with the record
      $.submit(record);
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the record of 'events' is submitted or discarded on one path and not on another",
  "Call $.submit or $.discard on each path.",
  () => {
    xdp("half", ($) => {
      const record = $.reserve(events, event, pass($)); // here
      $.if($.ctx.rx_queue_index.eq(1), () => $.submit(record));
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the record of 'events' is neither submitted nor discarded at the end of its loop's body",
  "The kernel refuses a program that may keep it: call $.submit or $.discard on each path.",
  () => {
    xdp("each_turn", ($) => {
      $.for(4, () => {
        $.reserve(events, event, pass($)); // here
      });
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the record of 'events' was submitted or discarded before",
  "Records come from $.reserve, and are submitted or discarded once.",
  () => {
    xdp("twice", ($) => {
      const record = $.reserve(events, event, pass($));
      $.submit(record);
      $.submit(record); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the record of 'events' cannot be used any more: it was submitted or discarded",
  "Write it first, then submit it.",
  () => {
    xdp("late", ($) => {
      const record = $.reserve(events, event, pass($));
      $.submit(record);
      record.length.set(1); // here
      return $.return(XDP_PASS);
    });
  },
);

// --- memory ----------------------------------------------------------------------------------------------------------

refused(
  "the context cannot be written there",
  "The kernel lets programs of this type read their context, not write it.",
  () => {
    xdp("xdp_ctx", ($) => {
      $.ctx.rx_queue_index.set(1); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the context cannot be written there",
  "The kernel lets programs of this type write mark, tc_index, priority, cb, tc_classid, tstamp, queue_mapping, and read the rest.",
  () => {
    tc("tc_ctx", ($) => {
      $.ctx.len.set(1); // here
      return $.return($.ctx.mark);
    });
  },
);

refused("struct event has no member 'lenght'", "Did you mean 'length'?", () => {
  xdp("typo", ($) => {
    $.assign($.struct(event), untyped({ lenght: 1 })); // here
    return $.return(XDP_PASS);
  });
});

refused("struct event has no member 'protocol'", "It has length, flags.", () => {
  xdp("unknown", ($) => {
    $.assign($.struct(event), untyped({ protocol: 1 })); // here
    return $.return(XDP_PASS);
  });
});

refused(
  "'wide' needs 568 bytes of stack, and a program has 512",
  "The largest object is '__u8[500]' with 500 bytes: keep it in a per-CPU array map.",
  () => {
    xdp("wide", ($) => {
      const small = $.struct(bytes(64));
      const large = $.struct(bytes(500)); // here
      $.bpf_probe_read_kernel(small, 8, 1);
      $.bpf_probe_read_kernel(large, 8, 1);
      return $.return(XDP_PASS);
    });
  },
);

refused("there is no element 6", "There are 6: 0 to 5.", () => {
  xdp("element", ($) => {
    $.lookup(table, 0, (row) => row.at(6).set(1)); // here
    return $.return(XDP_PASS);
  });
});

refused(
  "an index that the program computed needs { else: … }",
  "Say what happens where it is outside: { else: () => $.return(…) }. Or take .wrap(index).",
  () => {
    xdp("index", ($) => {
      $.lookup(table, 0, (row) => row.at(untyped($.ctx.rx_queue_index)).set(1)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused("an array of 6 cannot wrap: the length is no power of two", "Use .at with { else }.", () => {
  xdp("wrap", ($) => {
    $.lookup(table, 0, (row) => row.wrap($.ctx.rx_queue_index).set(1)); // here
    return $.return(XDP_PASS);
  });
});

refused("14 bytes are copied to where 8 are", "Both must have the same size.", () => {
  xdp("copy", ($) => {
    $.copy($.struct(event), $.packet.take(ethhdr, pass($))); // here
    return $.return(XDP_PASS);
  });
});

refused("a u32 has no address", "Put the value into memory first: $.struct(layout, value).", () => {
  xdp("address", ($) => {
    $.bpf_probe_read_kernel(untyped($.ctx.rx_queue_index.add(1)), 4, 1); // here
    return $.return(XDP_PASS);
  });
});

refused("bpf_probe_read_kernel takes 16 bytes as 'dst', and 8 are given", "Give memory of that size.", () => {
  xdp("short", ($) => {
    $.bpf_probe_read_kernel($.struct(event), 16, 1); // here
    return $.return(XDP_PASS);
  });
});

// --- maps ------------------------------------------------------------------------------------------------------------

refused("5 stands where struct flow is wanted", "Give its members: { addr: …, proto: … }.", () => {
  xdp("key", ($) => {
    $.lookup(flows, untyped(5), pass($)); // here
    return $.return(XDP_PASS);
  });
});

refused("a u16 stands where struct flow is wanted", "Give its members: { addr: …, proto: … }.", () => {
  xdp("key_kind", ($) => {
    $.lookup(flows, untyped($.let(u16, 5)), pass($)); // here
    return $.return(XDP_PASS);
  });
});

refused("the key of map 'flows' has 8 bytes, and 2 are given", "It is struct flow.", () => {
  xdp("key_size", ($) => {
    $.lookup(flows, untyped($.struct(bytes(2))), pass($)); // here
    return $.return(XDP_PASS);
  });
});

refused(
  "bpf_redirect_map takes no map of type array, such as 'table'",
  "It takes maps of type devmap, devmap_hash, cpumap, xskmap.",
  () => {
    xdp("redirect", ($) => {
      return $.return($.bpf_redirect_map(untyped(table), 0, 0)); // here
    });
  },
);

refused(
  "map 'table' is no array with one entry",
  "Global data is the value of an array map with maxEntries: 1; for others use $.lookup.",
  () => {
    xdp("global", ($) => {
      $.global(table).at(0).set(1); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "$.atomic takes fields of maps' values, and this is a u32 in the struct iphdr of the packet",
  "The kernel has atomic operations on those only. Elsewhere read it, compute, and set it.",
  () => {
    xdp("atomic", ($) => {
      const ip = $.packet.take(struct("iphdr", { saddr: u32 }), pass($));
      $.atomic.add(untyped(ip.saddr), 1); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "$.atomic takes fields of 32 and 64 bits, and this is a u8",
  "The kernel has atomic operations on those only: declare the field wider.",
  () => {
    xdp("narrow", ($) => {
      $.lookup(flows, { addr: 1, proto: 6 }, (entry) => $.atomic.add(untyped(entry.last), 1)); // here
      return $.return(XDP_PASS);
    });
  },
);

// --- printing --------------------------------------------------------------------------------------------------------

refused(
  "$.printk prints 4 values",
  "The kernel takes at most 3 in a line: print two lines, or hand events over in a ring buffer.",
  () => {
    xdp("four", ($) => {
      const queue = $.ctx.rx_queue_index;
      $.printk`${queue} ${queue} ${queue} ${queue}`; // here
      return $.return(XDP_PASS);
    });
  },
);

refused("$.printk cannot print 'ü'", "The kernel takes ASCII only, without control characters.", () => {
  xdp("umlaut", ($) => {
    $.printk`Grüße`; // here
    return $.return(XDP_PASS);
  });
});

refused(
  "a view of struct ethhdr cannot be printed",
  "Numbers and texts can: print the fields that matter.",
  () => {
    xdp("struct", ($) => {
      $.printk`${untyped($.packet.take(ethhdr, pass($)))}`; // here
      return $.return(XDP_PASS);
    });
  },
);

// --- the program -----------------------------------------------------------------------------------------------------

refused("'4.19' is no kernel that programs of the language run on", 'Say "5.10" or newer.', () => {
  xdp("old", ($) => $.return(XDP_PASS), { kernel: "4.19" }); // here
});
