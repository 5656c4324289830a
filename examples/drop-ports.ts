/** Drops packets by source prefix and destination port: the longest prefix that matches is found in an LPM trie. */
import {
  aadd64,
  add,
  and,
  be16,
  be32,
  call,
  exit,
  jeq,
  jgt,
  jne,
  lddw,
  ldxb,
  ldxh,
  ldxw,
  lsh,
  mapDef,
  mapFd,
  mov,
  mov32,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r10,
  stw,
  stxw,
  xdp,
} from "tsbpf/asm";
import { attachXdpLink, BpfMap, BpfProgram } from "tsbpf/kernel";
import { bytes, be32 as netu32, struct, u32, u64 } from "tsbpf/layout";
import { BPF_F_NO_PREALLOC, XDP_DROP, XDP_PASS } from "tsbpf/uapi/bpf";
import { bpf_map_lookup_elem } from "tsbpf/uapi/helpers";
import { ETH_P_IP, IPPROTO_TCP, IPPROTO_UDP } from "tsbpf/uapi/net";
import { ethhdr, iphdr, udphdr, xdp_md } from "tsbpf/uapi/structs";
import { parsePrefix } from "./support/ipv4.ts";
import { every, run, UsageError } from "./support/run.ts";

// The trie compares the first `prefixlen` bits behind it: all 32 of the port, then those of the source's prefix. (The
// port is 16 bits wide; with 32 the address behind it lies where 4 bytes can be stored at once.)
const Rule = struct("rule", { prefixlen: u32, port: netu32, source: bytes(4) });
const rules = mapDef({
  name: "rules",
  type: "lpm_trie",
  key: Rule,
  value: u64, // packets that it has dropped
  maxEntries: 1024,
  flags: BPF_F_NO_PREALLOC, // the kernel wants it of tries
});

const KEY = -Rule.size; // where the key is, from the frame pointer
const program = xdp("drop_ports", {
  entry: [
    ldxw(r2, [r1, xdp_md.data]),
    ldxw(r3, [r1, xdp_md.data_end]),
    mov(r4, r2),
    add(r4, ethhdr.size + iphdr.size),
    jgt(r4, r3, "pass"),
    ldxh(r5, [r2, ethhdr.h_proto]),
    be16(r5),
    jne(r5, ETH_P_IP, "pass"),
    ldxh(r5, [r2, ethhdr.size + iphdr.frag_off]),
    be16(r5),
    and(r5, 0x1fff),
    jne(r5, 0, "pass"), // only the first fragment has ports
    ldxb(r5, [r2, ethhdr.size + iphdr.protocol]),
    jeq(r5, IPPROTO_TCP, "ports"),
    jne(r5, IPPROTO_UDP, "pass"),
  ],
  ports: [
    ldxb(r5, [r2, ethhdr.size]), // version, and the header's length in words
    and(r5, 0x0f),
    lsh(r5, 2),
    mov(r4, r2),
    add(r4, r5),
    mov(r5, r4),
    add(r5, ethhdr.size + 4),
    jgt(r5, r3, "pass"),
    ldxh(r5, [r4, ethhdr.size + udphdr.dest]), // TCP has its ports in the same place
    be16(r5),
    be32(r5),
    stw([r10, KEY + Rule.offset.prefixlen], 64),
    stxw([r10, KEY + Rule.offset.port], r5),
    ldxw(r5, [r2, ethhdr.size + iphdr.saddr]),
    stxw([r10, KEY + Rule.offset.source], r5),
    lddw(r1, mapFd(rules)),
    mov(r2, r10),
    add(r2, KEY),
    call(bpf_map_lookup_elem),
    jeq(r0, 0, "pass"),
    mov32(r1, 1),
    aadd64([r0, 0], r1),
    mov32(r0, XDP_DROP),
    exit(),
  ],
  pass: [mov32(r0, XDP_PASS), exit()],
});

function parseRule(text: string): { prefixlen: number; port: number; source: Uint8Array } {
  const [, prefix = "", port = ""] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  if (port === "" || Number(port) > 0xffff) throw new UsageError(`'${text}' is not a rule`);
  const { address, bits } = parsePrefix(prefix);
  return { prefixlen: 32 + bits, port: Number(port), source: address };
}

await run(
  `npx tsx examples/drop-ports.ts INTERFACE PREFIX:PORT...

Drops IPv4 TCP and UDP packets from a source prefix to a port, as in 10.0.0.0/8:53 or 0.0.0.0/0:8080, and prints how
many. Ctrl-C ends it.`,
  async ([device, ...texts], signal) => {
    if (device === undefined || texts.length === 0) throw new UsageError("which interface, and which rules?");
    const wanted = texts.map((text) => ({ text, rule: parseRule(text), printed: 0n }));
    using map = BpfMap.create(rules);
    for (const { rule } of wanted) map.set(rule, 0n);
    using prog = BpfProgram.load(program, { maps: [map] });
    using link = attachXdpLink(prog, device);
    console.log(`${texts.length} rules on ${device}, in ${link.mode} mode`);

    for await (const _ of every(1000, signal)) {
      for (const one of wanted) {
        const dropped = map.get(one.rule) ?? 0n;
        if (dropped !== one.printed) console.log(`${one.text} dropped ${dropped}`);
        one.printed = dropped;
      }
    }
  },
);
