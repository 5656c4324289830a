/**
 * Helpers that a kernel may lack by configuration, or refuse by policy (lockdown, no BPF LSM), with the program types
 * that the kernel's sources give them to. The generator looks here for what the probed kernel had nowhere; a helper that
 * is absent and not listed counts as callable from everywhere.
 */
export const absentHelpers: Readonly<
  Record<string, { readonly progTypes: readonly string[]; readonly gplOnly: boolean }>
> = {
  // kernel/trace/bpf_trace.c: the base of all tracing types; refused under lockdown.
  bpf_probe_write_user: {
    progTypes: [
      "kprobe",
      "tracepoint",
      "perf_event",
      "raw_tracepoint",
      "raw_tracepoint_writable",
      "tracing",
      "syscall",
    ],
    gplOnly: true,
  },
  // The same file: with CONFIG_BPF_KPROBE_OVERRIDE.
  bpf_override_return: { progTypes: ["kprobe"], gplOnly: true },
  // The same file: programs that run from a trampoline (fentry, fexit, modify_return, LSM).
  bpf_get_func_arg: { progTypes: ["tracing"], gplOnly: false },
  bpf_get_func_ret: { progTypes: ["tracing"], gplOnly: false },
  bpf_get_func_arg_cnt: { progTypes: ["tracing"], gplOnly: false },
  // drivers/media/rc/bpf-lirc.c: with CONFIG_BPF_LIRC_MODE2.
  bpf_rc_repeat: { progTypes: ["lirc_mode2"], gplOnly: true },
  bpf_rc_keydown: { progTypes: ["lirc_mode2"], gplOnly: true },
  bpf_rc_pointer_rel: { progTypes: ["lirc_mode2"], gplOnly: true },
  // net/ipv4/bpf_tcp_ca.c.
  bpf_tcp_send_ack: { progTypes: ["struct_ops"], gplOnly: false },
  // kernel/bpf/bpf_lsm.c.
  bpf_inode_storage_get: { progTypes: ["lsm"], gplOnly: false },
  bpf_inode_storage_delete: { progTypes: ["lsm"], gplOnly: false },
  bpf_bprm_opts_set: { progTypes: ["lsm"], gplOnly: false },
  bpf_ima_inode_hash: { progTypes: ["lsm"], gplOnly: false },
  bpf_ima_file_hash: { progTypes: ["lsm"], gplOnly: false },
};
