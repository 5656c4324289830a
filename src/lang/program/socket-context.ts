import { type ArrayLayout, array } from "../../btf/layout/array.ts";
import { be16, be32, u16, u32, u64 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";

// The contexts of programs at sockets (include/uapi/linux/bpf.h), with the byte order of each field. Pointers are left out.

/** `struct bpf_sock_ops`: the context of programs that accompany TCP connections. */
export const sockOpsContext: StructLayout<"bpf_sock_ops", SockOpsContext> = struct("bpf_sock_ops", {
  op: u32,
  args: array(u32, 4),
  family: u32,
  remote_ip4: be32,
  local_ip4: be32,
  remote_ip6: array(be32, 4),
  local_ip6: array(be32, 4),
  remote_port: be32,
  local_port: u32,
  is_fullsock: u32,
  snd_cwnd: u32,
  srtt_us: u32,
  bpf_sock_ops_cb_flags: u32,
  state: u32,
  rtt_min: u32,
  snd_ssthresh: u32,
  rcv_nxt: u32,
  snd_nxt: u32,
  snd_una: u32,
  mss_cache: u32,
  ecn_flags: u32,
  rate_delivered: u32,
  rate_interval_us: u32,
  packets_out: u32,
  retrans_out: u32,
  total_retrans: u32,
  segs_in: u32,
  data_segs_in: u32,
  segs_out: u32,
  data_segs_out: u32,
  lost_out: u32,
  sacked_out: u32,
  sk_txhash: u32,
  bytes_received: u64,
  bytes_acked: u64,
  sk: u64,
});

/** The members of {@link sockOpsContext}. */
export type SockOpsContext = {
  readonly op: typeof u32;
  /** In `args[0]` the program leaves its answer to what asks for one (`reply`). */
  readonly args: ArrayLayout<typeof u32>;
  readonly family: typeof u32;
  readonly remote_ip4: typeof be32;
  readonly local_ip4: typeof be32;
  readonly remote_ip6: ArrayLayout<typeof be32>;
  readonly local_ip6: ArrayLayout<typeof be32>;
  readonly remote_port: typeof be32;
  readonly local_port: typeof u32;
  readonly is_fullsock: typeof u32;
  readonly snd_cwnd: typeof u32;
  readonly srtt_us: typeof u32;
  readonly bpf_sock_ops_cb_flags: typeof u32;
  readonly state: typeof u32;
  readonly rtt_min: typeof u32;
  readonly snd_ssthresh: typeof u32;
  readonly rcv_nxt: typeof u32;
  readonly snd_nxt: typeof u32;
  readonly snd_una: typeof u32;
  readonly mss_cache: typeof u32;
  readonly ecn_flags: typeof u32;
  readonly rate_delivered: typeof u32;
  readonly rate_interval_us: typeof u32;
  readonly packets_out: typeof u32;
  readonly retrans_out: typeof u32;
  readonly total_retrans: typeof u32;
  readonly segs_in: typeof u32;
  readonly data_segs_in: typeof u32;
  readonly segs_out: typeof u32;
  readonly data_segs_out: typeof u32;
  readonly lost_out: typeof u32;
  readonly sacked_out: typeof u32;
  readonly sk_txhash: typeof u32;
  readonly bytes_received: typeof u64;
  readonly bytes_acked: typeof u64;
  readonly sk: typeof u64;
};

/** `struct sk_msg_md`: the context of programs that see what sockets of a map send. */
export const skMsgContext: StructLayout<"sk_msg_md", SkMsgContext> = struct("sk_msg_md", {
  _data: u64,
  _data_end: u64,
  family: u32,
  remote_ip4: be32,
  local_ip4: be32,
  remote_ip6: array(be32, 4),
  local_ip6: array(be32, 4),
  remote_port: be32,
  local_port: u32,
  size: u32,
  sk: u64,
});

/** The members of {@link skMsgContext}. */
export type SkMsgContext = {
  readonly _data: typeof u64;
  readonly _data_end: typeof u64;
  readonly family: typeof u32;
  readonly remote_ip4: typeof be32;
  readonly local_ip4: typeof be32;
  readonly remote_ip6: ArrayLayout<typeof be32>;
  readonly local_ip6: ArrayLayout<typeof be32>;
  readonly remote_port: typeof be32;
  readonly local_port: typeof u32;
  /** Bytes of the message. */
  readonly size: typeof u32;
  readonly sk: typeof u64;
};

/** `struct sk_reuseport_md`: the context of programs that choose among sockets that share an address. */
export const skReuseportContext: StructLayout<"sk_reuseport_md", SkReuseportContext> = struct(
  "sk_reuseport_md",
  {
    _data: u64,
    _data_end: u64,
    len: u32,
    eth_protocol: be16,
    _eth_protocol: u16,
    ip_protocol: u32,
    bind_inany: u32,
    hash: u32,
    sk: u64,
    migrating_sk: u64,
  },
);

/** The members of {@link skReuseportContext}. */
export type SkReuseportContext = {
  readonly _data: typeof u64;
  readonly _data_end: typeof u64;
  readonly len: typeof u32;
  readonly eth_protocol: typeof be16;
  readonly _eth_protocol: typeof u16;
  readonly ip_protocol: typeof u32;
  readonly bind_inany: typeof u32;
  readonly hash: typeof u32;
  readonly sk: typeof u64;
  readonly migrating_sk: typeof u64;
};

/** `struct bpf_cgroup_dev_ctx`: the context of programs that decide about devices. */
export const cgroupDeviceContext: StructLayout<"bpf_cgroup_dev_ctx", CgroupDeviceContext> = struct(
  "bpf_cgroup_dev_ctx",
  { access_type: u32, major: u32, minor: u32 },
);

/** The members of {@link cgroupDeviceContext}. */
export type CgroupDeviceContext = {
  /** `BPF_DEVCG_ACC_*` in the upper 16 bits, `BPF_DEVCG_DEV_*` in the lower ones. */
  readonly access_type: typeof u32;
  readonly major: typeof u32;
  readonly minor: typeof u32;
};
