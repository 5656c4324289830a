/** Decides which addresses the processes of a cgroup may connect to, and tells about every refusal. */
import {
  add,
  call,
  exit,
  jeq,
  jne,
  lddw,
  ldxw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  r6,
  r7,
  r10,
  rsh,
  stw,
  stxw,
} from "tsbpf/asm";
import { attachCgroup, BpfMap, BpfProgram, RingBuffer } from "tsbpf/kernel";
import { array, be16, bytes, char, struct, u8, u32 } from "tsbpf/layout";
import { BPF_F_NO_PREALLOC } from "tsbpf/uapi/bpf";
import {
  bpf_get_current_comm,
  bpf_get_current_pid_tgid,
  bpf_map_lookup_elem,
  bpf_ringbuf_reserve,
  bpf_ringbuf_submit,
} from "tsbpf/uapi/helpers";
import { bpf_sock_addr } from "tsbpf/uapi/structs";
import { parsePrefix } from "./support/ipv4.ts";
import { run, UsageError } from "./support/run.ts";

const Prefix = struct("prefix", { prefixlen: u32, address: bytes(4) });
const allowed = mapDef({
  name: "allowed",
  type: "lpm_trie",
  key: Prefix,
  value: u8,
  maxEntries: 1024,
  flags: BPF_F_NO_PREALLOC,
});
// `user_port` is 32 bits wide, with the port in network order in its first two bytes.
const Refusal = struct("refusal", {
  pid: u32,
  address: bytes(4),
  port: be16,
  unused: be16,
  comm: array(char, 16),
});
const refusals = mapDef({ name: "refusals", type: "ringbuf", maxEntries: 64 * 1024 });

const ALLOW = 1;
const REFUSE = 0; // the process gets EPERM
const KEY = -Prefix.size;

const connect4 = program(
  "cgroup_sock_addr",
  "connect4_policy",
  {
    entry: [
      mov(r6, r1),
      stw([r10, KEY + Prefix.offset.prefixlen], 32),
      ldxw(r1, [r6, bpf_sock_addr.user_ip4]),
      stxw([r10, KEY + Prefix.offset.address], r1),
      lddw(r1, mapFd(allowed)),
      mov(r2, r10),
      add(r2, KEY),
      call(bpf_map_lookup_elem),
      jne(r0, 0, "allow"),
      lddw(r1, mapFd(refusals)),
      mov(r2, Refusal.size),
      mov(r3, 0),
      call(bpf_ringbuf_reserve),
      jeq(r0, 0, "refuse"), // no room to tell about it; it is refused all the same
      mov(r7, r0),
      call(bpf_get_current_pid_tgid),
      rsh(r0, 32),
      stxw([r7, Refusal.offset.pid], r0),
      ldxw(r1, [r6, bpf_sock_addr.user_ip4]),
      stxw([r7, Refusal.offset.address], r1),
      ldxw(r1, [r6, bpf_sock_addr.user_port]),
      stxw([r7, Refusal.offset.port], r1),
      mov(r1, r7),
      add(r1, Refusal.offset.comm),
      mov(r2, 16),
      call(bpf_get_current_comm),
      mov(r1, r7),
      mov(r2, 0),
      call(bpf_ringbuf_submit),
    ],
    refuse: [mov32(r0, REFUSE), exit()],
    allow: [mov32(r0, ALLOW), exit()],
  },
  { attachType: "cgroup_inet4_connect" },
);

/** There are no IPv6 rules here: without this, IPv6 would be the way around the others. */
const connect6 = program(
  "cgroup_sock_addr",
  "connect6_policy",
  { entry: [mov32(r0, REFUSE), exit()] },
  { attachType: "cgroup_inet6_connect" },
);

await run(
  `npx tsx examples/connect-policy.ts CGROUP PREFIX...

The processes of a cgroup (version 2, as in /sys/fs/cgroup/web) may connect to these IPv4 prefixes and to nothing else;
what they try in vain over IPv4 is printed. Ctrl-C ends it, and the policy.`,
  async ([cgroup, ...prefixes], signal) => {
    if (cgroup === undefined) throw new UsageError("which cgroup?");
    using allow = BpfMap.create(allowed);
    for (const { address, bits } of prefixes.map(parsePrefix)) allow.set({ prefixlen: bits, address }, 1);
    using events = BpfMap.create(refusals);
    using prog4 = BpfProgram.load(connect4, { maps: [allow, events] });
    using prog6 = BpfProgram.load(connect6);
    using ring = RingBuffer.open(events, Refusal);
    using _link4 = attachCgroup(prog4, cgroup);
    using _link6 = attachCgroup(prog6, cgroup);
    console.log(`policy on ${cgroup}: ${prefixes.length} prefixes allowed`);
    for await (const { pid, comm, address, port } of ring.records({ signal })) {
      console.log(`refused ${comm} (${pid}): ${address.join(".")}:${port}`);
    }
  },
);
