/* Raw tracepoint (sys_enter): counts system calls by number, of one process or of all. */
#include "bpf.h"

struct key {
	__u32 pid;
	__u32 nr;
};

struct config {
	__u32 by_pid;
	__u32 limit;
};

extern struct bpf_map config; /* array: u32 -> struct config */
extern struct bpf_map calls;  /* hash: struct key -> u64 */

static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;

int syscall_count(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0;
	struct config *conf = bpf_map_lookup_elem(&config, &zero);
	if (!conf)
		return 0;

	struct key key = { .nr = ctx->args[1] };
	if (key.nr >= conf->limit)
		return 0;
	if (conf->by_pid)
		key.pid = bpf_get_current_pid_tgid() >> 32;

	__u64 *count = bpf_map_lookup_elem(&calls, &key);
	if (count) {
		__sync_fetch_and_add(count, 1);
	} else {
		__u64 one = 1;

		bpf_map_update_elem(&calls, &key, &one, BPF_NOEXIST);
	}
	return 0;
}
