/* XDP: finds what comes after the IPv6 extension headers, and counts it. Drops what has more than eight of them. */
#include "bpf.h"

extern struct bpf_map protocols; /* array: u32 -> u64, 256 entries */

int ipv6_walk(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	void *next = ip6 + 1;
	__u64 *count;
	__u32 proto;

	if (next > data_end || eth->h_proto != bpf_htons(ETH_P_IPV6))
		return XDP_PASS;
	proto = ip6->nexthdr;

	for (int i = 0; i < 8; i++) {
		struct ipv6_opt_hdr *opt = next;

		switch (proto) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if ((void *)(opt + 1) > data_end)
				return XDP_DROP;
			next += (opt->hdrlen + 1) * 8;
			break;
		case IPPROTO_AH:
			if ((void *)(opt + 1) > data_end)
				return XDP_DROP;
			next += (opt->hdrlen + 2) * 4;
			break;
		case IPPROTO_FRAGMENT:
			if ((void *)(opt + 1) > data_end)
				return XDP_DROP;
			next += 8;
			break;
		default:
			goto found;
		}
		if (next > data_end)
			return XDP_DROP;
		proto = opt->nexthdr;
	}
	return XDP_DROP;

found:
	count = bpf_map_lookup_elem(&protocols, &proto);
	if (count)
		__sync_fetch_and_add(count, 1);
	return XDP_PASS;
}
