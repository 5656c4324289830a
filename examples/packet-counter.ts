/** Counts packets and bytes by IP protocol: an XDP program, and a map with counters of each CPU. */
import {
  add,
  be16,
  call,
  exit,
  jeq,
  jgt,
  jne,
  lddw,
  ldxb,
  ldxdw,
  ldxh,
  ldxw,
  mapDef,
  mapFd,
  mov,
  mov32,
  r0,
  r1,
  r2,
  r6,
  r7,
  r10,
  stxdw,
  stxw,
  sub,
  xdp,
} from "tsbpf/asm";
import { attachXdpLink, BpfMap, BpfProgram } from "tsbpf/kernel";
import { struct, u32, u64 } from "tsbpf/layout";
import { XDP_PASS } from "tsbpf/uapi/bpf";
import { bpf_map_lookup_elem } from "tsbpf/uapi/helpers";
import { ETH_P_IP, ETH_P_IPV6 } from "tsbpf/uapi/net";
import { ethhdr, iphdr, ipv6hdr, xdp_md } from "tsbpf/uapi/structs";
import { every, run, UsageError } from "./support/run.ts";

const Counter = struct("counter", { packets: u64, bytes: u64 });
const counters = mapDef({
  name: "counters",
  type: "percpu_array",
  key: u32,
  value: Counter,
  maxEntries: 256,
});

const program = xdp("count_packets", {
  entry: [
    ldxw(r6, [r1, xdp_md.data]),
    ldxw(r7, [r1, xdp_md.data_end]),
    mov(r1, r6),
    add(r1, ethhdr.size + iphdr.size),
    jgt(r1, r7, "pass"), // too short for IP
    ldxh(r1, [r6, ethhdr.h_proto]),
    be16(r1),
    ldxb(r2, [r6, ethhdr.size + iphdr.protocol]),
    jeq(r1, ETH_P_IP, "count"),
    ldxb(r2, [r6, ethhdr.size + ipv6hdr.nexthdr]),
    jne(r1, ETH_P_IPV6, "pass"),
  ],
  count: [
    stxw([r10, -4], r2),
    lddw(r1, mapFd(counters)),
    mov(r2, r10),
    add(r2, -4),
    call(bpf_map_lookup_elem),
    jeq(r0, 0, "pass"),
    // Only this CPU counts in this value, and a program is not interrupted by itself: no atomics.
    ldxdw(r1, [r0, Counter.offset.packets]),
    add(r1, 1),
    stxdw([r0, Counter.offset.packets], r1),
    sub(r7, r6), // the packet's length
    ldxdw(r1, [r0, Counter.offset.bytes]),
    add(r1, r7),
    stxdw([r0, Counter.offset.bytes], r1),
  ],
  pass: [mov32(r0, XDP_PASS), exit()],
});

const NAMES: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6" };

await run(
  `npx tsx examples/packet-counter.ts INTERFACE

Counts the packets that come in on an interface by IP protocol, and prints the counters that have changed every second.
They pass on unharmed. Ctrl-C ends it.`,
  async ([device], signal) => {
    if (device === undefined) throw new UsageError("which interface?");
    using map = BpfMap.create(counters);
    using prog = BpfProgram.load(program, { maps: [map] });
    using link = attachXdpLink(prog, device);
    console.log(`counting on ${device}, in ${link.mode} mode`);

    const printed = new Map<number, bigint>();
    for await (const _ of every(1000, signal)) {
      for (const [protocol, perCpu] of map) {
        const packets = perCpu.reduce((sum, counter) => sum + counter.packets, 0n);
        const bytes = perCpu.reduce((sum, counter) => sum + counter.bytes, 0n);
        if (packets === (printed.get(protocol) ?? 0n)) continue;
        printed.set(protocol, packets);
        console.log(`${NAMES[protocol] ?? `protocol ${protocol}`}: ${packets} packets, ${bytes} bytes`);
      }
    }
  },
);
