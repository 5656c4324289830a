/** Three TC programs on one hook, each put before or after another, whatever else is there. */
import {
  aadd64,
  add,
  be16,
  exit,
  jgt,
  jne,
  lddw,
  ldxb,
  ldxh,
  ldxw,
  mapDef,
  mapValue,
  mov,
  mov32,
  type Program,
  r0,
  r1,
  r2,
  r3,
  r6,
  schedCls,
} from "tsbpf/asm";
import { attachTcxLink, BpfMap, BpfProgram, queryHook } from "tsbpf/kernel";
import { struct, u32, u64 } from "tsbpf/layout";
import { TC_ACT_SHOT, TCX_NEXT } from "tsbpf/uapi/bpf";
import { ETH_P_IP, IPPROTO_ICMP } from "tsbpf/uapi/net";
import { __sk_buff, ethhdr, iphdr } from "tsbpf/uapi/structs";
import { every, run, UsageError } from "./support/run.ts";

const Counts = struct("counts", { seen: u64, left: u64 });
const counts = mapDef({ name: "counts", type: "array", key: u32, value: Counts, maxEntries: 1 });

/** Counts a packet, and lets the next program of the list have it. */
const count = (name: string, offset: number): Program<"sched_cls"> =>
  schedCls(name, {
    entry: [
      lddw(r1, mapValue(counts, offset)),
      mov32(r2, 1),
      aadd64([r1, 0], r2),
      mov32(r0, TCX_NEXT),
      exit(),
    ],
  });

const dropIcmp = schedCls("drop_icmp", {
  entry: [
    mov(r6, r1),
    ldxw(r2, [r6, __sk_buff.data]),
    ldxw(r3, [r6, __sk_buff.data_end]),
    mov(r1, r2),
    add(r1, ethhdr.size + iphdr.size),
    jgt(r1, r3, "next"),
    ldxh(r1, [r2, ethhdr.h_proto]),
    be16(r1),
    jne(r1, ETH_P_IP, "next"),
    ldxb(r1, [r2, ethhdr.size + iphdr.protocol]),
    jne(r1, IPPROTO_ICMP, "next"),
    mov32(r0, TC_ACT_SHOT), // ends it: those behind do not see the packet
    exit(),
  ],
  next: [mov32(r0, TCX_NEXT), exit()],
});

await run(
  `npx tsx examples/tcx-chain.ts INTERFACE

Puts three programs on TC ingress of an interface: one drops ICMP, one before it and one after it count. Prints their order
and the counts, every second when they have changed. Needs kernel 6.6. Ctrl-C ends it.`,
  async ([device], signal) => {
    if (device === undefined) throw new UsageError("which interface?");
    using map = BpfMap.create(counts);
    const maps = [map];
    using filter = BpfProgram.load(dropIcmp);
    using first = BpfProgram.load(count("count_seen", Counts.offset.seen), { maps });
    using last = BpfProgram.load(count("count_left", Counts.offset.left), { maps });
    using middle = attachTcxLink(filter, device, { hook: "ingress" });
    using _before = attachTcxLink(first, device, { hook: "ingress", before: middle });
    using _after = attachTcxLink(last, device, { hook: "ingress", after: middle });

    const { programs } = queryHook({ device, hook: "tcx_ingress" });
    console.log(`${device} tcx_ingress: ${programs.map(({ name }) => name).join(" -> ")}`);
    let printed = 0n;
    for await (const _ of every(1000, signal)) {
      const { seen = 0n, left = 0n } = map.get(0) ?? {};
      if (seen !== printed) console.log(`${seen} seen, ${seen - left} dropped, ${left} left`);
      printed = seen;
    }
  },
);
