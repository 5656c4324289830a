/**
 * The programs that exist in C (test/vectors/lang/c): what their maps hold before, what they are run on, and what comes of
 * some packets. Another build of the same program, in the language or by another compiler, is compared with them.
 */

import { mov32, r0 } from "../../src/asm/index.ts";
import { exit } from "../../src/asm/jump.ts";
import type { MapDef, MapTypeName } from "../../src/asm/map-def.ts";
import { type AttachTypeName, type ProgTypeName, xdp } from "../../src/asm/program.ts";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import type { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { TC_ACT_OK, TC_ACT_UNSPEC, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX } from "../../src/uapi/bpf.ts";
import { ETH_HLEN, ETH_P_IP, ETH_P_IPV6 } from "../../src/uapi/net.ts";
import { __sk_buff } from "../../src/uapi/structs.ts";
import * as maps from "./maps.ts";
import { cutPackets, damagedPackets, packets, randomPackets } from "./packets.ts";

/** What a program is run on once. */
export interface Input {
  readonly data?: Uint8Array;
  readonly ctx?: Uint8Array;
}

/** The maps of a loaded program, by their definitions. */
export type MapLookup = <Type extends MapTypeName, Key, Value>(
  def: MapDef<Type, Key, Value>,
) => BpfMap<Type, Key, Value>;

/** A program to compare. */
export interface Case {
  /** Of the C file, its entry function and the program in the kernel. */
  readonly name: string;
  readonly type: ProgTypeName;
  readonly attachType?: AttachTypeName;
  /** Puts into the maps what must be there before. */
  readonly fill?: (map: MapLookup) => void;
  /** What it is run on, in this order. */
  readonly inputs: () => Iterable<Input>;
  /** What it returns for the first run on some of {@link packets}, in this order. */
  readonly verdicts?: Readonly<Record<string, number>>;
  /** Fields of map values that differ between two runs: times. */
  readonly unequal?: readonly string[];
}

const xdpCase = { type: "xdp", inputs: packetInputs } as const;
const tcCase = { type: "sched_cls", inputs: () => skbInputs(new Uint8Array(__sk_buff.size)) } as const;

export const cases: readonly Case[] = [
  { ...xdpCase, name: "count_packets", verdicts: { arp: XDP_PASS } },
  {
    ...xdpCase,
    name: "port_filter",
    fill: (map) => {
      for (const port of [53, 2000, 0x3500]) map(maps.blockedPorts).set(port, 0n);
    },
    verdicts: {
      "udp to 53": XDP_DROP,
      "udp with options": XDP_DROP,
      "udp from 53": XDP_PASS,
      "udp, later fragment": XDP_PASS,
      "header length 4": XDP_PASS,
    },
  },
  { ...xdpCase, name: "vlan_types", verdicts: { arp: XDP_PASS, "five vlans": XDP_PASS } },
  {
    ...xdpCase,
    name: "flow_cpu",
    // The other entry is missing: what the program returns tells which CPU it chose.
    fill: (map) => map(maps.cpus).set(0, { qsize: 16, prog: 0 }),
    verdicts: { arp: XDP_PASS, "udp to 53": XDP_REDIRECT, "tcp ack": XDP_PASS },
  },
  {
    ...xdpCase,
    name: "ttl_router",
    verdicts: { arp: XDP_PASS, "ttl 0": XDP_DROP, "ttl 1": XDP_DROP, "ttl 2": XDP_TX, ping: XDP_TX },
  },
  { ...xdpCase, name: "icmp_echo", verdicts: { ping: XDP_TX, "ping reply": XDP_PASS, igmp: XDP_PASS } },
  {
    ...xdpCase,
    name: "lpm_block",
    fill: (map) => {
      const networks = map(maps.networks);
      networks.set({ prefixlen: 16, addr: 0xc633_0000 }, { action: XDP_PASS, reserved: 0, packets: 0n });
      networks.set({ prefixlen: 24, addr: 0xc633_6400 }, { action: XDP_DROP, reserved: 0, packets: 0n });
    },
    verdicts: {
      "tcp to a blocked network": XDP_DROP,
      "tcp to a watched network": XDP_PASS,
      "tcp ack": XDP_PASS,
    },
  },
  {
    ...xdpCase,
    name: "ipv6_walk",
    verdicts: {
      "ipv6 chain": XDP_PASS,
      "ipv6 chain without end": XDP_DROP,
      "ipv6 chain of eight": XDP_DROP,
      "ipv6 udp": XDP_PASS,
    },
  },
  {
    ...xdpCase,
    name: "syn_bucket",
    verdicts: { "tcp syn": XDP_PASS, "tcp ack": XDP_PASS },
    unequal: ["last"],
  },
  { ...tcCase, name: "dscp_mark", verdicts: { arp: TC_ACT_UNSPEC, "expedited forwarding": TC_ACT_OK } },
  { ...tcCase, name: "protocol_bytes", verdicts: { esp: TC_ACT_OK } },
  {
    ...tcCase,
    name: "nat_rewrite",
    fill: (map) =>
      map(maps.nat).set(
        { addr: 0xc0a8_0164, port: 8080, reserved: 0 },
        { addr: 0x0a01_0203, port: 80, reserved: 0 },
      ),
    verdicts: { "udp that nat rewrites": TC_ACT_OK },
  },
  {
    name: "dns_socket",
    type: "socket_filter",
    inputs: () => skbInputs(),
    verdicts: { "udp to 53": 128, "udp from 53": 128, "udp, odd": 0, "udp, later fragment": 0, ping: 0 },
  },
  {
    name: "egress_bytes",
    type: "cgroup_skb",
    attachType: "cgroup_inet_egress",
    inputs: () => skbInputs(),
    fill: (map) => map(maps.usage).set(0xc0a801, { bytes: 0n, quota: 3_000n }),
    verdicts: { arp: 1, "udp to 53": 1 },
  },
  {
    name: "syscall_count",
    type: "raw_tracepoint",
    fill: (map) => map(maps.config).set(0, { by_pid: 1, limit: 300 }),
    inputs: systemCalls,
  },
  { ...xdpCase, name: "flow_event", verdicts: { "tcp syn": XDP_PASS } },
  {
    ...xdpCase,
    name: "dispatch",
    fill: (map) => {
      for (const [protocol, action] of [
        [6, XDP_TX],
        [17, XDP_DROP],
      ] as const) {
        using target = BpfProgram.load(xdp("target", { entry: [mov32(r0, action), exit()] }));
        map(maps.programs).set(protocol, target.fd); // the map keeps it
      }
    },
    verdicts: { "tcp ack": XDP_TX, "ipv6 udp": XDP_DROP, ping: XDP_PASS, arp: XDP_PASS },
  },
  { ...xdpCase, name: "hash_words", verdicts: { "gre of arp": XDP_PASS } },
  {
    ...xdpCase,
    name: "tunnel_inner",
    fill: (map) => map(maps.innerBlock).set(0xac10_0001, 0n),
    verdicts: {
      "gre, blocked inside": XDP_DROP,
      "gre, not blocked inside": XDP_PASS,
      "gre with everything": XDP_DROP,
      "gre of ethernet": XDP_DROP,
      "gre of arp": XDP_PASS,
      vxlan: XDP_DROP,
      "vxlan, not blocked": XDP_PASS,
      "vxlan without vni": XDP_PASS,
    },
  },
  { ...xdpCase, name: "payload_sum", verdicts: { "udp, odd": XDP_PASS } },
];

function* packetInputs(): Generator<Input & { readonly data: Uint8Array }> {
  for (const data of Object.values(packets)) yield { data };
  for (const data of cutPackets()) yield { data };
  for (const data of damagedPackets(1_500, 1)) yield { data };
  for (const data of randomPackets(500, 2)) yield { data };
}

/** The kernel makes socket buffers of those only whose network header is whole. */
function* skbInputs(ctx?: Uint8Array): Generator<Input> {
  for (const { data } of packetInputs()) {
    const type = new DataView(data.buffer).getUint16(12);
    const header = type === ETH_P_IP ? 20 : type === ETH_P_IPV6 ? 40 : 1;
    if (data.length >= ETH_HLEN + header) yield ctx === undefined ? { data } : { data, ctx };
  }
}

function* systemCalls(): Generator<Input> {
  for (let n = 0n; n < 1_000n; n++) {
    const ctx = new Uint8Array(16);
    // The upper half of a number that is read as 32 bits must not matter.
    new DataView(ctx.buffer).setBigUint64(8, ((n * n) % 331n) | (n << 40n), LITTLE_ENDIAN);
    yield { ctx };
  }
}
