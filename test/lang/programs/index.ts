/** The programs of test/vectors/lang/c, written in the language. */
import type { Program } from "../../../src/asm/program.ts";
import type { LangOptions } from "../../../src/lang/index.ts";
import type { Case } from "../cases.ts";
import { countPackets } from "./count-packets.ts";
import { dispatch } from "./dispatch.ts";
import { dnsSocket } from "./dns-socket.ts";
import { dscpMark } from "./dscp-mark.ts";
import { egressBytes } from "./egress-bytes.ts";
import { flowCpu } from "./flow-cpu.ts";
import { flowEvents } from "./flow-event.ts";
import { hashWords } from "./hash-words.ts";
import { icmpEcho } from "./icmp-echo.ts";
import { ipv6Walk } from "./ipv6-walk.ts";
import { lpmBlock } from "./lpm-block.ts";
import { natRewrite } from "./nat-rewrite.ts";
import { payloadSum } from "./payload-sum.ts";
import { portFilter } from "./port-filter.ts";
import { protocolBytes } from "./protocol-bytes.ts";
import { synBucket } from "./syn-bucket.ts";
import { syscallCount } from "./syscall-count.ts";
import { ttlRouter } from "./ttl-router.ts";
import { tunnelInner } from "./tunnel-inner.ts";
import { vlanTypes } from "./vlan-types.ts";

/** Builders by the name of the program, which is that of the C file, too. */
export const programs: Readonly<Record<string, (options?: LangOptions) => Program>> = {
  count_packets: countPackets,
  dispatch,
  dns_socket: dnsSocket,
  dscp_mark: dscpMark,
  egress_bytes: egressBytes,
  flow_cpu: flowCpu,
  flow_event: flowEvents,
  hash_words: hashWords,
  icmp_echo: icmpEcho,
  ipv6_walk: ipv6Walk,
  lpm_block: lpmBlock,
  nat_rewrite: natRewrite,
  payload_sum: payloadSum,
  port_filter: portFilter,
  protocol_bytes: protocolBytes,
  syn_bucket: synBucket,
  syscall_count: syscallCount,
  ttl_router: ttlRouter,
  tunnel_inner: tunnelInner,
  vlan_types: vlanTypes,
};

/** The oldest kernel that each instruction set of compilers is for. */
export const KERNELS = { v3: "5.10", v4: "6.6" } as const;

/** Builds the program of a case for an instruction set. */
export function inLanguage({ name, attachType }: Case, isa: "v3" | "v4"): Program {
  const build = programs[name];
  if (build === undefined) throw new Error(`'${name}' is not written in the language`);
  return build({ kernel: KERNELS[isa], ...(attachType && { attachType }) });
}
