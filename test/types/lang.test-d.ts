import { describe, expectTypeOf, test } from "vitest";
import { mapDef } from "../../src/asm/map-def.ts";
import { array, be16, be32, pointer, s32, struct, u8, u16, u32, u64 } from "../../src/btf/layout/index.ts";
import {
  acquired,
  type CgroupSkbScope,
  type Cond,
  func,
  type HostVal,
  kfuncDef,
  type Nullable,
  programContext,
  programMemory,
  type Ref,
  released,
  type SkLookupScope,
  socketFilter,
  TC_ACT_OK,
  type TcScope,
  tc,
  type Val,
  type View,
  type WireVal,
  XDP_DROP,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../src/lang/index.ts";
import {
  checksum,
  ethhdr,
  type iphdr,
  parseIpv4,
  rewrite,
  type udphdr,
  updatedChecksum,
} from "../../src/lang/net/index.ts";

// What does not compile. test/lang/misuse-messages.test.ts checks that the compiler says the sentence behind each mark.

declare const $: XdpScope;
declare const $tc: TcScope;
declare const $cgroup: CgroupSkbScope;
declare const $lookup: SkLookupScope;

const cpus = mapDef({ name: "cpus", type: "cpumap", key: u32, value: u32, maxEntries: 4 });
const slots = mapDef({ name: "slots", type: "array", key: u32, value: u64, maxEntries: 4 });
const flow = struct("flow", { addr: be32, proto: u8 });
const count = struct("count", { packets: u64, bytes: u64, last: u8 });
const flows = mapDef({ name: "flows", type: "hash", key: flow, value: count, maxEntries: 4 });
const event = struct("event", { len: u32, port: be16, flags: u8 });

declare const eth: View<typeof ethhdr, "packet">;
declare const ip: View<typeof iphdr, "packet">;
declare const udp: View<typeof udphdr, "packet">;
declare const entry: View<typeof count, "map_value">;
declare const queue: HostVal<"u32">;
declare const pass: { else: () => ReturnType<XdpScope["return"]> };
declare const passTc: { else: () => ReturnType<TcScope["return"]> };

describe("what compiles has the types that it should", () => {
  test("values, conditions, views", () => {
    expectTypeOf($.let(u8, 1).add(2).eq(3)).toEqualTypeOf<Cond>();
    expectTypeOf(ip.saddr.raw()).toEqualTypeOf<HostVal<"u32">>();
    expectTypeOf(eth.h_proto.toHost()).toEqualTypeOf<HostVal<"u16">>();
    expectTypeOf(queue.to(be16)).toEqualTypeOf<WireVal<"be16">>();
    expectTypeOf($.atomic.fetchAdd(entry.packets, queue)).toEqualTypeOf<Val<"u64">>();
    expectTypeOf($.lookup(slots, 1, pass).add(1)).toEqualTypeOf<HostVal<"u64">>();
  });
});

describe("kinds of numbers", () => {
  test("host and wire, wide and narrow, signed and unsigned do not mix", () => {
    // @ts-expect-error a u32 is in the byte order of this machine: convert it with .to(be16) before it meets a be16
    eth.h_proto.eq(queue);
    // @ts-expect-error a be16 is in the byte order of the wire: convert it with .toHost() before it meets a u32
    queue.eq(eth.h_proto);
    // @ts-expect-error a be16 is not a be32: they have different widths or byte orders
    ip.saddr.xor(eth.h_proto);
    // @ts-expect-error a u32 may not fit into a u8: convert one of them with .to(...) first
    $.let(u8, 1).add(queue);
    // @ts-expect-error a u32 may not fit into an s32: convert one of them with .to(...) first
    $.let(s32, 1).lt(queue);
    // @ts-expect-error a u32 may not fit into a u8: convert one of them with .to(...) first
    ip.ttl.set(queue);
    // @ts-expect-error this takes a value of kind be32, or a constant
    ip.saddr.eq("10.0.0.1");
    // @ts-expect-error this takes a value of kind u32, or a constant
    $.let(u32, true);
  });

  test("wire values have no arithmetic and no order", () => {
    // @ts-expect-error Property 'add' does not exist on type 'Ref<"be16", "packet">'.
    ip.tot_len.add(1);
    // @ts-expect-error Property 'lt' does not exist on type 'Ref<"be16", "packet">'.
    ip.tot_len.lt(1500);
  });

  test("what is computed is no variable", () => {
    // @ts-expect-error Property 'set' does not exist on type 'HostVal<"u32">'.
    queue.add(1).set(2);
    // @ts-expect-error Cannot assign to 'ttl' because it is a read-only property.
    ip.ttl = 1;
  });
});

describe("TypeScript's own operators", () => {
  test("arithmetic and comparisons", () => {
    // @ts-expect-error Operator '+' cannot be applied to types 'HostVal<"u32">' and '1'.
    queue + 1;
    // @ts-expect-error Operator '>' cannot be applied to types 'HostVal<"u32">' and 'number'.
    queue > 1;
    // @ts-expect-error This comparison appears to be unintentional because the types 'HostVal<"u32">' and '1' have no overlap.
    queue === 1;
  });

  test("conditions", () => {
    xdp("conditions", ($) => {
      // @ts-expect-error This condition will always return true since this
      if ($.ctx.rx_queue_index.eq(1)) return $.return(XDP_DROP);
      // @ts-expect-error This condition will always return true since this
      if ($.ctx.rx_queue_index.and(1)) return $.return(XDP_DROP);
      // @ts-expect-error This condition will always return true since this
      return $.return($.ctx.rx_queue_index.eq(1) ? XDP_DROP : XDP_PASS);
    });
    // @ts-expect-error Argument of type 'boolean' is not assignable to parameter of type 'Cond'.
    $.if(!queue.eq(1), () => {});
    // @ts-expect-error Argument of type 'HostVal<"u32">' is not assignable to parameter of type 'Cond'.
    $.if(queue, () => {});
  });
});

describe("the ends of paths", () => {
  test("a program may not run off its end", () => {
    // @ts-expect-error this program may run off its end: end each path of it with return $.return(...)
    xdp("no_end", ($) => {
      $.printk`hello`;
    });
    // @ts-expect-error this program may run off its end: end each path of it with return $.return(...)
    xdp("one_path", ($) => {
      $.if($.ctx.rx_queue_index.eq(1), () => $.return(XDP_PASS));
    });
    // @ts-expect-error this program may run off its end: end each path of it with return $.return(...)
    tc("only_if", ($) => $.if($.ctx.mark.eq(1), () => $.return(TC_ACT_OK)));
    // @ts-expect-error this program may run off its end: end each path of it with return $.return(...)
    xdp("no_dollar", () => XDP_PASS);
    // @ts-expect-error this program may run off its end: end each path of it with return $.return(...)
    xdp("later", async ($) => $.return(XDP_PASS));
  });

  test("results are those of the program type", () => {
    // @ts-expect-error an XDP program returns XDP_PASS, XDP_DROP, XDP_TX, XDP_REDIRECT or XDP_ABORTED of tsbpf/lang, or a value
    $.return(TC_ACT_OK);
    // @ts-expect-error an XDP program returns XDP_PASS, XDP_DROP, XDP_TX, XDP_REDIRECT or XDP_ABORTED of tsbpf/lang, or a value
    $.return(2);
    // @ts-expect-error a TC program returns one of the TC_ACT_* of tsbpf/lang, or a value
    $tc.return(XDP_PASS);
    // @ts-expect-error a cgroup's packet filter returns 1 (let it through) or 0 (drop it), or a value
    $cgroup.return(true);
    // @ts-expect-error a program that chooses a socket returns 1 (let it through) or 0 (drop it), or a value
    $lookup.return(2);
    // @ts-expect-error a program returns a number
    socketFilter("text", ($) => $.return("all"));
  });

  test("what can fail says what else, and ends the path there", () => {
    // @ts-expect-error Expected 2 arguments, but got 1.
    $.packet.take(ethhdr);
    // @ts-expect-error an else must end its path: give what $.return(...), $.break() or $.continue() gives
    $.packet.take(ethhdr, { else: () => {} });
    // @ts-expect-error Expected 2 arguments, but got 1.
    $.packet.adjustHead(4);
    // @ts-expect-error Expected 3 arguments, but got 2.
    $.packet.load(14, ethhdr);
    // @ts-expect-error Property 'at' is missing in type
    $tc.packet.adjustRoom(8, passTc);
    // @ts-expect-error an else must end its path: give what $.return(...), $.break() or $.continue() gives
    $.packet.adjustMeta(event, { else: () => {} });
    // @ts-expect-error an else must end its path: give what $.return(...), $.break() or $.continue() gives
    $.lookup(slots, 0, { else: () => {} });
    // @ts-expect-error an else must end its path: give what $.return(...), $.break() or $.continue() gives
    parseIpv4($, { else: () => {} });
    // @ts-expect-error Argument of type 'HostVal<"u32">' is not assignable to parameter of type 'number'.
    $.packet.skip(queue);
    // @ts-expect-error Argument of type 'HostVal<"u32">' is not assignable to parameter of type 'number'.
    $.struct(array(u32, 4)).at(queue);
    // @ts-expect-error Expected 3 arguments, but got 2.
    $.while(
      () => queue.eq(1),
      () => {},
    );
  });
});

describe("functions", () => {
  test("take what their arguments are", () => {
    const mix = func("mix", [u32, u8], u32, ($, a, b) => $.return(a.add(b)));
    expectTypeOf($.call(mix, queue, 1)).toEqualTypeOf<HostVal<"u32">>();
    // @ts-expect-error a be32 is in the byte order of the wire: convert it with .toHost() before it meets a u32
    $.call(mix, ip.saddr, 1);
    // @ts-expect-error a u32 may not fit into a u8: convert one of them with .to(...) first
    $.call(mix, queue, queue);
    // @ts-expect-error Source has 1 element(s) but target requires 2.
    $.call(mix, queue);
  });
});

describe("maps", () => {
  test("each type has its uses", () => {
    // @ts-expect-error programs cannot look up values in a map of type cpumap
    $.lookup(cpus, 0, pass);
    // @ts-expect-error programs cannot write entries of a map of type cpumap
    $.update(cpus, 0, 192);
    // @ts-expect-error the elements of an array cannot be deleted: write zeros to them
    $.delete(slots, 0);
    // @ts-expect-error Type '"array"' is not assignable to type '"
    $.bpf_redirect_map(slots, queue, 0);
    // @ts-expect-error Type '"array"' is not assignable to type '"ringbuf"'.
    $.reserve(slots, event, pass);
    // @ts-expect-error Type '"hash"' is not assignable to type '"array"'.
    $.global(flows);
    // @ts-expect-error programs go through hashes and arrays, and this is a map of type cpumap
    $.forEach(cpus, () => {});
    // @ts-expect-error Type '"array"' is not assignable to type '"prog_array"'.
    $.tailCall(slots, 0);
  });

  test("keys and values have their shape", () => {
    // @ts-expect-error 'address' does not exist in type
    $.lookup(flows, { address: ip.saddr, proto: 6 }, pass);
    // @ts-expect-error Type 'HostVal<"u32">' is not assignable to type
    $.update(flows, { addr: ip.saddr, proto: queue }, { packets: 1 });
    // @ts-expect-error Argument of type 'StructView<{ len: IntLayout<"u32", "host">;
    $.delete(flows, $.struct(event));
  });

  test("atomic operations", () => {
    // @ts-expect-error atomic operations are for fields of maps' values, and this is in the packet
    $.atomic.add(ip.saddr, 1);
    // @ts-expect-error the kernel has atomic operations on 32 and 64 bits, and this is a u8
    $.atomic.add(entry.last, 1);
    // @ts-expect-error atomic operations are for fields of maps' values, and this has been computed
    $.atomic.add(queue, 1);
  });

  test("records", () => {
    // @ts-expect-error Type '"stack"' is not assignable to type '"record"'.
    $.submit($.struct(event));
  });
});

describe("checksums", () => {
  test("what rewrite mends itself cannot be changed, nor what is not given", () => {
    // @ts-expect-error 'check' does not exist in type
    rewrite($, { ip, udp }, { ip: { check: 0 } });
    // @ts-expect-error 'dest' does not exist in type
    rewrite($, { ip, udp }, { ip: { dest: 53 } });
    // @ts-expect-error 'udp' does not exist in type
    rewrite($, { ip }, { udp: { dest: 53 } });
    // @ts-expect-error Type 'HostVal<"u32">' is not assignable to type
    rewrite($, { ip, udp }, { ip: { daddr: queue } });
    // @ts-expect-error Property 'packet' is missing in type
    checksum($lookup, [ip]);
    // @ts-expect-error a be16 is not a be32: they have different widths or byte orders
    updatedChecksum($, ip.check, ip.saddr, udp.dest);
  });
});

describe("names", () => {
  test("members and helpers are known", () => {
    // @ts-expect-error Property 'h_prot' does not exist on type 'StructView<{ h_dest: BytesLayout; h_source: BytesLayout; h_proto: Be16; }, "packet">'. Did you mean 'h_proto'?
    eth.h_prot;
    // @ts-expect-error 'lenght' does not exist in type
    $.struct(event, { lenght: 1 });
    // @ts-expect-error 'lenght' does not exist in type
    $.assign($.struct(event), { lenght: 1 });
    // @ts-expect-error Type 'Ref<"u32", "ctx">' is not assignable to type 'Operand<"u8"> | Ref<"u8", Memory>'.
    $.assign($.struct(event), { flags: $.ctx.rx_queue_index });
    // @ts-expect-error Type 'Ref<"u32", "ctx">' is not assignable to type 'Operand<"u8">'.
    $.assign($.struct(array(u8, 2)), [1, $.ctx.rx_queue_index]);
    // @ts-expect-error Property 'bpf_skb_load_bytes' does not exist on type 'XdpScope'.
    $.bpf_skb_load_bytes(0, $.struct(event), 4);
    // @ts-expect-error Property 'packet' does not exist on type 'SkLookupScope'.
    $lookup.packet;
  });

  test("each program type has a packet of its own, or none", () => {
    // @ts-expect-error Property 'adjustHead' does not exist on type 'TcPacket'.
    $tc.packet.adjustHead(4, passTc);
    // @ts-expect-error Property 'pull' does not exist on type 'XdpPacket'.
    $.packet.pull(100, pass);
    // @ts-expect-error Property 'adjustMeta' does not exist on type 'TcPacket'.
    $tc.packet.adjustMeta(event, passTc);
    // @ts-expect-error Property 'store' does not exist on type 'ReadPacket'.
    $cgroup.packet.store(0, $cgroup.struct(event), { else: () => $cgroup.return(0) });
    // @ts-expect-error Property 'take' does not exist on type 'PacketLoad'.
    socketFilter("direct", ($) => $.return($.packet.take(u8, { else: () => $.return(0) })));
  });

  test("what is printed is a value or a text", () => {
    // @ts-expect-error is not assignable to parameter of type 'string | number | bigint | Val | Hex'.
    $.printk`${eth}`;
  });
});

describe("the kernel's own", () => {
  const Parent = struct("task_struct", { tgid: u32 });
  const Task = struct("task_struct", { pid: u32, parent: pointer(Parent), stack: pointer() });
  const find = kfuncDef("bpf_task_from_pid", [s32], acquired("task_struct", "bpf_task_release"));
  const release = kfuncDef("bpf_task_release", [released("task_struct")]);
  const fill = kfuncDef("fill", [programContext, programMemory(), u8], u16);
  const sockets = mapDef({ name: "sockets", type: "sockmap", key: u32, value: u64, maxEntries: 4 });

  test("pointers to structs are the structs, where programs can go on", () => {
    const task = $.view($.bpf_get_current_task(), Task);
    expectTypeOf(task.parent.tgid).toEqualTypeOf<Ref<"u32", "kernel">>();
    expectTypeOf(task.stack).toEqualTypeOf<Ref<"u64", "kernel">>();
    expectTypeOf($.view(8n, Task, { from: "user" }).parent.tgid).toEqualTypeOf<Ref<"u32", "user">>();
    expectTypeOf($.struct(Task).parent).toEqualTypeOf<Ref<"u64", "stack">>();
    // @ts-expect-error Property 'tgidd' does not exist on type 'StructView<{ tgid: IntLayout<"u32", "host">; }, "kernel">'. Did you mean 'tgid'?
    task.parent.tgidd;
    // @ts-expect-error atomic operations are for fields of maps' values, and this is in the kernel's memory
    $.atomic.add(task.pid, 1);
    // @ts-expect-error $.view takes a pointer, an address (a u64), or a view of memory that is not the program's own
    $.view(queue, Task);
    // @ts-expect-error this pointer may be null: view it inside of $.ifPresent
    $.view($.kfunc(find, 1), Task);
    // @ts-expect-error a text is copied into a $.struct, a record or a map's value
    $.copyText(eth.h_dest, task.stack);
  });

  test("kernel functions", () => {
    expectTypeOf($.kfunc(find, 1)).toEqualTypeOf<Nullable<"task_struct">>();
    expectTypeOf($.kfunc(fill, $.struct(event), 1)).toEqualTypeOf<HostVal<"u16">>();
    // @ts-expect-error a kernel function takes at most 5 arguments: the kernel passes them in r1 to r5
    kfuncDef("many", [u32, u32, u32, u32, u32, u32]);
    // @ts-expect-error Argument of type 'Nullable<"task_struct">' is not assignable to parameter of type 'Pointer<"task_struct">'.
    $.kfunc(release, $.kfunc(find, 1));
    // @ts-expect-error Argument of type 'string' is not assignable to parameter of type 'Operand<"s32">'.
    $.kfunc(find, "1");
    // @ts-expect-error Expected 2 arguments, but got 1.
    $.kfunc(find);
  });

  test("events, and sockets of maps", () => {
    // @ts-expect-error events go to a ring buffer or a perf event array, and this is a map of type hash
    $.output(flows, $.struct(event));
    // @ts-expect-error a socket of a map is found with $.findSocket, and released
    $tc.lookup(sockets, 1, passTc);
    // @ts-expect-error Type '"array"' is not assignable to type '"sockhash"'.
    $tc.findSocket(slots, 1);
  });
});
