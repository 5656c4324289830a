/* XDP: counts packets and bytes in a per-CPU array, and passes all of them. */
#include "bpf.h"

struct counter {
	__u64 packets;
	__u64 bytes;
};

extern struct bpf_map counters; /* percpu_array: u32 -> struct counter */

int count_packets(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct counter *counter = bpf_map_lookup_elem(&counters, &key);

	if (!counter)
		return XDP_ABORTED;
	counter->packets++;
	counter->bytes += ctx->data_end - ctx->data;
	return XDP_PASS;
}
