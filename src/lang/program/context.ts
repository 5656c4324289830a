import type { ProgTypeName } from "../../asm/program.ts";
import { type ArrayLayout, array } from "../../btf/layout/array.ts";
import { be16, be32, s32, u8, u16, u32, u64 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";

// The contexts as programs see them (include/uapi/linux/bpf.h), with the byte order of each field. Pointers to packets are
// left out: $.packet is there for them. Fields that the kernel keeps in network byte order in the low half of a __u32 are
// a be16 followed by padding.

/** `struct xdp_md`: the context of XDP programs. */
export const xdpContext: StructLayout<"xdp_md", XdpContext> = struct("xdp_md", {
  data: u32,
  data_end: u32,
  data_meta: u32,
  ingress_ifindex: u32,
  rx_queue_index: u32,
  egress_ifindex: u32,
});

/** The members of {@link xdpContext}. */
export type XdpContext = {
  readonly data: typeof u32;
  readonly data_end: typeof u32;
  readonly data_meta: typeof u32;
  readonly ingress_ifindex: typeof u32;
  readonly rx_queue_index: typeof u32;
  readonly egress_ifindex: typeof u32;
};

/** `struct __sk_buff`: the context of TC programs, socket filters and other programs that see socket buffers. */
export const skbContext: StructLayout<"__sk_buff", SkbContext> = struct("__sk_buff", {
  len: u32,
  pkt_type: u32,
  mark: u32,
  queue_mapping: u32,
  protocol: be16,
  _protocol: u16,
  vlan_present: u32,
  vlan_tci: u32,
  vlan_proto: be16,
  _vlan_proto: u16,
  priority: u32,
  ingress_ifindex: u32,
  ifindex: u32,
  tc_index: u32,
  cb: array(u32, 5),
  hash: u32,
  tc_classid: u32,
  data: u32,
  data_end: u32,
  napi_id: u32,
  family: u32,
  remote_ip4: be32,
  local_ip4: be32,
  remote_ip6: array(be32, 4),
  local_ip6: array(be32, 4),
  remote_port: be32,
  local_port: u32,
  data_meta: u32,
  flow_keys: u64,
  tstamp: u64,
  wire_len: u32,
  gso_segs: u32,
  sk: u64,
  gso_size: u32,
  tstamp_type: u8,
  _padding: array(u8, 3),
  hwtstamp: u64,
});

/** The members of {@link skbContext}. */
export type SkbContext = {
  readonly len: typeof u32;
  readonly pkt_type: typeof u32;
  readonly mark: typeof u32;
  readonly queue_mapping: typeof u32;
  readonly protocol: typeof be16;
  readonly _protocol: typeof u16;
  readonly vlan_present: typeof u32;
  readonly vlan_tci: typeof u32;
  readonly vlan_proto: typeof be16;
  readonly _vlan_proto: typeof u16;
  readonly priority: typeof u32;
  readonly ingress_ifindex: typeof u32;
  readonly ifindex: typeof u32;
  readonly tc_index: typeof u32;
  readonly cb: ArrayLayout<typeof u32>;
  readonly hash: typeof u32;
  readonly tc_classid: typeof u32;
  readonly data: typeof u32;
  readonly data_end: typeof u32;
  readonly napi_id: typeof u32;
  readonly family: typeof u32;
  readonly remote_ip4: typeof be32;
  readonly local_ip4: typeof be32;
  readonly remote_ip6: ArrayLayout<typeof be32>;
  readonly local_ip6: ArrayLayout<typeof be32>;
  readonly remote_port: typeof be32;
  readonly local_port: typeof u32;
  readonly data_meta: typeof u32;
  readonly flow_keys: typeof u64;
  readonly tstamp: typeof u64;
  readonly wire_len: typeof u32;
  readonly gso_segs: typeof u32;
  readonly sk: typeof u64;
  readonly gso_size: typeof u32;
  readonly tstamp_type: typeof u8;
  readonly _padding: ArrayLayout<typeof u8>;
  readonly hwtstamp: typeof u64;
};

/** `struct bpf_sock_addr`: the context of `connect`, `bind`, `sendmsg` and `recvmsg` programs of cgroups. */
export const sockAddrContext: StructLayout<"bpf_sock_addr", SockAddrContext> = struct("bpf_sock_addr", {
  user_family: u32,
  user_ip4: be32,
  user_ip6: array(be32, 4),
  user_port: be16,
  _user_port: u16,
  family: u32,
  type: u32,
  protocol: u32,
  msg_src_ip4: be32,
  msg_src_ip6: array(be32, 4),
  sk: u64,
});

/** The members of {@link sockAddrContext}. */
export type SockAddrContext = {
  readonly user_family: typeof u32;
  readonly user_ip4: typeof be32;
  readonly user_ip6: ArrayLayout<typeof be32>;
  readonly user_port: typeof be16;
  readonly _user_port: typeof u16;
  readonly family: typeof u32;
  readonly type: typeof u32;
  readonly protocol: typeof u32;
  readonly msg_src_ip4: typeof be32;
  readonly msg_src_ip6: ArrayLayout<typeof be32>;
  readonly sk: typeof u64;
};

/** `struct bpf_sock`: the context of programs that see a cgroup's sockets being made. */
export const sockContext: StructLayout<"bpf_sock", SockContext> = struct("bpf_sock", {
  bound_dev_if: u32,
  family: u32,
  type: u32,
  protocol: u32,
  mark: u32,
  priority: u32,
  src_ip4: be32,
  src_ip6: array(be32, 4),
  src_port: u32,
  dst_port: be16,
  _dst_port: u16,
  dst_ip4: be32,
  dst_ip6: array(be32, 4),
  state: u32,
  rx_queue_mapping: s32,
});

/** The members of {@link sockContext}. */
export type SockContext = {
  readonly bound_dev_if: typeof u32;
  readonly family: typeof u32;
  readonly type: typeof u32;
  readonly protocol: typeof u32;
  readonly mark: typeof u32;
  readonly priority: typeof u32;
  readonly src_ip4: typeof be32;
  readonly src_ip6: ArrayLayout<typeof be32>;
  readonly src_port: typeof u32;
  readonly dst_port: typeof be16;
  readonly _dst_port: typeof u16;
  readonly dst_ip4: typeof be32;
  readonly dst_ip6: ArrayLayout<typeof be32>;
  readonly state: typeof u32;
  readonly rx_queue_mapping: typeof s32;
};

/** `struct bpf_sk_lookup`: the context of programs that choose the socket of an incoming packet. */
export const skLookupContext: StructLayout<"bpf_sk_lookup", SkLookupContext> = struct("bpf_sk_lookup", {
  sk: u64,
  family: u32,
  protocol: u32,
  remote_ip4: be32,
  remote_ip6: array(be32, 4),
  remote_port: be16,
  _remote_port: u16,
  local_ip4: be32,
  local_ip6: array(be32, 4),
  local_port: u32,
  ingress_ifindex: u32,
});

/** The members of {@link skLookupContext}. */
export type SkLookupContext = {
  readonly sk: typeof u64;
  readonly family: typeof u32;
  readonly protocol: typeof u32;
  readonly remote_ip4: typeof be32;
  readonly remote_ip6: ArrayLayout<typeof be32>;
  readonly remote_port: typeof be16;
  readonly _remote_port: typeof u16;
  readonly local_ip4: typeof be32;
  readonly local_ip6: ArrayLayout<typeof be32>;
  readonly local_port: typeof u32;
  readonly ingress_ifindex: typeof u32;
};

/** The context of raw tracepoints: the tracepoint's own arguments. */
export const rawTracepointContext: StructLayout<"bpf_raw_tracepoint_args", RawTracepointContext> = struct(
  "bpf_raw_tracepoint_args",
  { args: array(u64, 12) },
);

/** The members of {@link rawTracepointContext}. */
export type RawTracepointContext = {
  readonly args: ArrayLayout<typeof u64>;
};

/** Where a context keeps its pointers to the packet. */
export interface PacketPointers {
  readonly data: number;
  readonly dataEnd: number;
  /** The metadata in front of the packet; none for some types. */
  readonly dataMeta: number | undefined;
  /** Bytes of each. */
  readonly size: 4 | 8;
  readonly writable: boolean;
}

const SKB: PacketPointers = { data: 76, dataEnd: 80, dataMeta: 140, size: 4, writable: true };
const READ_ONLY_SKB: PacketPointers = { ...SKB, dataMeta: undefined, writable: false };

/** The packet pointers of a program type's context, for those whose programs may read packets directly. */
export const PACKET_POINTERS: Readonly<Partial<Record<ProgTypeName, PacketPointers>>> = {
  xdp: { data: 0, dataEnd: 4, dataMeta: 8, size: 4, writable: true },
  sched_cls: SKB,
  sched_act: SKB,
  lwt_xmit: { ...SKB, dataMeta: undefined },
  lwt_in: READ_ONLY_SKB,
  lwt_out: READ_ONLY_SKB,
  cgroup_skb: READ_ONLY_SKB,
  sk_skb: { ...SKB, dataMeta: undefined },
  flow_dissector: READ_ONLY_SKB,
  sk_msg: { data: 0, dataEnd: 8, dataMeta: undefined, size: 8, writable: true },
  sk_reuseport: { data: 0, dataEnd: 8, dataMeta: undefined, size: 8, writable: false },
};

/** Names of the context fields that programs of a type may write; the kernel's `*_is_valid_access`. */
export const WRITABLE_FIELDS: Readonly<Partial<Record<ProgTypeName, readonly string[]>>> = {
  sched_cls: ["mark", "tc_index", "priority", "cb", "tc_classid", "tstamp", "queue_mapping"],
  sched_act: ["mark", "tc_index", "priority", "cb", "tc_classid", "tstamp", "queue_mapping"],
  cgroup_skb: ["mark", "priority", "cb", "tstamp"],
  socket_filter: ["cb"],
  lwt_xmit: ["mark", "priority", "cb"],
  lwt_in: ["mark", "priority", "cb"],
  lwt_out: ["mark", "priority", "cb"],
  sk_skb: ["tc_index", "priority"],
  sock_ops: ["args", "sk_txhash"],
  cgroup_sock: ["bound_dev_if", "mark", "priority"],
  cgroup_sock_addr: ["user_ip4", "user_ip6", "user_port", "msg_src_ip4", "msg_src_ip6"],
};
