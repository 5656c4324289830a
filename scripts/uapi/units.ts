/**
 * Which headers and names become which file of `src/uapi`. Shared by both stages: the extractor looks these up, the
 * generator lays them out in this order.
 */

/** One header's part of a generated file. */
export interface HeaderPart {
  /** Path below the include directory. */
  readonly header: string;
  /** Take only the names this matches (default: all). */
  readonly only?: RegExp;
  /** Leave out the names this matches. */
  readonly except?: RegExp;
}

/** One generated file of constants, `src/uapi/<file>.ts`. */
export interface ConstantUnit {
  readonly file: string;
  /** What the file holds, for its header comment. */
  readonly about: string;
  readonly parts: readonly HeaderPart[];
  /** Names that no UAPI header has, resolved from the C library's headers. */
  readonly libc?: { readonly headers: readonly string[]; readonly names: readonly string[] };
}

export const constantUnits: readonly ConstantUnit[] = [
  {
    file: "bpf",
    about:
      "Instruction opcodes, registers, commands, map, program, attach and link types, flags, return codes.",
    parts: [
      { header: "linux/bpf_common.h" },
      { header: "linux/bpf.h" },
      { header: "linux/pkt_cls.h", only: /^TC_ACT_/ },
    ],
  },
  { file: "btf", about: "The BTF format: magic, kinds, encodings.", parts: [{ header: "linux/btf.h" }] },
  {
    file: "netlink",
    about: "Netlink, rtnetlink (links, addresses, qdiscs, filters), generic netlink and its netdev family.",
    parts: [
      { header: "linux/netlink.h" },
      { header: "linux/genetlink.h" },
      { header: "linux/netdev.h" },
      { header: "linux/rtnetlink.h" },
      { header: "linux/if_link.h" },
      { header: "linux/if_addr.h" },
      { header: "linux/neighbour.h" },
      { header: "linux/veth.h" },
      { header: "linux/pkt_sched.h" },
      { header: "linux/pkt_cls.h", except: /^TC_ACT_/ },
    ],
  },
  {
    file: "net",
    about: "Ethernet, IP and socket numbers, interface flags, ethtool commands and their ioctls.",
    parts: [
      { header: "linux/if_ether.h" },
      { header: "linux/if_arp.h", only: /^ARP/ },
      { header: "linux/if.h" },
      { header: "linux/in.h", only: /^(IPPROTO_|INADDR_|IP_PROTO)/ },
      { header: "linux/ip.h" },
      { header: "linux/icmp.h" },
      { header: "linux/icmpv6.h", only: /^ICMPV6_/ },
      { header: "linux/sockios.h" },
      { header: "asm-generic/socket.h" },
      {
        header: "linux/ethtool.h",
        only: /^(ETHTOOL_[A-Z]|ETH_SS_|ETH_FLAG_|SPEED_|DUPLEX_|ETH_GSTRING_LEN)/,
        except: /^ETHTOOL_(LINK_|FEC_|A_|MODULE_|C33_|PSE_|TC_|RMON_|PHY|UDP|FLASH|F_)/,
      },
    ],
    libc: {
      headers: ["sys/socket.h", "netinet/in.h", "netinet/tcp.h", "netinet/udp.h"],
      names: [
        "AF_UNSPEC",
        "AF_UNIX",
        "AF_INET",
        "AF_INET6",
        "AF_NETLINK",
        "AF_PACKET",
        "AF_VSOCK",
        "AF_XDP",
        "SOCK_STREAM",
        "SOCK_DGRAM",
        "SOCK_RAW",
        "SOCK_SEQPACKET",
        "SOCK_NONBLOCK",
        "SOCK_CLOEXEC",
        "SOL_IP",
        "SOL_TCP",
        "SOL_UDP",
        "SOL_IPV6",
        "SOL_RAW",
        "SOL_PACKET",
        "SOL_NETLINK",
        "SOL_XDP",
        "MSG_PEEK",
        "MSG_TRUNC",
        "MSG_DONTWAIT",
        "MSG_NOSIGNAL",
      ],
    },
  },
  {
    file: "perf-event",
    about: "perf_event_open(2): event types, sample formats, ring records, ioctls.",
    parts: [{ header: "linux/perf_event.h" }],
  },
  {
    file: "fs-magic",
    about: "What statfs(2) says in f_type.",
    parts: [{ header: "linux/magic.h" }],
  },
];

/** Structs of `src/uapi/structs.ts`, in file order, grouped by the headers that declare them. */
export const structUnits: readonly {
  readonly headers: readonly string[];
  readonly names: readonly string[];
}[] = [
  {
    headers: ["linux/bpf.h", "linux/bpf_perf_event.h", "linux/btf.h", "linux/perf_event.h"],
    names: [
      // what a program is handed
      "__sk_buff",
      "xdp_md",
      "sk_msg_md",
      "sk_reuseport_md",
      "bpf_sock",
      "bpf_tcp_sock",
      "bpf_xdp_sock",
      "bpf_sock_addr",
      "bpf_sock_ops",
      "bpf_sk_lookup",
      "bpf_sockopt",
      "bpf_sysctl",
      "bpf_cgroup_dev_ctx",
      "bpf_perf_event_data",
      "bpf_raw_tracepoint_args",
      // what helpers take
      "bpf_sock_tuple",
      "bpf_flow_keys",
      "bpf_fib_lookup",
      "bpf_redir_neigh",
      "bpf_tunnel_key",
      "bpf_xfrm_state",
      "bpf_pidns_info",
      "bpf_perf_event_value",
      "bpf_stack_build_id",
      "btf_ptr",
      "bpf_dynptr",
      "bpf_iter_num",
      // what map values hold
      "bpf_cpumap_val",
      "bpf_devmap_val",
      "bpf_lpm_trie_key_hdr",
      "bpf_cgroup_storage_key",
      "bpf_spin_lock",
      "bpf_timer",
      "bpf_wq",
      "bpf_task_work",
      "bpf_list_head",
      "bpf_list_node",
      "bpf_rb_root",
      "bpf_rb_node",
      "bpf_refcount",
      "bpf_insn_array_value",
      // what the bpf() syscall reads and writes
      "bpf_insn",
      "bpf_func_info",
      "bpf_line_info",
      "bpf_core_relo",
      "bpf_common_attr",
      "bpf_prog_info",
      "bpf_map_info",
      "bpf_btf_info",
      "bpf_link_info",
      "bpf_token_info",
      // BTF
      "btf_header",
      "btf_type",
      "btf_enum",
      "btf_enum64",
      "btf_array",
      "btf_member",
      "btf_param",
      "btf_var",
      "btf_var_secinfo",
      "btf_decl_tag",
      // perf_event_open(2)
      "perf_event_attr",
      "perf_event_mmap_page",
      "perf_event_header",
    ],
  },
  {
    headers: [
      "linux/if_ether.h",
      "linux/if_arp.h",
      "linux/ip.h",
      "linux/ipv6.h",
      "linux/tcp.h",
      "linux/udp.h",
      "linux/icmp.h",
      "linux/icmpv6.h",
    ],
    names: ["ethhdr", "arphdr", "iphdr", "ipv6hdr", "in6_addr", "tcphdr", "udphdr", "icmphdr", "icmp6hdr"],
  },
  {
    headers: [
      "linux/netlink.h",
      "linux/genetlink.h",
      "linux/rtnetlink.h",
      "linux/if_link.h",
      "linux/if_addr.h",
      "linux/ethtool.h",
      "linux/if.h",
    ],
    names: [
      "sockaddr_nl",
      "nlmsghdr",
      "nlmsgerr",
      "nlattr",
      "genlmsghdr",
      "ifinfomsg",
      "ifaddrmsg",
      "tcmsg",
      "rtmsg",
      "rtattr",
      "ifreq",
      "ethtool_value",
      "ethtool_drvinfo",
      "ethtool_channels",
    ],
  },
];

/** The anonymous members of `union bpf_attr`, told apart by their first field. */
export const anonymousAttrs: Readonly<Record<string, string>> = {
  map_type: "map_create",
  map_fd: "map_elem",
  prog_type: "prog_load",
  pathname: "obj",
  target_fd: "prog_attach",
  start_id: "get_id",
  btf: "btf_load",
};

/** The commands that read each member of `union bpf_attr`; for the comments above them. */
export const attrCommands: Readonly<Record<string, string>> = {
  map_create: "BPF_MAP_CREATE",
  map_elem: "BPF_MAP_*_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_MAP_FREEZE",
  batch: "BPF_MAP_*_BATCH",
  prog_load: "BPF_PROG_LOAD",
  obj: "BPF_OBJ_PIN, BPF_OBJ_GET",
  prog_attach: "BPF_PROG_ATTACH, BPF_PROG_DETACH",
  test: "BPF_PROG_TEST_RUN",
  get_id: "BPF_*_GET_NEXT_ID, BPF_*_GET_FD_BY_ID",
  info: "BPF_OBJ_GET_INFO_BY_FD",
  query: "BPF_PROG_QUERY",
  raw_tracepoint: "BPF_RAW_TRACEPOINT_OPEN",
  btf_load: "BPF_BTF_LOAD",
  task_fd_query: "BPF_TASK_FD_QUERY",
  link_create: "BPF_LINK_CREATE",
  link_update: "BPF_LINK_UPDATE",
  link_detach: "BPF_LINK_DETACH",
  enable_stats: "BPF_ENABLE_STATS",
  iter_create: "BPF_ITER_CREATE",
  prog_bind_map: "BPF_PROG_BIND_MAP",
  token_create: "BPF_TOKEN_CREATE",
  prog_stream_read: "BPF_PROG_STREAM_READ_BY_FD",
  prog_assoc_struct_ops: "BPF_PROG_ASSOC_STRUCT_OPS",
};

/** Architectures of `src/uapi/syscall-numbers.ts`: Node's `process.arch` -> directory of the `asm` headers. */
export const syscallArches: Readonly<Record<string, string>> = {
  x64: "x86_64-linux-gnu",
  arm64: "aarch64-linux-gnu",
  riscv64: "riscv64-linux-gnu",
};

/** The system calls this project makes or may have to name in an error. */
export const syscallNames: readonly string[] = [
  "bpf",
  "perf_event_open",
  "setns",
  "unshare",
  "mount",
  "umount2",
  "statfs",
  "fstatfs",
  "openat",
  "read",
  "write",
  "close",
  "dup",
  "dup3",
  "fcntl",
  "ioctl",
  "mmap",
  "munmap",
  "mprotect",
  "mlock",
  "socket",
  "bind",
  "connect",
  "listen",
  "sendto",
  "recvfrom",
  "sendmsg",
  "recvmsg",
  "setsockopt",
  "getsockopt",
  "getsockname",
  "epoll_create1",
  "epoll_ctl",
  "epoll_pwait",
  "eventfd2",
  "ppoll",
  "getpid",
  "gettid",
  "getuid",
  "capget",
  "capset",
  "prctl",
  "prlimit64",
  "sched_getaffinity",
  "sched_setaffinity",
  "getcpu",
  "flock",
  "unlinkat",
  "mkdirat",
  "pidfd_open",
  "pidfd_getfd",
];
