/** Edits a map while a program uses it: addresses are blocked and unblocked from the keyboard. */
import { createInterface } from "node:readline";
import {
  aadd64,
  add,
  be16,
  call,
  exit,
  jeq,
  jgt,
  jne,
  lddw,
  ldxh,
  ldxw,
  mapDef,
  mapFd,
  mov,
  mov32,
  r0,
  r1,
  r2,
  r3,
  r10,
  stxw,
  xdp,
} from "tsbpf/asm";
import { attachXdpLink, BpfMap, BpfProgram } from "tsbpf/kernel";
import { bytes, u64 } from "tsbpf/layout";
import { BPF_NOEXIST, XDP_DROP, XDP_PASS } from "tsbpf/uapi/bpf";
import { bpf_map_lookup_elem } from "tsbpf/uapi/helpers";
import { ETH_P_IP } from "tsbpf/uapi/net";
import { ethhdr, iphdr, xdp_md } from "tsbpf/uapi/structs";
import { parseAddress } from "./support/ipv4.ts";
import { run, UsageError } from "./support/run.ts";

/** Source address to packets dropped. */
const blocked = mapDef({ name: "blocked", type: "hash", key: bytes(4), value: u64, maxEntries: 1024 });

const program = xdp("block_sources", {
  entry: [
    ldxw(r2, [r1, xdp_md.data]),
    ldxw(r3, [r1, xdp_md.data_end]),
    mov(r1, r2),
    add(r1, ethhdr.size + iphdr.size),
    jgt(r1, r3, "pass"),
    ldxh(r1, [r2, ethhdr.h_proto]),
    be16(r1),
    jne(r1, ETH_P_IP, "pass"),
    ldxw(r1, [r2, ethhdr.size + iphdr.saddr]),
    stxw([r10, -4], r1),
    lddw(r1, mapFd(blocked)),
    mov(r2, r10),
    add(r2, -4),
    call(bpf_map_lookup_elem),
    jeq(r0, 0, "pass"),
    mov32(r1, 1),
    aadd64([r0, 0], r1),
    mov32(r0, XDP_DROP),
    exit(),
  ],
  pass: [mov32(r0, XDP_PASS), exit()],
});

/** Carries out a line, and says what came of it. */
function edit(map: BpfMap<"hash", Uint8Array, bigint>, line: string): string {
  const [command, address = ""] = line.trim().split(/\s+/);
  switch (command) {
    case "block":
      if (map.has(parseAddress(address))) return `${address} is blocked already`;
      map.set(parseAddress(address), 0n, BPF_NOEXIST); // never resets what the program has counted meanwhile
      return `blocked ${address}`;
    case "unblock":
      return map.delete(parseAddress(address)) ? `unblocked ${address}` : `${address} was not blocked`;
    case "list": {
      const lines = [...map].map(([key, dropped]) => `${key.join(".")} dropped ${dropped}`);
      return lines.length === 0 ? "none is blocked" : lines.join("\n");
    }
    default:
      throw new UsageError("block ADDRESS, unblock ADDRESS, list");
  }
}

await run(
  `npx tsx examples/live-map.ts INTERFACE

Drops IPv4 packets from addresses that are edited while it runs. It reads commands, one a line:
  block ADDRESS      drop what comes from there
  unblock ADDRESS    let it pass again
  list               the addresses, with the packets dropped
Ctrl-C, or the end of the input, ends it.`,
  async ([device], signal) => {
    if (device === undefined) throw new UsageError("which interface?");
    using map = BpfMap.create(blocked);
    using prog = BpfProgram.load(program, { maps: [map] });
    using link = attachXdpLink(prog, device);
    console.log(`ready on ${device}, in ${link.mode} mode`);
    for await (const line of createInterface({ input: process.stdin, signal })) {
      try {
        console.log(edit(map, line));
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        console.log(error.message);
      }
    }
  },
);
