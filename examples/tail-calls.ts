/** A parser in pieces: each protocol is a program of its own, and the one before jumps to it through a map of programs. */
import {
  aadd64,
  add,
  be16,
  call,
  exit,
  jeq,
  jgt,
  lddw,
  ldxb,
  ldxh,
  ldxw,
  mapDef,
  mapFd,
  mapValue,
  mov,
  mov32,
  type Program,
  r0,
  r1,
  r2,
  r3,
  r6,
  r7,
  xdp,
} from "tsbpf/asm";
import { attachXdpLink, BpfMap, BpfProgram } from "tsbpf/kernel";
import { array, u32, u64 } from "tsbpf/layout";
import { XDP_PASS } from "tsbpf/uapi/bpf";
import { bpf_tail_call } from "tsbpf/uapi/helpers";
import { ETH_P_IP, ETH_P_IPV6, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP } from "tsbpf/uapi/net";
import { ethhdr, iphdr, ipv6hdr, xdp_md } from "tsbpf/uapi/structs";
import { every, run, UsageError } from "./support/run.ts";

const STAGES = ["ethernet", "ipv4", "ipv6", "icmp", "tcp", "udp"] as const;
type Stage = (typeof STAGES)[number];

const stages = mapDef({
  name: "stages",
  type: "prog_array",
  key: u32,
  value: u32,
  maxEntries: STAGES.length,
});
const seen = mapDef({
  name: "seen",
  type: "array",
  key: u32,
  value: array(u64, STAGES.length),
  maxEntries: 1,
});

/** The instructions that every stage begins with: the packet in r2 to r3, if it has so many bytes; and one is counted. */
const begin = (stage: Stage, bytes: number) => [
  mov(r6, r1),
  lddw(r1, mapValue(seen, STAGES.indexOf(stage) * 8)),
  mov32(r2, 1),
  aadd64([r1, 0], r2),
  ldxw(r2, [r6, xdp_md.data]),
  ldxw(r3, [r6, xdp_md.data_end]),
  mov(r1, r2),
  add(r1, bytes),
  jgt(r1, r3, "pass"),
];

/** Jumps into another program for good; goes on where the map has none. */
const jumpTo = (stage: Stage) => [
  mov(r1, r6),
  lddw(r2, mapFd(stages)),
  mov32(r3, STAGES.indexOf(stage)),
  call(bpf_tail_call),
];

const pass = [mov32(r0, XDP_PASS), exit()];

/** What follows IP: a jump by the number of the protocol. */
const transport = (stage: Stage, bytes: number, protocol: number): Program<"xdp"> =>
  xdp(stage, {
    entry: [
      ...begin(stage, bytes),
      ldxb(r7, [r2, protocol]),
      jeq(r7, IPPROTO_ICMP, "icmp"),
      jeq(r7, IPPROTO_TCP, "tcp"),
      jeq(r7, IPPROTO_UDP, "udp"),
    ],
    pass,
    icmp: [...jumpTo("icmp"), ...pass],
    tcp: [...jumpTo("tcp"), ...pass],
    udp: [...jumpTo("udp"), ...pass],
  });

/** The end of the way: only counted. */
const leaf = (stage: Stage): Program<"xdp"> => xdp(stage, { entry: begin(stage, ethhdr.size), pass });

const programs: Readonly<Record<Stage, Program<"xdp">>> = {
  ethernet: xdp("ethernet", {
    entry: [
      ...begin("ethernet", ethhdr.size),
      ldxh(r7, [r2, ethhdr.h_proto]),
      be16(r7),
      jeq(r7, ETH_P_IP, "ipv4"),
      jeq(r7, ETH_P_IPV6, "ipv6"),
    ],
    pass,
    ipv4: [...jumpTo("ipv4"), ...pass],
    ipv6: [...jumpTo("ipv6"), ...pass],
  }),
  ipv4: transport("ipv4", ethhdr.size + iphdr.size, ethhdr.size + iphdr.protocol),
  ipv6: transport("ipv6", ethhdr.size + ipv6hdr.size, ethhdr.size + ipv6hdr.nexthdr),
  icmp: leaf("icmp"),
  tcp: leaf("tcp"),
  udp: leaf("udp"),
};

await run(
  `npx tsx examples/tail-calls.ts INTERFACE [STAGE...]

Parses the packets that come in on an interface with a program for each protocol (${STAGES.join(", ")}),
and prints how many came to each. With STAGEs only those are there behind ethernet. Ctrl-C ends it.`,
  async ([device, ...wanted], signal) => {
    if (device === undefined) throw new UsageError("which interface?");
    const wrong = wanted.find((name) => !STAGES.some((stage) => stage === name));
    if (wrong !== undefined) throw new UsageError(`there is no stage '${wrong}'`);
    using next = BpfMap.create(stages);
    using counts = BpfMap.create(seen);
    const maps = [next, counts];
    for (const [index, stage] of STAGES.entries()) {
      if (wanted.length > 0 && !wanted.includes(stage)) continue;
      using prog = BpfProgram.load(programs[stage], { maps }); // the map holds it from here on
      next.set(index, prog);
    }
    using entry = BpfProgram.load(programs.ethernet, { maps });
    using _link = attachXdpLink(entry, device);
    console.log(`parsing on ${device}`);

    let printed = "";
    for await (const _ of every(1000, signal)) {
      const now = counts.get(0)?.map((count, index) => `${STAGES[index]} ${count}`) ?? [];
      if (now.join() !== printed) console.log(now.join(", "));
      printed = now.join();
    }
  },
);
