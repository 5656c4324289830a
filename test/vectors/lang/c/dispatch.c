/* XDP: a tail call by IP protocol; counts what no program is there for. */
#include "bpf.h"

extern struct bpf_map programs; /* prog_array: u32 -> program */
extern struct bpf_map missed;   /* array: u32 -> u64, 256 entries */

int dispatch(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u32 proto;

	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > data_end)
			return XDP_DROP;
		proto = ip->protocol;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = (void *)(eth + 1);

		if ((void *)(ip6 + 1) > data_end)
			return XDP_DROP;
		proto = ip6->nexthdr;
	} else {
		return XDP_PASS;
	}

	bpf_tail_call(ctx, &programs, proto);

	__u64 *count = bpf_map_lookup_elem(&missed, &proto);
	if (count)
		__sync_fetch_and_add(count, 1);
	return XDP_PASS;
}
